import ChatAdapters
import ChatCore
import Glibc
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct WriteMarksTests {
    private let user = UUID128.v7(at: systemClock()), other = UUID128.v7(at: systemClock() + 1)
    private let room = UUID128.v7(at: systemClock() + 2)

    @Test func theLargerPositionCountsWhicheverWasRecordedLast() throws {
        let marks = RedisWriteMarks(try RedisConnection(url: TestServers.settings!.redisURL), lifetime: .seconds(60))
        try marks.begin(at: 1)
        let before = try marks.position(of: other, in: nil)
        // More than a double holds exactly is not needed, but all of 2^53 is.
        for position in [9_007_199_254_740_990, 9_007_199_254_740_991, 5] as [Int64] {
            try marks.record(Written(position: position, users: [user], rooms: [room]))
        }
        #expect(try marks.position(of: user, in: nil) == 9_007_199_254_740_991)
        #expect(try marks.position(of: other, in: room) == 9_007_199_254_740_991)
        #expect(try marks.position(of: other, in: nil) == before)
    }
}
