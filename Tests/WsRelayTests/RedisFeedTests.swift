import ChatAdapters
import Logging
import Testing

@testable import ws_relay

@Suite struct RedisFeedTests {
    private let redis = MemoryRedis()
    private let feed: RedisFeed

    init() { feed = RedisFeed(redis, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) }

    /// One tick of the loop: what the hub hears.
    private func tick(_ now: Int64) -> [String] {
        var heard: [String] = []
        let handle: (FeedEvent) -> Void = { event in
            switch event {
            case .message(let channel, let payload): heard.append("\(channel) says \(payload)")
            case .subscribed(let channel): heard.append("subscribed \(channel)")
            case .lost: heard.append("lost")
            case .restored: heard.append("restored")
            case .regained(let channel): heard.append("regained \(channel)")
            }
        }
        feed.keepUp(now: now, handle)
        while feed.read(now: now, handle) {}
        feed.endTick(now: now, handle)
        return heard
    }

    @Test func aFirstConnectionWithoutChannelsIsReadyAtOnce() {
        #expect(tick(0) == ["restored"])
        #expect(feed.connection == 1)
    }

    @Test func aChannelIsConfirmedByRedisAndThenHeard() {
        _ = tick(0)
        feed.subscribe("room:1")
        #expect(tick(1).isEmpty)
        #expect(redis.sent == ["+ room:1"])
        #expect(tick(2) == ["subscribed room:1"])
        redis.arriving = [.message(channel: "room:1", payload: [1])]
        #expect(tick(3) == ["room:1 says [1]"])
    }

    @Test func aTicksChangesAreSentTogetherInTheirOrder() {
        _ = tick(0)
        feed.subscribe("a")
        feed.subscribe("b")
        feed.unsubscribe("a")
        feed.subscribe("a")
        feed.subscribe("a")
        feed.subscribe("c")
        _ = tick(1)
        #expect(redis.sent == ["+ a b", "- a", "+ a c"])
        // The first answer for a belongs to what was cancelled.
        #expect(tick(2) == ["subscribed b", "subscribed a", "subscribed c"])
    }

    @Test func oneCommandHasAThousandChannelsAtMost() {
        _ = tick(0)
        for number in 0..<2500 { feed.subscribe("c\(number)") }
        _ = tick(1)
        #expect(redis.sent.map { $0.split(separator: " ").count - 1 } == [1000, 1000, 500])
    }

    @Test func aLostConnectionIsRestoredWithEveryChannel() {
        _ = tick(0)
        feed.subscribe("a")
        feed.subscribe("b")
        _ = tick(1)
        _ = tick(2)
        redis.isBroken = true
        #expect(tick(3) == ["lost"])
        #expect(feed.descriptor == -1)
        // Changes in between count as well.
        feed.unsubscribe("b")
        feed.subscribe("c")
        redis.sent = []
        #expect(tick(4).isEmpty)
        #expect(redis.sent == ["+ a c"])
        #expect(tick(5) == ["restored"])
        #expect(feed.connection == 2)
    }

    @Test func aChannelIsNotAskedForTwiceByANewConnection() {
        redis.isAway = true
        feed.subscribe("a")
        _ = tick(0)
        redis.isAway = false
        _ = tick(10_000)
        _ = tick(10_001)
        #expect(redis.sent == ["+ a"])
    }

    @Test func attemptsBecomeRarerUpToTwoSecondsAndOftenAgainAfterASuccess() {
        redis.isAway = true
        var attempts: [Int64] = []
        var last: Int64 = 0
        for now in stride(from: Int64(0), through: 12_000, by: 50) {
            let before = redis.timesAsked
            _ = tick(now)
            if redis.timesAsked > before {
                attempts.append(now - last)
                last = now
            }
        }
        #expect(attempts == [0, 100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000])
        redis.isAway = false
        #expect(tick(20_000) == ["restored"])
        redis.isBroken = true
        redis.isAway = true
        // At once, then after the first pause.
        _ = tick(20_001)
        let before = redis.timesAsked
        _ = tick(20_002)
        _ = tick(20_101)
        #expect(redis.timesAsked == before + 1)
        _ = tick(20_102)
        #expect(redis.timesAsked == before + 2)
    }

    @Test func aQuietRedisIsAskedForALifeSign() {
        _ = tick(0)
        #expect(tick(1000).isEmpty && redis.sent.isEmpty)
        #expect(tick(1001).isEmpty)
        #expect(redis.sent == ["ping"])
        // It answered at once: one more second.
        _ = tick(2001)
        #expect(redis.sent == ["ping"])
        _ = tick(2002)
        #expect(redis.sent == ["ping", "ping"])
    }

    @Test func aSilentRedisIsLost() {
        _ = tick(0)
        redis.isSilent = true
        _ = tick(1001)
        _ = tick(2000)
        #expect(redis.sent == ["ping"])
        #expect(tick(3001).isEmpty)
        #expect(tick(3002) == ["lost"])
        redis.isSilent = false
        #expect(tick(3003) == ["restored"])
    }

    /// Its disk is full: the Sentinels have replaced it, and the connection to it stays open.
    @Test func aRedisThatRefusesLifeSignsIsLost() {
        _ = tick(0)
        redis.pong = .refused("MISCONF Errors writing to the AOF file: No space left on device")
        _ = tick(1001)
        #expect(tick(3001).isEmpty && redis.sent == ["ping"])
        #expect(tick(3002) == ["lost"])
        redis.pong = .pong
        #expect(tick(3003) == ["restored"])
    }

    /// We were stopped, not Redis.
    @Test func aRelayThatSleptAsksFirst() {
        _ = tick(0)
        #expect(tick(60_000).isEmpty)
        #expect(tick(60_001).isEmpty && redis.sent == ["ping"])
    }

    @Test func aFailedWriteIsALoss() {
        _ = tick(0)
        feed.subscribe("a")
        var heard: [String] = []
        redis.isBroken = true
        feed.endTick(now: 1) { if case .lost = $0 { heard.append("lost") } }
        #expect(heard == ["lost"])
    }

    @Test func afterTheEndItNeverConnectsAgain() {
        _ = tick(0)
        feed.shutDown()
        _ = tick(.max / 2)
        #expect(redis.timesConnected == 1)
    }
}
