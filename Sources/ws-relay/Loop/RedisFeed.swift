import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// A connection that receives what is published; the guarantees are those of `RedisSubscription`.
protocol FeedConnection: AnyObject {
    var fileDescriptor: Int32 { get }
    var wantsWrite: Bool { get }
    func connect(timeout: Int) throws(RedisError)
    func close()
    func subscribe(_ channels: [String])
    func unsubscribe(_ channels: [String])
    func ping()
    func flush() throws(RedisError)
    func readAvailable(_ handle: (RedisSubscription.SubscriptionEvent) -> Void) throws(RedisError) -> Bool
}

extension RedisSubscription: FeedConnection {}

/// A feed, for the loop and for a hand-over.
protocol RelayFeed: Feed, ReadableFeed {
    /// -1 without a connection.
    var descriptor: Int32 { get }
    var wantsWrite: Bool { get }
    /// Increases with each connection: the loop must watch the new descriptor.
    var connection: Int { get }
    /// Something is not connected or not subscribed: call ``keepUp(now:_:)`` often.
    var isAway: Bool { get }
    /// Every channel is subscribed.
    var isWhole: Bool { get }
    /// Messages of different channels arrive in the order in which they were published.
    var hasOneOrder: Bool { get }

    /// Connects when it is due. Call it every tick.
    func keepUp(now: Int64, _ handle: (FeedEvent) -> Void)
    /// Sends the tick's changes.
    func endTick(now: Int64, _ handle: (FeedEvent) -> Void)
    /// Closes the feed for good.
    func shutDown()
}

/// The feed from the servers in this URL.
func makeFeed(url: String, log: Logger) throws(RedisError) -> any RelayFeed {
    guard try ClusterScout(url: url) != nil else { return try RedisFeed(url: url, log: log) }
    return ClusterFeed(ScoutThread(url: url), log: log)
}

/// The relay's subscriptions in Redis. It reconnects with growing delays, subscribes to everything again, and treats a
/// silent Redis as lost.
final class RedisFeed: RelayFeed {
    /// A connect may block the loop for this long; then 100 ms … 2 s between attempts.
    private static let connectLimit = Duration.milliseconds(500)
    private static let delays = Duration.milliseconds(100)...Duration.seconds(2)
    /// Silence after which Redis gets a ping, and the time for its answer: a frozen Redis must not keep frames for long.
    private static let silence: Duration = .seconds(1)
    private static let timeout: Duration = .seconds(2)

    private let subscription: any FeedConnection
    private let log: Logger
    private var outage = Outage()
    private var book = ChannelBook()
    /// The changes of this tick, in order: a channel may be unsubscribed and subscribed again.
    private var wishes: [(isWanted: Bool, channel: String)] = []
    private var nextAttempt: Int64 = 0
    private var delay = delays.lowerBound
    private var heardAt: Int64 = 0
    private var pingedAt: Int64?
    /// Increases with each connection: the loop must watch the new descriptor.
    private(set) var connection = 0
    private(set) var isWhole = false
    var hasOneOrder: Bool { true }

    convenience init(url: String, log: Logger) throws(RedisError) {
        self.init(try RedisSubscription(url: url), log: log)
    }

    init(_ subscription: any FeedConnection, log: Logger) {
        self.subscription = subscription
        self.log = log
    }

    /// -1 without a connection.
    var descriptor: Int32 { subscription.fileDescriptor }
    var wantsWrite: Bool { subscription.wantsWrite }
    var isAway: Bool { descriptor < 0 }

    func subscribe(_ channel: String) {
        if book.subscribe(channel) { wishes.append((true, channel)) }
    }

    func unsubscribe(_ channel: String) {
        if book.unsubscribe(channel) { wishes.append((false, channel)) }
    }

    /// Blocks for callers that wait for nothing else.
    func wait(milliseconds: Int32) {
        guard descriptor >= 0 else {
            usleep(UInt32(milliseconds) * 1000)
            return
        }
        var polls = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        poll(&polls, 1, milliseconds)
    }

    /// Connects when it is due. Call it every tick.
    func keepUp(now: Int64, _ handle: (FeedEvent) -> Void) {
        if descriptor >= 0 { return checkLife(now, handle) }
        guard now >= nextAttempt else { return }
        do {
            try subscription.connect(timeout: Int(Self.connectLimit.milliseconds))
            (heardAt, pingedAt, delay) = (now, nil, Self.delays.lowerBound)
            connection += 1
            wishes = book.reconnected().map { (true, $0) }
            if wishes.isEmpty { restored(handle) }
        } catch {
            outage.began("Redis", "\(error)", log)
            nextAttempt = now + delay.milliseconds
            delay = min(delay * 2, Self.delays.upperBound)
        }
    }

    private func restored(_ handle: (FeedEvent) -> Void) {
        isWhole = true
        outage.ended("Redis", log)
        handle(.restored)
    }

    private func checkLife(_ now: Int64, _ handle: (FeedEvent) -> Void) {
        if let pingedAt {
            if now - pingedAt > Self.timeout.milliseconds { lose("Redis does not answer", now, handle) }
        } else if now - heardAt > Self.silence.milliseconds {
            pingedAt = now
            subscription.ping()
        }
    }

    /// Closes the feed for good: it never connects again.
    func shutDown() {
        subscription.close()
        nextAttempt = .max
    }

    private func lose(_ why: String, _ now: Int64, _ handle: (FeedEvent) -> Void) {
        outage.began("Redis", why, log)
        subscription.close()
        (nextAttempt, isWhole) = (now, false)
        handle(.lost)
    }

    /// Reads and handles up to 16 KiB. False when nothing is left.
    func read(now: Int64, _ handle: (FeedEvent) -> Void) -> Bool {
        do throws(RedisError) {
            var isRefused = false
            let some = try subscription.readAvailable { event in
                switch event {
                case .message(let channel, let payload): handle(.message(channel: channel, payload: payload))
                case .subscribed(let channel): answered(channel, handle)
                case .unsubscribed, .pong: break
                case .refused: isRefused = true
                }
            }
            // A primary whose disk is full refuses a ping too. The Sentinels replace it, and nothing is published there any more.
            if some && !isRefused { (heardAt, pingedAt) = (now, nil) }
            return some
        } catch {
            lose(error.description, now, handle)
            return false
        }
    }

    private func answered(_ channel: String, _ handle: (FeedEvent) -> Void) {
        switch book.answered(channel) {
        case .stale: break
        case .confirmed: handle(.subscribed(channel: channel))
        case .confirmedAll: restored(handle)
        }
    }

    /// Sends the tick's changes: adjacent ones of the same kind in one command, at most 1,000 channels each.
    func endTick(now: Int64, _ handle: (FeedEvent) -> Void) {
        guard descriptor >= 0 else {
            // The next connection subscribes to what the book lists.
            wishes = []
            return
        }
        var rest = wishes[...]
        while let first = rest.first {
            let run = rest.prefix(1000).prefix { $0.isWanted == first.isWanted }.map(\.channel)
            rest = rest.dropFirst(run.count)
            if first.isWanted { subscription.subscribe(run) } else { subscription.unsubscribe(run) }
        }
        wishes = []
        guard subscription.wantsWrite else { return }
        do throws(RedisError) { try subscription.flush() } catch { lose(error.description, now, handle) }
    }
}
