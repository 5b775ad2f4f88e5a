import CLinux
import ChatCore
import Glibc
import Logging
import Testing

@testable import ws_relay

/// A relay dies suddenly: its successor has the tables as they were, and the sockets.
@Suite struct CrashTests {
    final class Rooms: RoomHistory {
        var members: [Membership] = []
        func memberships(of users: [UUID128]) throws(StoreError) -> [Membership] {
            members.filter { users.contains($0.user) }
        }
        func lastSeqs(of rooms: [UUID128]) throws(StoreError) -> [UUID128: UInt64] { [:] }
        func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128? { nil }
        func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(StoreError) -> [RoomFrame] { [] }
    }

    /// Replaces the hub. Only the memory and the descriptors of the old one are used.
    static func crash(
        _ old: TestRelay, members: [UInt64: [UInt64]], lastSeq: UInt64, _ values: [String: String] = [:]
    ) throws -> TestRelay {
        let rooms = Rooms()
        for (user, ids) in members {
            rooms.members += ids.map { Membership(user: id(user), room: id($0), lastSeq: lastSeq) }
        }
        let new = try TestRelay(values)
        new.milliseconds = old.milliseconds
        new.hub.beginTick(milliseconds: old.milliseconds, unixMilliseconds: old.milliseconds)
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let salvage = Salvage(old.hub.memory, files: { $0.map { fcntl($0, F_DUPFD, 0) } }, log: log)
        try salvage.takeOver(new.hub, rooms)
        new.hub.handle(.restored)
        new.run()
        return new
    }

    private static func log(_ seqs: ClosedRange<UInt64>) -> (UUID128) -> [RoomFrame] {
        { room in room == id(1) ? seqs.map { .numbered($0) } : [] }
    }

    @Test func socketsBetweenFramesGoOn() throws {
        let old = try TestRelay()
        let clients = [old.join(user: 5), old.join(user: 6, subprotocol: "chat.json")]
        old.publish(.numbered(1))
        clients.forEach { _ = $0.take() }
        let new = try Self.crash(old, members: [5: [1], 6: [1]], lastSeq: 3)
        #expect(new.hub.sockets.connections.count == 2 && new.hub.sockets.serial > old.hub.sockets.serial)
        // Live frames must wait for the missed ones.
        new.publish(.numbered(4))
        #expect(clients.allSatisfy { $0.take().isEmpty })
        new.answerFrames(Self.log(1...3))
        #expect(clients.map { $0.takeSeqs() } == [[2, 3, 4], [2, 3, 4]])
        clients[0].ask(("Type", .string("ping")))
        new.run()
        #expect(clients[0].takeTypes() == ["pong"])
    }

    @Test func whatWasPushedAndNotWrittenComesAgain() throws {
        let old = try TestRelay()
        let client = old.join(user: 5)
        _ = client.take()
        old.hub.handle(
            .message(channel: "room:\(id(1))", payload: FrameChunk(room: id(1), frames: [.numbered(1)]).encode()))
        let new = try Self.crash(old, members: [5: [1]], lastSeq: 1)
        new.answerFrames(Self.log(1...1))
        #expect(client.takeSeqs() == [1])
    }

    /// The crash happens during a flush: one socket is written, the other is not.
    @Test func nobodyGetsAFrameTwice() throws {
        let old = try TestRelay()
        let clients = [old.join(user: 5), old.join(user: 6)]
        clients.forEach { _ = $0.take() }
        old.publish(.numbered(1))
        old.hub.handle(
            .message(channel: "room:\(id(1))", payload: FrameChunk(room: id(1), frames: [.numbered(2)]).encode()))
        old.hub.sockets.connections.row(0).pointee.flushed = old.hub.memory.beginFlush()
        let new = try Self.crash(old, members: [5: [1], 6: [1]], lastSeq: 2)
        new.answerFrames(Self.log(1...2))
        new.publish(.numbered(3))
        #expect(clients.map { $0.takeSeqs() } == [[1, 3], [1, 2, 3]])
        // A second crash: the mark of the first one must not count.
        let third = try Self.crash(new, members: [5: [1], 6: [1]], lastSeq: 4)
        third.answerFrames(Self.log(1...4))
        #expect(clients.map { $0.takeSeqs() } == [[4], [4]])
    }

    @Test func halfReadAndHalfWrittenOnesAreSentAway() throws {
        let old = try TestRelay()
        let (reading, slow, idle) = (old.join(user: 5), old.join(user: 6, rooms: [2: 0]), old.join(user: 7, rooms: [:]))
        [reading, slow, idle].forEach { _ = $0.take() }
        reading.write(Array(ClientFrame.bytes(9, [1, 2, 3])[..<4]))
        for seq in UInt64(1)...100 { old.publish(.numbered(seq, room: 2, padding: 8000), room: 2) }
        old.run()
        #expect(old.hub.sockets.slow.count == 2)
        let new = try Self.crash(old, members: [5: [1], 6: [2]], lastSeq: 0)
        reading.read()
        #expect(reading.closed?.code == 1001 && reading.closed?.reason.contains("resume") == true)
        _ = slow.take()
        #expect(slow.closed == nil && slow.hasEnded)
        idle.ask(("Type", .string("ping")))
        new.run()
        #expect(idle.takeTypes() == ["pong"])
        #expect(new.hub.sockets.connections.count == 1)
    }

    @Test func whoWasJoiningIsWelcomedOnce() throws {
        let old = try TestRelay()
        let client = old.greet(user: 5)
        let unsure = old.join(user: 6, rooms: [:])
        _ = unsure.take()
        old.hub.sockets.connections.row(1).pointee.flags.insert(.fresh)
        let new = try Self.crash(old, members: [:], lastSeq: 0)
        new.finishJoining(user: 5, rooms: [:])
        #expect(client.takeTypes() == ["welcome"])
        #expect(unsure.takeTypes() == ["welcome"])
    }

    /// User 7 joined and user 6 left between the crash and today.
    @Test func membersOfThenGetTheFramesOfThen() throws {
        let old = try TestRelay()
        let clients = [old.join(user: 5), old.join(user: 6), old.join(user: 7, rooms: [2: 0])]
        clients.forEach { _ = $0.take() }
        let new = try Self.crash(old, members: [5: [1], 7: [1, 2]], lastSeq: 4)
        new.answerFrames { room in
            guard room == id(1) else { return [] }
            return [.numbered(1), .numbered(2, joined: [7]), .numbered(3), .numbered(4, left: [6])]
        }
        new.publish(.numbered(5))
        #expect(clients.map { $0.takeSeqs() } == [[1, 2, 3, 4, 5], [1, 2, 3, 4], [2, 3, 4, 5]])
    }

    @Test func aRoomThatIsNotRememberedIsToldSo() throws {
        let old = try TestRelay()
        let client = old.join(user: 5)
        _ = client.take()
        let new = try Self.crash(old, members: [5: [1, 9]], lastSeq: 7)
        new.answerFrames { _ in [] }
        let resync = client.take().filter { $0["Type"]?.string == "resync" }
        #expect(resync.map { $0["RoomID"]?.string } == [id(9).description])
    }

    /// The first was answered, the second was not: only that one is sent again, with its own id.
    @Test func commandsWithoutAnAnswerAreSentAgain() throws {
        let old = try TestRelay()
        let (client, gone) = (old.join(user: 5), old.join(user: 6))
        for (client, signs) in [(client, ["a", "b", ""]), (gone, ["c"])] {
            _ = client.take()
            for sign in signs {
                client.ask(
                    ("Type", .string("message")), ("RoomID", .string(id(1).description)), ("Content", .string("x")),
                    ("ContentType", .string("text")), ("MessageType", .string("direct")), ("Sign", .string(sign)))
            }
            old.run()
        }
        let serials = (0..<2).map { old.hub.sockets.connections[$0].serial }
        let sent = old.commands.commands
        #expect(sent.count == 4)
        old.publish(.numbered(1, socket: serials[0], sign: "a"))
        old.hub.sockets.connections.row(1).pointee.flags.insert(.reading)
        let new = try Self.crash(old, members: [5: [1], 6: [1]], lastSeq: 1)
        #expect(new.commands.commands == [sent[1], sent[2]])
        new.answerFrames { _ in [] }
        new.publish(.numbered(2, socket: serials[0], sign: "b"), .numbered(3, socket: serials[0]))
        #expect(client.take().map { $0["Type"]?.string } == ["response", "response", "response"])
        #expect(new.hub.memory.journal.all().isEmpty)
    }

    @Test func theJournalIsARing() {
        let memory = RelayMemory(capacity: 1)
        let journal = memory.journal
        let command = { [UInt8](repeating: UInt8(truncatingIfNeeded: $0), count: 7000 + $0) }
        var open: [(place: UInt64, number: Int)] = []
        for number in 0..<5000 {
            open.append((journal.append(command(number), of: UInt64(number)), number))
            if open.count > 100 { journal.remove(open.remove(at: number % 100).place) }
        }
        #expect(journal.all().map(\.socket) == open.map { UInt64($0.number) })
        #expect(journal.all().allSatisfy { $0.command == command(Int($0.socket)) })
        // Nothing is removed: the oldest are dropped.
        for number in 0..<5000 { _ = journal.append(command(number), of: 1) }
        let left = journal.all()
        #expect(left.count < 5000 && left.last?.command == command(4999))
        open.forEach { journal.remove($0.place) }
        #expect(journal.all().count == left.count)
    }

    @Test func tablesInAFileAreFoundByAnother() throws {
        let file = chat_memfd_create("tables", 0)
        defer { close(file) }
        do {
            let memory = RelayMemory(capacity: 10, file: file)
            memory.header.pointee.relayID = 77
            _ = memory.open(id(3), last: 12)
        }
        let left = try #require(RelayMemory(leftIn: file))
        #expect(left.header.pointee.relayID == 77 && left.rooms[0].committed == 12)
        left.header.pointee.layout += 1
        #expect(RelayMemory(leftIn: file) == nil)
    }
}
