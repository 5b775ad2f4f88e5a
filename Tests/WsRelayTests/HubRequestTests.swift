import ChatCore
import Testing

@testable import ws_relay

@Suite struct HubRequestTests {
    @Test func handsCommandsOnWithTheirOrigin() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        client.ask(
            ("Type", .string("message")), ("RoomID", .string(id(1).description)), ("Content", .string("hi")),
            ("Sign", .string("s1")))
        client.ask(("Type", .string("message")), ("ReceiverID", .string(id(6).description)), ("Content", .string("x")))
        relay.run()
        let commands = relay.commands.commands
        #expect(commands.count == 2)
        #expect(commands[0].room == id(1) && commands[0].actor == id(5) && commands[0].sign == "s1")
        #expect(
            commands[0].origin == .socket(SocketAddress(relay: 7, socket: relay.hub.sockets.connections[0].serial)))
        #expect(commands[1].room == privateRoomID(id(5), id(6)))
        #expect(client.take().isEmpty)
    }

    @Test func refusesWithTheSign() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        client.write(ClientFrame.bytes(2, [0xC1]))
        client.ask(("Type", .string("nonsense")), ("Sign", .string("s2")))
        relay.commands.isFull = true
        client.ask(("Type", .string("seen")), ("RoomID", .string(id(1).description)), ("Sign", .string("s3")))
        relay.run()
        let frames = client.take()
        #expect(frames.map { $0["Sign"]?.string } == [nil, "s2", "s3"])
        let codes = frames.map { $0["Error"]?.string?.split(separator: ":").first.map(String.init) }
        #expect(codes == ["malformed", "unknown_type", "busy"])
        #expect(frames.allSatisfy { $0["Success"]?.bool == false && $0["Type"]?.string == "response" })
    }

    @Test func looksUpTheRoomOfAMessageOnce() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        let delete: [(String, WireValue)] = [
            ("Type", .string("delete")), ("MessageID", .string(id(90).description)), ("Sign", .string("d")),
        ]
        client.write(ClientFrame.bytes(2, TestClient.pack(delete)))
        relay.run()
        for case .room(let message, let latent) in relay.takeLookups() {
            relay.hub.handle(.room(id(1), ofMessage: message, latent))
        }
        client.write(ClientFrame.bytes(2, TestClient.pack(delete)))
        relay.run()
        #expect(relay.takeLookups().isEmpty)
        #expect(relay.commands.commands.map(\.room) == [id(1), id(1)])
        let latent = LatentCommand(socket: relay.hub.sockets.connections[0].serial, sign: "e", action: .deleteRoom)
        relay.hub.handle(.room(nil, ofMessage: id(91), latent))
        relay.run()
        #expect(client.take()[0]["Error"]?.string?.hasPrefix("message_not_found:") == true)
    }

    @Test func closesOnTheWrongKindOfFrame() throws {
        let relay = try TestRelay()
        let (packed, json) = (relay.join(user: 5), relay.join(user: 6, subprotocol: "chat.json"))
        packed.write(ClientFrame.bytes(1, Array("{}".utf8)))
        json.write(ClientFrame.bytes(2, [0x80]))
        relay.run()
        packed.read()
        json.read()
        #expect(packed.closed?.code == 1003 && json.closed?.code == 1003)
    }

    @Test func speaksJSON() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, subprotocol: "chat.json")
        #expect(client.head.contains("Sec-WebSocket-Protocol: chat.json"))
        #expect(client.takeTypes() == ["welcome"])
        client.write(ClientFrame.bytes(1, Array(#"{"Type":"ping","Sign":"j"}"#.utf8)))
        relay.run()
        relay.publish(.numbered(1))
        let answer = RelayAnswer(
            socket: relay.hub.sockets.connections[0].serial,
            frame: FrameBody(Refusal.notAMember).frame(.response, sign: "z"))
        relay.hub.handle(.message(channel: "relay:7", payload: answer.encode()))
        relay.run()
        let frames = client.take()
        #expect(frames.map { $0["Type"]?.string } == ["pong", "new_message", "response"])
        #expect(frames[1]["Seq"]?.int == 1 && frames[2]["Sign"]?.string == "z")
    }

    @Test func answersPingsAndBrokenFrames() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        client.write(ClientFrame.bytes(9, [1, 2]))
        client.write([0x82])
        relay.run()
        client.read()
        #expect(client.pongs == [[1, 2]])
        #expect(relay.hub.sockets.slow.count == 1)
        client.write([0x01])
        relay.run()
        client.read()
        #expect(client.closed?.code == 1002 && client.hasEnded)
        relay.pass(seconds: 6)
        #expect(relay.hub.sockets.connections.count == 0 && relay.hub.sockets.slow.count == 0)
    }

    @Test func limitsTheRateOfOneSocket() throws {
        let relay = try TestRelay(["WS_RATE": "10", "WS_BURST": "5"])
        let client = relay.join(user: 5)
        _ = client.take()
        for index in 0..<40 { client.ask(("Type", .string("ping")), ("Sign", .string("\(index)"))) }
        relay.run()
        let frames = client.take()
        #expect(frames.prefix(5).allSatisfy { $0["Type"]?.string == "pong" })
        #expect(frames[5]["Error"]?.string?.hasPrefix("rate_limited:") == true && frames[5]["Sign"]?.string == "5")
        #expect(client.closed?.code == 1008)
    }

    @Test func aFreshTokenOfTheSameUserExtendsTheConnection() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, ends: 1010)
        let other = relay.join(user: 6, ends: 1010)
        client.ask(("Type", .string("auth")), ("Token", .string("\(id(6)) 2000")), ("Sign", .string("a")))
        client.ask(("Type", .string("auth")), ("Token", .string("\(id(5)) 1030")), ("Sign", .string("b")))
        relay.run()
        #expect(client.take().map { $0["Success"]?.bool } == [true, false, true])
        relay.pass(seconds: 12)
        other.read()
        client.read()
        #expect(other.closed?.code == 4001 && client.closed == nil)
        relay.pass(seconds: 20)
        client.read()
        #expect(client.closed?.code == 4001)
    }

    @Test func aRevokedTokenClosesItsSockets() throws {
        let relay = try TestRelay()
        let (first, second) = (relay.join(user: 5), relay.join(user: 6))
        func revoke(_ subjects: Revocation.Subject...) {
            relay.hub.handle(.revocations(subjects.map { Revocation($0, at: 1) }))
            relay.run()
        }
        revoke(.user(id(5), before: 501), .user(id(6), before: 500), .token("other"))
        first.read()
        second.read()
        #expect(first.closed?.code == 4001 && second.closed == nil)
        revoke(.token("id-\(id(6))"))
        second.read()
        #expect(second.closed?.code == 4001)
        // Nor do they return.
        let again = relay.greet(user: 5)
        again.read()
        #expect(again.head.contains(" 401 "))
    }

    @Test func aTicketStandsForItsTokenOnce() throws {
        let relay = try TestRelay()
        func upgrade(_ found: Identity?) -> TestClient {
            let client = relay.connect()
            client.write(Array(TestClient.head("?ticket=t1").utf8))
            relay.run()
            for case .ticket("t1", let connection) in relay.takeLookups() {
                relay.hub.handle(.ticket(found, connection: connection))
            }
            relay.run()
            client.read()
            return client
        }
        let good = Identity(user: id(5), expiresAt: 2000, issuedAt: 500)
        #expect(upgrade(nil).head.contains(" 401 "))
        #expect(upgrade(Identity(user: id(5), expiresAt: 999)).head.contains(" 401 "))
        let client = upgrade(good)
        relay.finishJoining(user: 5, rooms: [:])
        #expect(client.takeTypes() == ["welcome"])
        relay.hub.handle(.revocations([Revocation(.user(id(5), before: 501), at: 1)]))
        #expect(upgrade(good).head.contains(" 401 "))
        #expect(relay.hub.lookups.waiting == 0)
    }
}

@Suite struct HubLifeTests {
    @Test func pingsTheSilentAndClosesTheDead() throws {
        let relay = try TestRelay(["WS_HEARTBEAT": "10", "WS_IDLE_SECONDS": "35"])
        let (dead, alive) = (relay.join(user: 5), relay.join(user: 6))
        for _ in 0..<4 {
            relay.pass(seconds: 10)
            alive.write(ClientFrame.bytes(10, []))
            relay.run()
        }
        dead.read()
        alive.read()
        #expect(dead.pings >= 3 && dead.closed?.code == 1001)
        #expect(alive.closed == nil && alive.pings >= 2)
    }

    @Test func aSlowClientLosesItsSocketAndNobodyElseAnything() throws {
        let relay = try TestRelay(["WS_OUTBOX_BYTES": "65536"])
        let (slow, quick) = (relay.join(user: 5), relay.join(user: 6))
        _ = (slow.take(), quick.take())
        var seqs: [Int64] = []
        for seq in UInt64(1)...200 {
            relay.publish(.numbered(seq, padding: 8000))
            seqs += quick.takeSeqs()
        }
        #expect(seqs == Array(1...200))
        #expect(relay.hub.sockets.counters.slowClosed == 1)
        // The client gets an unbroken sequence, then the close that says where to continue.
        while true {
            let before = slow.raw.count + slow.frames.count
            slow.read()
            relay.run()
            if slow.raw.count + slow.frames.count == before { break }
        }
        let got = slow.takeSeqs()
        #expect(got == Array(1...Int64(got.count)) && got.count < 200)
        #expect(slow.closed?.code == 4008)
        #expect(slow.closed?.reason == "slow consumer; resume \(id(1)) \(got.count)")
        #expect(slow.hasEnded)
    }

    @Test func aClientThatComesBackInTimeMissesNothing() throws {
        let relay = try TestRelay()
        let slow = relay.join(user: 5)
        _ = slow.take()
        for seq in UInt64(1)...100 { relay.publish(.numbered(seq, padding: 8000)) }
        #expect(relay.hub.sockets.slow.count == 1)
        relay.publish(.numbered(0, kind: .presence))
        var seqs: [Int64] = []
        for _ in 0..<20 {
            seqs += slow.takeSeqs()
            relay.run()
        }
        #expect(seqs == Array(1...100))
        #expect(relay.hub.sockets.slow.count == 0)
    }

    @Test func frozenForTooLong() throws {
        let relay = try TestRelay(["WS_OUTBOX_SECONDS": "5"])
        let slow = relay.join(user: 5)
        for seq in UInt64(1)...60 { relay.publish(.numbered(seq, padding: 8000)) }
        #expect(relay.hub.sockets.slow.count == 1)
        relay.pass(seconds: 7)
        #expect(relay.hub.sockets.counters.slowClosed == 1)
        relay.pass(seconds: 6)
        #expect(relay.hub.sockets.connections.count == 0)
        slow.read()
        #expect(slow.hasEnded)
    }

    /// The buffer in which frames are joined is smaller than this one.
    @Test func aFrameLargerThanTheBufferArrivesWhole() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5)
        _ = client.take()
        let frames: [RoomFrame] = [.numbered(1), .numbered(2, padding: 300_000), .numbered(3)]
        relay.hub.handle(
            .message(channel: "room:\(id(1))", payload: FrameChunk(room: id(1), frames: frames).encode()))
        var found: [WireValue] = []
        for _ in 0..<20 {
            relay.run()
            found += client.take()
        }
        #expect(found.map { $0["Seq"]?.int } == [1, 2, 3])
        let large = found.dropFirst().first?["Data"]?.string
        #expect(large?.utf8.count == 300_000 && large?.utf8.allSatisfy { $0 == UInt8(ascii: "x") } == true)
    }

    @Test func oneTickIsOneWrite() throws {
        let relay = try TestRelay()
        let client = relay.join(user: 5, rooms: [1: 0, 2: 0, 3: 0])
        _ = client.take()
        let before = relay.hub.sockets.written.sends
        for room in UInt64(1)...3 {
            let chunk = FrameChunk(room: id(room), frames: (1...5).map { .numbered($0, room: room) })
            relay.hub.handle(.message(channel: "room:\(id(room))", payload: chunk.encode()))
        }
        relay.run()
        #expect(client.take().count == 15)
        #expect(relay.hub.sockets.written.sends == before + 1)
    }

    @Test func moreThanATicksMemoryGoesOutInParts() throws {
        let relay = try TestRelay(["WS_MAX_CONNECTIONS_PER_USER": "100"])
        let clients = (0..<60).map { _ in relay.join(user: 5) }
        clients.forEach { _ = $0.take() }
        let frames = (1...5000).map { RoomFrame.numbered(UInt64($0)) }
        for start in stride(from: 0, to: 5000, by: 500) {
            let chunk = FrameChunk(room: id(1), frames: Array(frames[start..<start + 500]))
            relay.hub.handle(.message(channel: "room:\(id(1))", payload: chunk.encode()))
            if start % 1000 == 500 { clients.forEach { $0.read() } }
        }
        relay.run()
        for client in clients {
            for _ in 0..<5 {
                client.read()
                relay.run()
            }
            #expect(client.takeSeqs() == Array(1...5000))
        }
    }

    @Test func saysGoodbyeToEverybody() throws {
        let relay = try TestRelay(["WS_DRAIN_SECONDS": "0"])
        let client = relay.join(user: 5)
        relay.hub.endAll()
        relay.run()
        client.read()
        #expect(client.closed?.code == 1001)
    }
}
