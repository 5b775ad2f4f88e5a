import ChatCore
import Glibc
import Testing

@testable import ws_relay

@Suite struct HubLimitTests {
    private static func greet(_ relay: TestRelay, user: UInt64, from address: String) -> TestClient {
        let client = relay.connect()
        client.write(Array(TestClient.head("?token=\(id(user))%201000000", ["X-Real-IP: \(address)"]).utf8))
        relay.run()
        client.read()
        return client
    }

    @Test func anAddressHasSoManySockets() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_ADDRESS": "2"])
        let first = [1, 2].map { Self.greet(relay, user: $0, from: "10.0.0.1") }
        #expect(first.allSatisfy { $0.head.contains(" 101 ") })
        let refused = Self.greet(relay, user: 3, from: "10.0.0.1")
        #expect(refused.head.contains(" 429 ") && refused.head.contains("Retry-After: "))
        #expect(Self.greet(relay, user: 4, from: "10.0.0.2").head.contains(" 101 "))
        relay.hub.sockets.destroy(0)
        let next = Self.greet(relay, user: 5, from: "10.0.0.1")
        #expect(next.head.contains(" 101 "))
        #expect(Self.greet(relay, user: 6, from: "10.0.0.1").head.contains(" 429 "))
        // A deallocated client closes its socket.
        withExtendedLifetime((first, next)) {}
    }

    @Test func handshakesHaveARate() throws {
        let relay = try TestRelay(["WS_HANDSHAKE_RATE": "2"])
        let clients = (1...9).map { Self.greet(relay, user: $0, from: "x") }
        #expect(clients.filter { $0.head.contains(" 101 ") }.count == 8)
        #expect(clients[8].head.contains(" 503 ") && clients[8].head.contains("Retry-After: "))
        relay.pass(seconds: 1)
        #expect(Self.greet(relay, user: 20, from: "x").head.contains(" 101 "))
    }

    @Test func aFloodOfPingsIsNotAnsweredForEver() throws {
        let relay = try TestRelay(["WS_RATE": "10", "WS_BURST": "20"])
        let (flood, other) = (relay.join(user: 5), relay.join(user: 6))
        flood.write(Array((0..<200).map { _ in ClientFrame.bytes(9, []) }.joined()))
        other.write(ClientFrame.bytes(9, [7]))
        relay.run()
        flood.read()
        other.read()
        #expect(flood.pongs.count == 20 && flood.closed?.code == 1008)
        #expect(other.pongs == [[7]])
    }

    /// One turn reads one buffer of a socket, however much waits in it: nobody's frames wait for the rest.
    @Test func aFloodHasOneBufferATurn() throws {
        let relay = try TestRelay(["WS_RATE": "1000000", "WS_BURST": "1000000"])
        let (flood, other) = (relay.join(user: 5), relay.join(user: 6))
        flood.write(Array((0..<100_000).map { _ in ClientFrame.bytes(9, []) }.joined()))
        other.write(ClientFrame.bytes(9, [7]))
        func unread() -> Int32 {
            var bytes: Int32 = 0
            ioctl(relay.hub.sockets.connections[0].descriptor, UInt(FIONREAD), &bytes)
            return bytes
        }
        let before = unread()
        #expect(Int(before) > 2 * Sockets.readSize, "the flood does not fill two buffers: this would show nothing")
        relay.hub.sockets.epoll.wait(milliseconds: 0) { relay.hub.handle($0) }
        relay.hub.endTick()
        other.read()
        #expect(other.pongs == [[7]])
        #expect(Int(before - unread()) <= Sockets.readSize)
    }

    @Test func goodbyesAreSpread() throws {
        let relay = try TestRelay(["WS_DRAIN_SECONDS": "10"])
        let clients = (1...20).map { relay.join(user: $0) }
        relay.hub.endAll()
        var closed: [Int] = []
        for _ in 0..<10 {
            relay.milliseconds += 1000
            relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
            relay.hub.sockets.goOnEnding()
            relay.run()
            clients.forEach { $0.read() }
            closed.append(clients.count { $0.closed != nil })
        }
        #expect(closed == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20])
        #expect(clients.allSatisfy { $0.closed?.code == 1001 && $0.closed?.reason.contains("reconnect in") == true })
        // No new sockets.
        #expect(Self.greet(relay, user: 30, from: "x").head.contains(" 503 "))
    }
}
