import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// The worker of the pool "hooks": sends the due events, then checks again after a moment.
struct HookWorker {
    static let pool = "hooks"
    /// Between two checks: when nothing was due, and after the database failed.
    private static let rest = Duration.milliseconds(300)
    private static let longRest = Duration.seconds(3)
    private static let newsAtOnce = 500
    private static let news = "the feed of users' news"

    private let channel: any WorkerPlace
    private let delivery: DeliverHooks
    private let takeNews: () throws -> Void
    private let clock: WorkerClock
    private let log: Logger

    /// - Parameter takeNews: stores news of users that have arrived; called before each delivery.
    init(
        _ channel: any WorkerPlace, _ delivery: DeliverHooks, takeNews: @escaping () throws -> Void = {},
        clock: WorkerClock = .real, _ log: Logger
    ) {
        (self.channel, self.delivery, self.takeNews) = (channel, delivery, takeNews)
        (self.clock, self.log) = (clock, log)
    }

    init(_ settings: Settings, _ connection: PostgresConnection, _ channel: WorkerChannel, _ log: Logger) throws {
        // A worker that waits for a slow host does not count as hanging.
        let isAlive = {
            channel.scoreboard.heartbeat()
            return true
        }
        let client = HookClient(settings.hooks, goesOn: isAlive)
        let (url, timeout) = (settings.hooks.url, settings.hooks.timeout)
        let outbox = PostgresHookOutbox(connection)
        let delivery = DeliverHooks(
            outbox: outbox, attempts: settings.hooks.attempts, timeout: timeout, log: log
        ) { client.send($0, to: url, timeout: timeout) }
        guard !settings.hooks.families.isDisjoint(with: [.presence, .connect]) else {
            self.init(channel, delivery, log)
            return
        }
        let feed = RedisUserNews(try RedisConnection(url: settings.redisURL))
        self.init(channel, delivery, takeNews: { try Self.take(from: feed, into: outbox) }, log)
    }

    /// Entries are dropped once they are stored: a worker that dies between the two stores the same events again.
    private static func take(from feed: any UserNewsFeed, into outbox: any HookOutbox) throws {
        let entries = try feed.read(newsAtOnce)
        try outbox.replace(with: entries.map(\.item).filter { $0.user != .zero })
        try feed.drop(entries.map(\.id))
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var outage = Outage()
        var newsAt = clock.now()
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            takeNews(&outage, &newsAt)
            do throws(StoreError) {
                let counts = try delivery.run { !channel.mustQuit }
                outage.ended("PostgreSQL", log)
                channel.scoreboard.add(counts.delivered, to: Counter.hooks)
                channel.scoreboard.add(counts.failed, to: Counter.hookFailures)
                if counts.delivered + counts.failed == 0 { pause(Self.rest) }
            } catch {
                outage.began("PostgreSQL", error.description, log)
                pause(Self.longRest)
            }
        }
    }

    /// Events of rooms must not wait for Redis: after a failure it is left alone for a while.
    private func takeNews(_ outage: inout Outage, _ notBefore: inout Int64) {
        guard clock.now() >= notBefore else { return }
        do {
            try takeNews()
            outage.ended(Self.news, log)
        } catch {
            outage.began(Self.news, "\(error)", log)
            notBefore = clock.now() + Self.longRest.milliseconds
        }
    }

    private func pause(_ time: Duration) { clock.wait(Int(time.milliseconds), [channel.fileDescriptor]) }
}
