import ChatCore
import Testing

@testable import queue_worker

@Suite struct BacklogTests {
    private let loud = UUID128.v7(at: 1)
    private let quiet = UUID128.v7(at: 2)

    private func commands(_ count: Int, in room: UUID128) -> [Command] {
        (0..<count).map { _ in
            Command(id: .v7(at: 3), room: room, actor: .v7(at: 4), acceptedAt: 0, action: .seen(seq: nil))
        }
    }

    @Test func aQuietRoomIsInTheNextBatchHoweverMuchALoudOneSends() {
        var backlog = Backlog()
        for tag in 1...40 { backlog.append(commands(250, in: loud), tag: UInt64(tag), bytes: 1) }
        #expect(backlog.next(atMost: 256).count == 256)
        backlog.append(commands(1, in: quiet), tag: 41, bytes: 1)
        #expect(backlog.finish() == 1)
        #expect(backlog.next(atMost: 256).map(\.room).contains(quiet))
    }

    /// Other rooms wait while a batch is stored.
    @Test func aBatchHasABoundInBytesAndOneCommandOfEachRoom() {
        var backlog = Backlog()
        backlog.append(commands(200, in: loud), tag: 1, bytes: 200 * 16_000)
        for tag in 2...41 { backlog.append(commands(1, in: .v7(at: Int64(tag))), tag: UInt64(tag), bytes: 100) }
        let batch = backlog.next(atMost: 256)
        #expect(batch.filter { $0.room == loud }.count * 16_000 < Backlog.batchBytes + 16_000)
        #expect(Set(batch.map(\.room)).count == 41)
        // A command that is larger than the bound is a batch of its own.
        var large = Backlog()
        large.append(commands(2, in: loud), tag: 1, bytes: 4 * Backlog.batchBytes)
        #expect(large.next(atMost: 256).count == 1 && large.finish() == nil)
        #expect(large.next(atMost: 256).count == 1 && large.finish() == 1)
    }

    @Test func eachOfManyRoomsHasItsTurn() {
        var backlog = Backlog()
        let rooms = (0..<700).map { UUID128.v7(at: Int64($0)) }
        for (tag, room) in rooms.enumerated() { backlog.append(commands(100, in: room), tag: UInt64(tag), bytes: 1) }
        var first: [UUID128: Int] = [:]
        for batch in 0..<3 {
            for command in backlog.next(atMost: 256) { first[command.room] = first[command.room] ?? batch }
            _ = backlog.finish()
        }
        #expect(first.count == 700)
    }

    @Test func everyCommandIsTakenOnceAndEachRoomsInOrder() {
        var backlog = Backlog()
        var sent: [UUID128: [UUID128]] = [:]
        let rooms = (0..<7).map { UUID128.v7(at: Int64($0)) }
        for tag in 1...60 {
            let mixed = (0..<tag).flatMap { commands(1, in: rooms[($0 * tag) % 7]) }
            for command in mixed { sent[command.room, default: []].append(command.id) }
            backlog.append(mixed, tag: UInt64(tag), bytes: 10)
        }
        var got: [UUID128: [UUID128]] = [:]
        var last: UInt64 = 0
        while !backlog.isEmpty {
            let batch = backlog.next(atMost: 100)
            #expect(!batch.isEmpty && batch.count <= 100)
            for command in batch { got[command.room, default: []].append(command.id) }
            last = backlog.finish() ?? last
        }
        #expect(got == sent)
        #expect(last == 60 && backlog.bytes == 0)
    }

    @Test func onlyWhatIsDoneUpToTheFirstThatIsNotIsAcknowledged() {
        var backlog = Backlog()
        backlog.append(commands(10, in: loud), tag: 1, bytes: 5)
        backlog.append([], tag: 2, bytes: 5)
        backlog.append(commands(1, in: quiet), tag: 3, bytes: 5)
        #expect(backlog.next(atMost: 4).count == 4)
        // The quiet room's message is done, but an earlier one is not: an acknowledgement would include it.
        #expect(backlog.finish() == nil)
        #expect(backlog.next(atMost: 100).count == 7)
        #expect(backlog.finish() == 3)
        #expect(backlog.isEmpty && backlog.bytes == 0)
    }

    @Test func anEmptyMessageAloneIsAcknowledged() {
        var backlog = Backlog()
        backlog.append([], tag: 9, bytes: 3)
        #expect(backlog.next(atMost: 5).isEmpty)
        #expect(backlog.finish() == 9)
    }
}
