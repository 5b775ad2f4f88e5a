import ChatCore
import Testing

@testable import ws_relay

@Suite struct HubJoiningTests {
    @Test func welcomesOnlyWhenNothingCanBeMissedAnyMore() throws {
        let relay = try TestRelay()
        let client = relay.greet(user: 5)
        client.read()
        #expect(client.head.hasPrefix("HTTP/1.1 101") && client.frames.isEmpty)
        #expect(relay.feed.subscribed == ["relay:7", "user:\(id(5))"])
        #expect(relay.takeLookups() == [])
        relay.hub.handle(.subscribed(channel: "user:\(id(5))"))
        #expect(relay.takeLookups() == [.memberships(of: id(5), epoch: 1)])
        relay.hub.handle(
            .memberships(of: id(5), epoch: 1, [Membership(user: id(5), room: id(1), lastSeq: 40)]))
        #expect(relay.feed.subscribed.last == "room:\(id(1))")
        relay.run()
        #expect(client.take().isEmpty)
        relay.hub.handle(.subscribed(channel: "room:\(id(1))"))
        // Published after the list was read and before the channel was confirmed.
        relay.answerFrames { _ in [.numbered(41)] }
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["welcome"])
        #expect(frames[0]["Data"]?["UserID"]?.string == id(5).description)
        #expect(frames[0]["Data"]?["Heartbeat"]?.int == 30)
        relay.publish(.numbered(41), .numbered(42))
        #expect(client.takeSeqs() == [42])
    }

    @Test func carriesOutWhatWasSentTooEarlyAfterTheWelcome() throws {
        let relay = try TestRelay()
        let ping = ClientFrame.bytes(2, TestClient.pack([("Type", .string("ping")), ("Sign", .string("s"))]))
        let client = relay.greet(user: 5, early: ping)
        client.write(ping)
        relay.run()
        #expect(client.take().isEmpty)
        relay.finishJoining(user: 5, rooms: [:])
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["welcome", "pong", "pong"])
        #expect(frames[1]["Sign"]?.string == "s")
    }

    @Test func aSecondDeviceIsWelcomeAtOnceAndGetsTheSame() throws {
        let relay = try TestRelay()
        let first = relay.join(user: 5)
        let second = relay.greet(user: 5)
        #expect(second.takeTypes() == ["welcome"])
        relay.publish(.numbered(1))
        _ = first.take()
        relay.publish(.numbered(2))
        #expect(first.takeSeqs() == [2])
        #expect(second.takeSeqs() == [1, 2])
    }

    @Test func refusesByTheEnvelope() throws {
        let relay = try TestRelay()
        let client = relay.connect()
        client.upgrade(token: "wrong", subprotocol: nil, early: [])
        relay.run()
        client.read()
        #expect(client.head.hasPrefix("HTTP/1.1 401") && client.hasEnded)
        let other = relay.connect()
        other.write(Array("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        relay.run()
        other.read()
        #expect(other.head.hasPrefix("HTTP/1.1 200"))
    }

    @Test func everyWaitHasALimit() throws {
        let relay = try TestRelay()
        let silent = relay.connect()
        let joining = relay.greet(user: 5)
        relay.pass(seconds: 11)
        silent.read()
        joining.read()
        #expect(silent.head.hasPrefix("HTTP/1.1 408"))
        #expect(joining.closed?.code == 1001)
        relay.pass(seconds: 6)
        #expect(relay.hub.sockets.connections.count == 0 && relay.hub.users.count == 0)
        #expect(relay.feed.subscribed == ["relay:7"])
    }

    @Test func aFullRelaySaysSo() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS": "1"])
        _ = relay.connect()
        let second = relay.connect()
        second.read()
        #expect(second.head.hasPrefix("HTTP/1.1 503") && second.head.contains("Retry-After"))
    }

    @Test func theOldestConnectionOfTooManyIsReplaced() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "2"])
        let clients = [relay.join(user: 5), relay.greet(user: 5), relay.greet(user: 5)]
        clients.forEach { $0.read() }
        #expect(clients[0].closed?.code == 4009)
        #expect(clients[1].closed == nil && clients[2].frames.count == 1)
    }

    @Test func theLastSocketTakesTheUserAlong() throws {
        let relay = try TestRelay()
        var client: TestClient? = relay.join(user: 5)
        let other = relay.join(user: 6)
        _ = other.take()
        #expect(relay.feed.subscribed.count == 4)
        client?.write(ClientFrame.bytes(8, [0x03, 0xE8]))
        relay.run()
        client?.read()
        #expect(client?.closed?.code == 1000)
        client = nil
        relay.run()
        #expect(relay.hub.sockets.connections.count == 1)
        #expect(!relay.feed.subscribed.contains("user:\(id(5))"))
        relay.publish(.numbered(1))
        #expect(other.takeSeqs() == [1])
    }

    @Test func aLateAnswerToAnEarlierLifeIsIgnored() throws {
        let relay = try TestRelay()
        var client: TestClient? = relay.greet(user: 5)
        relay.hub.handle(.subscribed(channel: "user:\(id(5))"))
        client?.read()
        client = nil
        relay.run()
        let again = relay.greet(user: 5)
        relay.hub.handle(.memberships(of: id(5), epoch: 1, []))
        relay.run()
        #expect(again.take().isEmpty)
        relay.finishJoining(user: 5, rooms: [:])
        #expect(again.takeTypes() == ["welcome"])
    }

    @Test func presenceIsToldOnceAndNotOfAQuickReturn() throws {
        let relay = try TestRelay()
        var client: TestClient? = relay.join(user: 5)
        #expect(relay.ephemerals.presences.map(\.isOnline) == [true])
        client?.read()
        client = nil
        relay.run()
        relay.pass(seconds: 2)
        client = relay.join(user: 5)
        relay.pass(seconds: 10)
        #expect(relay.ephemerals.presences.map(\.isOnline) == [true])
        client = nil
        relay.run()
        relay.pass(seconds: 10)
        #expect(relay.ephemerals.presences.map(\.isOnline) == [true, false])
        #expect(relay.ephemerals.presences.last?.rooms == [id(1)])
    }
}
