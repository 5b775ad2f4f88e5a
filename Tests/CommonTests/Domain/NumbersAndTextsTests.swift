import ChatCore
import Testing

@testable import ChatAdapters

/// Extreme numbers and unusual characters in untrusted input.
@Suite struct NumbersAndTextsTests {
    @Test func timesFarAwayStayOnTheirSide() {
        let ends: [Int64] = [.min, .min + 1, -(1 << 62), -(1 << 53), 0, 1 << 53, 1 << 62, .max - 1, .max]
        let stored = ends.map { pgMicroseconds($0) }
        #expect(stored == stored.sorted())
        #expect(stored.last! > 9_000_000_000_000_000_000 && stored.last! < .max)
        #expect(unixMilliseconds(.max) > 0 && unixMilliseconds(.min) < 0)
        #expect(unixMilliseconds(pgMicroseconds(1_795_386_496_123)) == 1_795_386_496_123)
        #expect(unixMilliseconds(-1) == 946_684_799_999)
    }

    @Test func whatCannotBeWrittenIsTheNearestTime() {
        #expect(timestampText(.max) == "9999-12-31T23:59:59.999Z")
        #expect(timestampText(.min) == "0000-01-01T00:00:00.000Z")
        #expect(timestampText(-1) == "1969-12-31T23:59:59.999Z")
    }

    @Test func timesOfClientsAreWithinTheCalendar() {
        #expect(parseTimestamp("9999-12-31T23:59:59.999Z") == 253_402_300_799_999)
        #expect(parseTimestamp("9999-12-31T23:59:59-00:01") == nil)
        #expect(parseTimestamp("1970-01-01T00:00:00+00:01") == nil)
        #expect(parseTimestamp("1970-01-01T00:00:00.\(String(repeating: "9", count: 4000))Z") == 999)
    }

    @Test(arguments: [
        "9223372036854775807", "-1", "253402300800000", "9223372036854775808", "+1", "01", "1\u{301}", "\u{661}", "",
    ])
    func cursorsOfRoomsAreTimes(_ number: String) {
        let id = UUID128(high: 1, low: 2)
        #expect(RoomCursor(text: "\(number)_\(id)") == nil)
        #expect(RoomCursor(text: "1_\(id)") == RoomCursor(lastActivityAt: 1, room: id))
        #expect(RoomCursor(text: "1_\u{301}\(id)") == nil)
    }

    @Test func twoSpellingsAreTwoSigns() {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.send(room, scene.owner, "one", sign: "\u{e9}").refusal == nil)
        #expect(scene.send(room, scene.owner, "two", sign: "e\u{301}").refusal == nil)
        #expect(scene.batch.newMessages.count == 2)
    }

    @Test func anotherSpellingIsAnEdit() {
        var scene = Scene()
        let (room, id) = (scene.room(), scene.id())
        #expect(scene.send(room, scene.owner, "\u{e9}", id: id).refusal == nil)
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "e\u{301}")).isInFrame)
        #expect(scene.batch.messages[id]?.content.unicodeScalars.count == 2)
    }

    @Test func keysThatLookAlikeAreTwo() throws {
        let value = try JSONReader.decode(Array(#"{"\#u{e9}":1,"e\#u{301}":2}"#.utf8))
        #expect(value["\u{e9}"] == .int(1) && value["e\u{301}"] == .int(2))
    }

    @Test func mediaTypesAreBytes() {
        #expect(MediaType("text/plain\u{37e}charset=x") == nil)
        #expect(MediaType("text/\u{212a}") == nil)
        #expect(MediaType("Image/PNG; x=y")?.description == "image/png")
        #expect(MediaType(fileName: "a.\u{301}png") == .unknown)
        #expect(MediaType(fileName: "a.PNG").description == "image/png")
    }
}
