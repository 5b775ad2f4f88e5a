import ChatAdapters
import Glibc
import Testing

@Suite struct LockedPlacesTests {
    @Test func placesAreSharedAndFreeAgainWhenTheirHolderIsGone() {
        let path = "/tmp/places.\(getpid()).\(UInt32.random(in: 0 ... .max))"
        defer { for number in 0..<2 { unlink("\(path).\(number)") } }
        func places() -> LockedPlaces { LockedPlaces(path, count: 2) { Issue.record("\($0)") } }
        let (one, two, three) = (places(), places(), places())
        #expect(one.take() && two.take() && !three.take())
        two.leave()
        #expect(three.take() && !two.take())
        do {
            let four = places()
            one.leave()
            #expect(four.take() && !one.take())
        }
        #expect(one.take())
    }

    @Test func withoutFilesEachHasAPlaceAndTheReasonIsTold() {
        var reason = ""
        let places = LockedPlaces("/nowhere/places", count: 2) { reason = $0 }
        #expect(places.take() && !reason.isEmpty)
    }
}
