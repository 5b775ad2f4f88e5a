import ChatAdapters
import ChatCore
import TestSupport
import Testing

@testable import ws_relay

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RoomLogsTests {
    private let room = UUID128.v7(at: systemClock())

    private func notice(_ seqs: [UInt64]) -> Notice {
        Notice(frames: [FrameChunk(room: room, frames: seqs.map { .numbered($0) })])
    }

    /// - Returns: the Seqs found, and the newest one known.
    private func read(after seq: UInt64, limit: Int = 10) throws -> (seqs: [UInt64], newest: UInt64)? {
        let lookup = Lookup.frames(room: room, after: seq, atLeast: seq, limit: limit, .room(1))
        let question = FramesAsked(
            room: room, after: seq, atLeast: seq, limit: limit, purpose: .room(1), lookup: lookup)
        return RoomLogs(try TestServers.redis()).read([question])[0].map { ($0.frames.map(\.seq), $0.newest) }
    }

    @Test func theLogIsReadFromAnySeqUpToItsFirstGap() throws {
        let bus = RedisFrameBus(try TestServers.redis())
        try bus.publish(notice([1, 2, 3]))
        try bus.publish(notice([4]))
        #expect(try read(after: 0)?.seqs == [1, 2, 3, 4])
        #expect(try read(after: 2)?.seqs == [3, 4])
        #expect(try read(after: 4)?.seqs == [])
        #expect(try read(after: 0, limit: 2)?.seqs == [1, 2])
        // A partial repeat changes nothing.
        try bus.publish(notice([2, 3, 4, 5]))
        #expect(try read(after: 4)?.seqs == [5])
        // Behind a gap more must be fetched from the store.
        try bus.publish(notice([7]))
        let beforeGap = try #require(try read(after: 5))
        #expect(beforeGap.seqs == [] && beforeGap.newest == 7)
        var wiping = Notice()
        wiping.wiped = [room]
        try bus.publish(wiping)
        #expect(try read(after: 0)?.seqs == [])
    }

    @Test func aLogThatCannotBeReadIsNoEmptyLog() throws {
        let question = FramesAsked(
            room: room, after: 0, atLeast: 0, limit: 1, purpose: .room(1),
            lookup: .frames(room: room, after: 0, atLeast: 0, limit: 1, .room(1)))
        let nobody = try RedisConnection(url: "redis://127.0.0.1:1")
        #expect(RoomLogs(nobody).read([question]).map { $0 == nil } == [true])
    }
}
