import ChatCore
import Glibc
import Testing

@testable import ws_relay

/// State moves from one hub to another as it does between processes: bytes, and copies of the descriptors.
@Suite struct HandoffTests {
    ///
    /// - Parameters:
    ///   - onTheWay: what another build makes of the state.
    ///   - meanwhile: what happens between the sockets' going ahead and the hand-over.
    static func handOver(
        _ old: TestRelay, _ values: [String: String] = [:], as format: StateFormat = .described,
        onTheWay: ([UInt8]) throws -> [UInt8] = { $0 }, meanwhile: () throws -> Void = {}
    ) throws -> TestRelay {
        let new = try TestRelay(values)
        new.milliseconds = old.milliseconds
        new.hub.beginTick(milliseconds: new.milliseconds, unixMilliseconds: new.milliseconds)
        let heard = Set(old.hub.users.indexes.keys).union(old.hub.table.ids)
        let (handles, ahead) = old.hub.sockets.handedOver(from: 0, most: 1)
        let prepared = zip(handles, ahead).map { ($0, new.hub.sockets.prepare(dup($1))!) }
        try meanwhile()
        old.hub.endTick()
        let (bytes, descriptors) = old.hub.export(shown: Set(handles), as: format)
        try new.hub.adopt(
            try onTheWay(bytes), descriptors: descriptors.map { dup($0) },
            prepared: Dictionary(uniqueKeysWithValues: prepared),
            heard: heard)
        old.hub.letGo()
        while old.hub.sockets.isLettingGo { old.hub.sockets.goOnLettingGo() }
        new.run()
        return new
    }

    static func pingFrame(_ sign: String) -> [UInt8] {
        ClientFrame.bytes(2, TestClient.pack([("Type", .string("ping")), ("Sign", .string(sign))]))
    }

    @Test func socketsGoOnWithUsersRoomsAndSerials() throws {
        let old = try TestRelay()
        let clients = [old.join(user: 5, rooms: [1: 3, 2: 9]), old.join(user: 6, rooms: [1: 3]), old.greet(user: 5)]
        old.publish(.numbered(4))
        clients.forEach { _ = $0.take() }
        let serial = old.hub.sockets.connections[0].serial
        let new = try Self.handOver(old)
        #expect(old.hub.sockets.connections.count == 0 && new.hub.sockets.connections.count == 3)
        new.publish(.numbered(4), .numbered(5, socket: serial, sign: "s"))
        new.publish(.numbered(10, room: 2), room: 2)
        #expect(clients[0].take().map { $0["Type"]?.string } == ["response", "new_message"])
        #expect(clients[1].takeSeqs() == [5])
        #expect(clients[2].takeSeqs() == [5, 10])
        #expect(new.join(user: 7, rooms: [:]).takeTypes() == ["welcome"])
        #expect(new.hub.sockets.connections[3].serial == old.hub.sockets.serial)
    }

    @Test func streamsOfEventsGoOn() throws {
        let old = try TestRelay()
        let (reader, poll) = (old.joinEvents(user: 5, rooms: [1: 3]), old.joinEvents(user: 6, rooms: [1: 3], wait: 9))
        _ = (reader.take(), poll.takeAnswer())
        let waiting = old.joinEvents(user: 6, rooms: [1: 3], lastID: poll.lastID, wait: 9)
        let joining = old.connectReader(lastID: poll.lastID)
        joining.request(user: 7)
        old.run()
        old.publish(.numbered(4, room: 9), room: 9)
        let new = try Self.handOver(old)
        new.publish(.numbered(4))
        #expect(reader.takeSeqs() == [4] && EventCursor(id: reader.lastID)?[id(1)] == 4)
        #expect(waiting.takeAnswer()?["Data"]?.array?.count == 1)
        for case .memberships(let user, let epoch) in new.takeLookups() where user == id(7) {
            new.hub.handle(
                .memberships(of: user, epoch: epoch, [Membership(user: user, room: id(1), lastSeq: 4)]))
        }
        new.hub.handle(.subscribed(channel: "user:\(id(7))"))
        for case .memberships(let user, let epoch) in new.takeLookups() where user == id(7) {
            new.hub.handle(
                .memberships(of: user, epoch: epoch, [Membership(user: user, room: id(1), lastSeq: 4)]))
        }
        new.run()
        new.answerFrames { _ in [.numbered(4)] }
        #expect(joining.takeTypes() == ["welcome", "new_message", "response"])
        // To a relay that does not know them they do not go.
        new.hub.sockets.endAllEvents()
        new.run()
        #expect(reader.takeTypes() == ["close"] && reader.hasEnded)
    }

    @Test func whatIsNotToldOfAUserIsNotToldByTheSuccessorEither() throws {
        let old = try TestRelay()
        var client: TestClient? = old.join(user: 5)
        for event in [UserEvent.presence(isHidden: true), .blocked(room: id(1), true)] {
            old.hub.handle(.message(channel: "user:\(id(5))", payload: event.encode()))
        }
        let new = try Self.handOver(old)
        client?.ask(("Type", .string("typing")), ("RoomID", .string(id(1).description)))
        new.run()
        #expect(new.ephemerals.frames.isEmpty)
        client = nil
        new.run()
        new.pass(seconds: 10)
        #expect(new.ephemerals.presences.map(\.isOnline) == [false])
        #expect(new.ephemerals.presences.map(\.rooms) == [[]])
    }

    /// A frame, a fragmented message and a request's head, each cut at every position.
    @Test func halfReadBytesGoOnInTheMiddle() throws {
        let message = Self.pingFrame("whole")
        let payload = TestClient.pack([("Type", .string("ping")), ("Sign", .string("parts"))])
        let parts =
            ClientFrame.bytes(2, Array(payload[..<7]), final: false) + ClientFrame.bytes(9, [1])
            + ClientFrame.bytes(0, Array(payload[7...]))
        for (bytes, sign) in [(message, "whole"), (parts, "parts")] {
            for cut in 1..<bytes.count {
                let old = try TestRelay()
                let client = old.join(user: 5)
                _ = client.take()
                client.write(Array(bytes[..<cut]))
                old.run()
                let new = try Self.handOver(old)
                client.write(Array(bytes[cut...]))
                new.run()
                #expect(client.take().map { $0["Sign"]?.string } == [sign], "cut at \(cut)")
                #expect(new.hub.sockets.slow.count == 0)
            }
        }
    }

    @Test func aHalfReadHeadGoesOn() throws {
        let old = try TestRelay()
        let client = old.connect()
        client.write(Array("GET /healthz HTTP/1.1\r\nHo".utf8))
        old.run()
        let new = try Self.handOver(old)
        client.write(Array("st: a\r\n\r\n".utf8))
        new.run()
        client.read()
        #expect(client.head.hasPrefix("HTTP/1.1 200"))
    }

    @Test func whoIsJoiningIsWelcomedByTheSuccessor() throws {
        let old = try TestRelay()
        let subscribing = old.greet(user: 5, early: Self.pingFrame("early"))
        let loading = old.greet(user: 6)
        old.hub.handle(.subscribed(channel: "user:\(id(6))"))
        let new = try Self.handOver(old)
        for case .memberships(let user, let epoch) in new.takeLookups() {
            new.hub.handle(.memberships(of: user, epoch: epoch, []))
        }
        new.run()
        #expect(loading.takeTypes() == ["welcome"])
        #expect(subscribing.takeTypes() == ["welcome", "pong"])
    }

    @Test func halfWrittenBytesGoOnInTheMiddle() throws {
        let old = try TestRelay()
        let client = old.join(user: 5)
        _ = client.take()
        for seq in UInt64(1)...100 { old.publish(.numbered(seq, padding: 8000)) }
        #expect(old.hub.sockets.slow.count == 1)
        let new = try Self.handOver(old)
        #expect(new.hub.sockets.slow.count == 1)
        new.publish(.numbered(101, padding: 8000))
        var seqs: [Int64] = []
        for _ in 0..<20 {
            seqs += client.takeSeqs()
            new.run()
        }
        #expect(seqs == Array(1...101))
        #expect(new.hub.sockets.slow.count == 0)
    }

    @Test func aSlowSocketThatMovedIsStillTold() throws {
        let old = try TestRelay(["WS_OUTBOX_SECONDS": "5"])
        let client = old.join(user: 5)
        _ = client.take()
        for seq in UInt64(1)...60 { old.publish(.numbered(seq, padding: 8000)) }
        let new = try Self.handOver(old, ["WS_OUTBOX_SECONDS": "5"])
        new.pass(seconds: 7)
        for _ in 0..<5 {
            client.read()
            new.run()
        }
        let got = client.takeSeqs()
        #expect(got == Array(1...Int64(got.count)))
        #expect(client.closed?.reason == "slow consumer; resume \(id(1)) \(got.count)")
    }

    @Test func aResumeUnderWayAndAGapAreAskedForAgain() throws {
        let old = try TestRelay()
        let client = old.join(user: 5, rooms: [1: 10, 2: 0])
        _ = client.take()
        client.ask(
            ("Type", .string("resume")),
            ("Rooms", .array([.map([.init("RoomID", .string(id(1).description)), .init("Seq", .int(8))])])))
        old.run()
        old.publish(.numbered(3, room: 2), room: 2)
        let new = try Self.handOver(old)
        new.publish(.numbered(11))
        #expect(client.take().isEmpty)
        new.answerFrames { room in
            room == id(1) ? (1...11).map { .numbered($0) } : (1...3).map { .numbered($0, room: 2) }
        }
        // The successor's answer to the resume has no Seq.
        #expect(client.takeSeqs().sorted() == [-1, 1, 2, 3, 9, 10, 11])
    }

    /// The first was sent ahead and has closed since; its slot has another socket now, which was not sent ahead.
    @Test func whoComesAndGoesBetweenIsNotMixedUp() throws {
        let old = try TestRelay()
        let leaving = old.join(user: 5)
        var staying = [old.join(user: 6)]
        let new = try Self.handOver(
            old,
            meanwhile: {
                shutdown(leaving.descriptor, Int32(SHUT_RDWR))
                old.run()
                staying.append(old.join(user: 7))
                #expect(old.hub.sockets.connections.used == 2)
            })
        staying.forEach { _ = $0.take() }
        #expect(new.hub.sockets.connections.count == 2 && new.hub.users.count == 2)
        new.publish(.numbered(1))
        #expect(staying.map { $0.takeSeqs() } == [[1], [1]])
        leaving.read()
        #expect(leaving.hasEnded)
    }

    @Test func hiddenPresenceStaysHiddenAndDeparturesAreTold() throws {
        let old = try TestRelay()
        let (hidden, seen) = (old.join(user: 5), old.join(user: 6))
        let user = try #require(old.hub.users.index(id(5)))
        old.hub.users.hidePresence(user, true)
        shutdown(seen.descriptor, Int32(SHUT_RDWR))
        old.run()
        let new = try Self.handOver(old)
        shutdown(hidden.descriptor, Int32(SHUT_RDWR))
        new.run()
        new.pass(seconds: 7)
        let told = new.ephemerals.presences.filter { !$0.isOnline && !$0.rooms.isEmpty }
        #expect(told.map(\.user) == [id(6)])
    }

    @Test(arguments: [StateFormat.described, .raw]) func damagedStateIsRefused(format: StateFormat) throws {
        let old = try TestRelay()
        let client = old.join(user: 5)
        let (bytes, descriptors) = old.hub.export(as: format)
        // Raw states of releases before end without the streams of events (none, in four bytes), or without the rooms'
        // epochs, or also without the clients that wait for a resume (none, in four bytes).
        let epochs = 4 + old.hub.table.count * MemoryLayout<RoomEpoch>.stride
        let ends = format == .raw ? [bytes.count - 4, bytes.count - 4 - epochs, bytes.count - 4 - epochs - 4] : []
        for length in stride(from: 0, to: bytes.count, by: 3) where !ends.contains(length) {
            let new = try TestRelay()
            #expect(throws: StateUnreadable.self) {
                try new.hub.adopt(Array(bytes[..<length]), descriptors: descriptors.map { dup($0) }, heard: [])
            }
        }
        _ = client
    }
}

@Suite struct HandoffChannelTests {
    @Test func carriesAnyAmountOfBytesAndDescriptors() throws {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
        let (one, other) = (HandoffChannel(ends[0]), HandoffChannel(ends[1]))
        let bytes = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let descriptors = (0..<450).map { _ in dup(0) }
        try one.send(.state, bytes, descriptors: descriptors)
        var (gotBytes, gotDescriptors): ([UInt8], [Int32]) = ([], [])
        while true {
            let packet = try other.receive(within: .seconds(1))
            if packet.tag == .end { break }
            gotBytes += packet.bytes
            gotDescriptors += packet.descriptors
        }
        #expect(gotBytes == bytes && gotDescriptors.count == 450)
        #expect(throws: HandoffChannel.Failure.self) { try other.receive(within: .milliseconds(1)) }
        (descriptors + gotDescriptors).forEach { close($0) }
    }
}
