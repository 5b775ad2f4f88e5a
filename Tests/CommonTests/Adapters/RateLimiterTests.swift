import ChatAdapters
import ChatCore
import Logging
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RateLimiterTests {
    private let limits = Settings.test(["RATE_SENDS": "3", "RATE_ROOMS": "0", "RATE_SEARCHES": "60000"]).rates
    private let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let ann = UUID128.v7(at: systemClock())
    private let bob = UUID128.v7(at: systemClock())

    private func limiter() throws -> RedisRateLimiter {
        RedisRateLimiter(try TestServers.redis(), limits: limits, log: log)
    }

    @Test func aUserHasOneCountOverAllPrograms() throws {
        let (one, other) = (try limiter(), try limiter())
        #expect(one.take(.sends, ann) == nil)
        #expect(other.take(.sends, ann) == nil)
        #expect(one.take(.sends, ann) == nil)
        // Three a minute: the next is allowed after about 20 s.
        let wait = try #require(other.take(.sends, ann))
        #expect(wait > 1000 && wait <= 20_000)
        #expect(one.take(.sends, bob) == nil)
        #expect(one.take(.invitations, ann) == nil)
        for _ in 0..<10 { #expect(one.take(.rooms, ann) == nil) }
    }

    @Test func whatIsDoneIsCountedAndLeaksOut() throws {
        let limiter = try limiter()
        // 60,000 a minute are one a millisecond.
        #expect(limiter.charge([(.searches, ann, 30_000), (.rooms, ann, 1)], always: true) == [nil, nil])
        let wait = try #require(limiter.charge([(.searches, ann, 90_000)], always: true)[0])
        #expect(wait > 30_000 && wait <= 60_000)
        #expect(limiter.take(.searches, ann) != nil)
        // However much is charged, it is over after two windows.
        _ = limiter.charge([(.searches, ann, 9_000_000)], always: true)
        #expect(try #require(limiter.take(.searches, ann)) <= 60_001)
    }

    @Test func withoutRedisEverythingPasses() throws {
        let limiter = RedisRateLimiter(
            try RedisConnection(url: "redis://127.0.0.1:1"), limits: limits, log: log)
        for _ in 0..<10 { #expect(limiter.take(.sends, ann) == nil) }
    }
}
