import ChatCore
import Glibc
import Testing

@testable import ws_relay

/// A drain of a hub with real sockets.
@Suite struct HubMoveTests {
    /// A client that understands `move`, welcomed.
    private static func join(_ relay: TestRelay, user: UInt64, rooms: [UInt64: UInt64] = [1: 0]) -> TestClient {
        let client = relay.connect()
        client.upgrade(token: "\(id(user))%201000000&move=1", subprotocol: nil, early: [])
        relay.run()
        relay.finishJoining(user: user, rooms: rooms)
        client.read()
        client.frames = []
        return client
    }

    private static func pass(_ relay: TestRelay, seconds: Int) {
        for _ in 0..<seconds * 10 {
            relay.milliseconds += 100
            relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
            relay.hub.goOnMoving()
            if relay.milliseconds % 1000 == 0 { relay.hub.everySecond() }
            relay.run()
        }
    }

    private static func drain(_ relay: TestRelay, _ order: MoveOrder = MoveOrder(rate: 1000, within: 5)) {
        relay.hub.drain(order)
        relay.hub.lookForMoves()
        pass(relay, seconds: 1)
    }

    @Test func aClientThatUnderstandsIsToldAndGoesOn() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5)
        Self.drain(relay, MoveOrder(rate: 1000, within: 5, url: "wss://b/ws/v1/chat"))
        let frame = try #require(client.take().first)
        #expect(
            frame["Type"]?.string == "move" && frame["Success"]?.bool == true && frame["Error"]?.string?.isEmpty == true
        )
        #expect(frame["Data"]?["URL"]?.string == "wss://b/ws/v1/chat" && frame["Data"]?["Within"]?.int == 5)
        relay.publish(.numbered(1))
        client.ask(("Type", .string("ping")))
        relay.run()
        #expect(client.takeTypes() == ["new_message", "pong"] && client.closed == nil)
        Self.pass(relay, seconds: 3)
        client.write(ClientFrame.bytes(8, [3, 232]))
        relay.run()
        client.read()
        #expect(client.closed?.code == 1000)
        #expect(relay.hub.moves.counters == .init(moved: 1, closed: 0))
    }

    @Test func withoutAnAddressTheFrameHasNone() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5)
        Self.drain(relay)
        #expect(client.take().first?["Data"]?["URL"] == nil)
    }

    @Test func anOldClientIsClosedInOrder() throws {
        let relay = try TestRelay()
        let (old, stream) = (relay.join(user: 5), relay.joinEvents(user: 6, rooms: [1: 0]))
        Self.drain(relay)
        old.read()
        #expect(old.closed?.code == 1001 && old.closed?.reason.contains("reconnect in ") == true)
        #expect(old.takeTypes().contains("move") == false)
        #expect(stream.takeTypes().last == "close")
        #expect(relay.hub.moves.counters == .init(moved: 0, closed: 2))
    }

    @Test func aClientThatIgnoresItIsClosedWhenItsTimeIsOver() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5)
        Self.drain(relay)
        Self.pass(relay, seconds: 3)
        client.read()
        #expect(client.closed == nil)
        Self.pass(relay, seconds: 2)
        client.read()
        #expect(client.closed?.code == 1001)
        #expect(relay.hub.moves.counters == .init(moved: 0, closed: 1))
    }

    @Test func nobodyComesInMeanwhile() throws {
        let relay = try TestRelay()
        Self.drain(relay)
        let client = relay.greet(user: 5)
        client.read()
        #expect(client.head.contains(" 503 ") && client.head.contains("Retry-After: "))
        let ready = relay.connect()
        ready.write(Array("GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n".utf8))
        let alive = relay.connect()
        alive.write(Array("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n".utf8))
        relay.run()
        ready.read()
        alive.read()
        #expect(ready.head.contains(" 503 ") && alive.head.contains(" 200 "))
        relay.hub.stopDraining()
        #expect(Self.join(relay, user: 6).closed == nil)
        #expect(relay.hub.sockets.clients == 1)
    }

    /// A ticket is good once: it must not be used up by a relay that lets nobody in.
    @Test func aTicketIsNotRedeemed() throws {
        let relay = try TestRelay()
        Self.drain(relay)
        let client = relay.connect()
        client.write(Array(TestClient.head("?ticket=abc&move=1").utf8))
        relay.run()
        client.read()
        #expect(client.head.contains(" 503 ") && relay.takeLookups().isEmpty)
    }

    @Test func whoWasOnItsWayInIsToldToo() throws {
        let relay = try TestRelay()
        let client = relay.connect()
        client.upgrade(token: "\(id(5))%201000000&move=1", subprotocol: nil, early: [])
        relay.run()
        Self.drain(relay)
        relay.finishJoining(user: 5, rooms: [1: 0])
        Self.pass(relay, seconds: 2)
        #expect(client.takeTypes() == ["welcome", "move"])
    }

    @Test func aSocketThatWasToldIsNotOneTooMany() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "2"])
        let clients = [Self.join(relay, user: 5), Self.join(relay, user: 5)]
        Self.drain(relay)
        relay.hub.stopDraining()
        // Both come back to this relay, since it takes sockets again.
        let next = [Self.join(relay, user: 5), Self.join(relay, user: 5)]
        (clients + next).forEach { $0.read() }
        #expect((clients + next).allSatisfy { $0.closed == nil })
        // A third one is too many.
        let third = Self.join(relay, user: 5)
        (clients + next).forEach { $0.read() }
        #expect((clients + next).map { $0.closed?.code } == [nil, nil, 4009, nil])
        // Those that did not leave in time count again, and all above the limit are closed by the next one.
        Self.pass(relay, seconds: 6)
        let last = Self.join(relay, user: 5)
        (clients + next + [third, last]).forEach { $0.read() }
        #expect((clients + next + [third, last]).map { $0.closed?.code } == [4009, 4009, 4009, 4009, nil, nil])
    }

    /// The relay that it leaves was quicker: no `resync`, which would cost calls by REST.
    @Test func aClientThatIsAheadOfThisRelayWaitsForItsFrame() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5, rooms: [1: 5])
        Self.resume(client, room: 1, seq: 7)
        relay.run()
        #expect(client.take().isEmpty)
        relay.publish(.numbered(6))
        #expect(client.takeSeqs() == [6])
        relay.publish(.numbered(7), .numbered(8))
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["new_message", "new_message", "response"])
        #expect(frames.last?["Data"]?["Rooms"]?.array?.first?["Seq"]?.int == 8)
    }

    /// One user cannot take the places of all others.
    @Test func aUserHasAShareOfThePlacesForEarlyResumes() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5, rooms: [1: 5])
        let other = Self.join(relay, user: 6, rooms: [1: 5])
        for _ in 0..<EarlyResume.maxOfUser + 1 { Self.resume(client, room: 1, seq: 7) }
        relay.run()
        #expect(client.takeTypes() == ["resync", "response"])
        Self.resume(other, room: 1, seq: 7)
        relay.run()
        #expect(other.takeTypes().isEmpty)
        // Places are free again once the frame is there.
        relay.publish(.numbered(6), .numbered(7))
        #expect(client.takeTypes().count { $0 == "response" } == EarlyResume.maxOfUser)
        Self.resume(client, room: 1, seq: 9)
        relay.run()
        #expect(client.takeTypes().isEmpty)
    }

    /// A drain that begins and is stopped again and again must not multiply a user's sockets.
    @Test func aUserHasAtMostTwiceAsManySocketsAsAllowed() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "2"])
        var clients: [TestClient] = []
        for _ in 0..<4 {
            clients += [Self.join(relay, user: 5), Self.join(relay, user: 5)]
            Self.drain(relay)
            relay.hub.stopDraining()
        }
        clients.append(Self.join(relay, user: 5))
        clients.forEach { $0.read() }
        #expect(clients.count { $0.closed == nil } == 4)
        #expect(clients.last?.closed == nil)
    }

    @Test func aFrameThatNeverComesIsAResync() throws {
        let relay = try TestRelay()
        let client = Self.join(relay, user: 5, rooms: [1: 5])
        Self.resume(client, room: 1, seq: 7)
        relay.run()
        Self.pass(relay, seconds: 2)
        #expect(client.takeTypes() == ["resync", "response"])
        // Too far: another history.
        Self.resume(client, room: 1, seq: 2000)
        relay.run()
        #expect(client.takeTypes() == ["resync", "response"])
    }

    @Test func aHandOverAnswersThoseThatWait() throws {
        let old = try TestRelay()
        let client = Self.join(old, user: 5, rooms: [1: 5])
        Self.resume(client, room: 1, seq: 7)
        old.run()
        let new = try HandoffTests.handOver(old)
        #expect(client.takeTypes() == ["resync", "response"])
        withExtendedLifetime(new) {}
    }

    private static func resume(_ client: TestClient, room: UInt64, seq: Int64) {
        let point: WireValue = .map([.init("RoomID", .string("\(id(room))")), .init("Seq", .int(seq))])
        client.ask(("Type", .string("resume")), ("Sign", .string("r")), ("Rooms", .array([point])))
    }

    @Test func aHandOverPassesOnWhoWasTold() throws {
        let old = try TestRelay()
        let (told, other) = (Self.join(old, user: 5), Self.join(old, user: 6))
        old.hub.drain(MoveOrder(rate: 1, within: 5))
        old.hub.lookForMoves()
        old.hub.goOnMoving()
        old.run()
        let heard = [told.takeTypes(), other.takeTypes()]
        #expect(heard.contains(["move"]) && heard.contains([]))
        let (first, second) = heard[0].isEmpty ? (other, told) : (told, other)
        let new = try HandoffTests.handOver(old)
        new.hub.drain(MoveOrder(rate: 1000, within: 5))
        new.hub.lookForMoves()
        Self.pass(new, seconds: 1)
        #expect(first.takeTypes().isEmpty && second.takeTypes() == ["move"])
        Self.pass(new, seconds: 4)
        first.read()
        #expect(first.closed?.code == 1001)
        withExtendedLifetime((told, other)) {}
    }

    @Test(arguments: ["?move=0", "?move=", "?move=1x", "?moves=1", ""]) func nothingElseSaysThatAClientUnderstands(
        query: String
    ) throws {
        let relay = try TestRelay()
        let client = relay.connect()
        client.write(Array(TestClient.head("?token=\(id(5))%201000000" + query.replacing("?", with: "&")).utf8))
        relay.run()
        relay.finishJoining(user: 5, rooms: [:])
        #expect(!relay.hub.sockets[0].understandsMove && relay.hub.sockets[0].serial != 0)
        withExtendedLifetime(client) {}
    }
}
