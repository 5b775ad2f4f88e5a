import ChatCore
import Testing

@testable import ws_relay

@Suite struct HubRateTests {
    private func send(_ client: TestClient, _ relay: TestRelay, times: Int = 1) {
        for _ in 0..<times {
            client.ask(("Type", .string("message")), ("RoomID", .string(id(1).description)), ("Content", .string("hi")))
        }
        relay.run()
    }

    @Test func countsAreTheUsersAndGoOutEachSecond() throws {
        let relay = try TestRelay()
        let (phone, laptop) = (relay.join(user: 5), relay.greet(user: 5))
        send(phone, relay, times: 2)
        send(laptop, relay)
        relay.pass(seconds: 1)
        let charged = relay.ephemerals.charged
        #expect(charged.contains(RateCount(user: id(5), kind: .sends, count: 3)))
        #expect(charged.contains(RateCount(user: id(5), kind: .connections, count: 2)))
        #expect(charged.count == 2)
        relay.pass(seconds: 1)
        #expect(relay.ephemerals.charged.count == 2)
    }

    @Test func whoIsAboveTheLimitIsRefusedForThatLong() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        relay.hub.handle(.tooMany(.sends, id(5), milliseconds: 2500))
        send(client, relay)
        #expect(
            client.take()[0]["Error"]?.string?.hasPrefix("rate_limited: too many messages; try again in 3 s") == true)
        #expect(relay.commands.commands.isEmpty)
        // Uncounted requests pass, and so do other users.
        client.ask(("Type", .string("seen")), ("RoomID", .string(id(1).description)))
        relay.run()
        #expect(relay.commands.commands.count == 1)
        relay.pass(seconds: 3)
        send(client, relay)
        #expect(relay.commands.commands.count == 2)
    }

    @Test func whoDoesNotListenIsClosedWith1008() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        relay.hub.handle(.tooMany(.sends, id(5), milliseconds: 60_000))
        for _ in 0..<11 {
            send(client, relay, times: 100)
            client.read()
        }
        #expect(client.closed?.code == 1008)
    }

    @Test func tooManyConnectionsAreA429() throws {
        let relay = try TestRelay()
        _ = relay.join(user: 5)
        relay.hub.handle(.tooMany(.connections, id(5), milliseconds: 1200))
        let client = relay.greet(user: 5)
        client.read()
        #expect(client.head.hasPrefix("HTTP/1.1 429 ") && client.head.contains("Retry-After: 2\r\n"))
    }

    @Test func whoHidesComesAndGoesUnseen() throws {
        let relay = try TestRelay()
        var client: TestClient? = relay.join(user: 5)
        #expect(relay.ephemerals.presences.last?.rooms == [id(1)])
        client?.read()
        relay.hub.handle(.message(channel: "user:\(id(5))", payload: UserEvent.presence(isHidden: true).encode()))
        #expect(relay.ephemerals.frames.map(\.kind) == [.presence])
        client = nil
        relay.run()
        relay.pass(seconds: 6)
        #expect(relay.ephemerals.presences.last?.isOnline == false)
        #expect(relay.ephemerals.presences.last?.rooms == [])
    }
}
