import ChatCore
import Glibc
import Testing

@testable import ws_relay

/// Coming and going, as the relay tells it.
@Suite struct PresenceNewsTests {
    private let relay: TestRelay

    init() throws { relay = try TestRelay() }

    private var told: [String] {
        relay.ephemerals.presences.map { "\($0.user.low & 0xff) \($0.isOnline ? "on" : "off") \($0.rooms.count)" }
    }

    private func leave(_ client: TestClient) {
        shutdownBoth(client)
        relay.run()
    }

    @Test func aUserComesAndAfterSomeSecondsLeaves() {
        let client = relay.join(user: 5, rooms: [1: 0, 2: 0])
        #expect(told == ["5 on 2"])
        leave(client)
        relay.pass(seconds: 4)
        #expect(told == ["5 on 2"])
        relay.pass(seconds: 1)
        #expect(told == ["5 on 2", "5 off 2"])
    }

    @Test func aSecondSocketIsNoNews() {
        let phone = relay.join(user: 5)
        let laptop = relay.greet(user: 5)
        relay.pass(seconds: 1)
        leave(phone)
        relay.pass(seconds: 10)
        #expect(told == ["5 on 1"])
        leave(laptop)
        relay.pass(seconds: 10)
        #expect(told == ["5 on 1", "5 off 1"])
    }

    @Test func aUserWhoReconnectsAtOnceWasNeverOffline() {
        leave(relay.join(user: 5))
        relay.pass(seconds: 3)
        let again = relay.join(user: 5)
        relay.pass(seconds: 10)
        #expect(told == ["5 on 1"] && !again.hasEnded)
    }

    /// Each member's change would cost a frame to all the others.
    @Test func aLargeRoomIsNotTold() {
        let clients = (1...101).map { relay.join(user: UInt64($0), rooms: [1: 0]) }
        #expect(relay.ephemerals.presences.last?.rooms.isEmpty == true)
        #expect(relay.ephemerals.presences[98].rooms.count == 1)
        #expect(clients.count == 101)
    }

    @Test func theFramesOfOneSecondAreBounded() {
        let rooms = Dictionary(uniqueKeysWithValues: (1...150).map { (UInt64($0), UInt64(0)) })
        let clients = (1...3).map { relay.join(user: UInt64($0), rooms: rooms) }
        #expect(told == ["1 on 150", "2 on 50", "3 on 0"])
        relay.pass(seconds: 1)
        let next = relay.join(user: 4, rooms: rooms)
        #expect(told.last == "4 on 150")
        #expect(clients.count == 3 && !next.hasEnded)
    }
}

private func shutdownBoth(_ client: TestClient) { _ = shutdown(client.descriptor, Int32(SHUT_RDWR)) }
