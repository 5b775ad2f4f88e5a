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

    private let channel: any WorkerPlace
    private let delivery: DeliverHooks
    private let clock: WorkerClock
    private let log: Logger

    init(_ channel: any WorkerPlace, _ delivery: DeliverHooks, clock: WorkerClock = .real, _ log: Logger) {
        (self.channel, self.delivery, self.clock, self.log) = (channel, delivery, clock, log)
    }

    init(_ settings: Settings, _ connection: PostgresConnection, _ channel: WorkerChannel, _ log: Logger) {
        // A worker that waits for a slow host does not count as hanging.
        let isAlive = {
            channel.scoreboard.heartbeat()
            return true
        }
        let client = HookClient(settings.hooks, goesOn: isAlive)
        let (url, timeout) = (settings.hooks.url, settings.hooks.timeout)
        let delivery = DeliverHooks(
            outbox: PostgresHookOutbox(connection), attempts: settings.hooks.attempts, timeout: timeout, log: log
        ) { client.send($0, to: url, timeout: timeout) }
        self.init(channel, delivery, log)
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var outage = Outage()
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
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

    private func pause(_ time: Duration) { clock.wait(Int(time.milliseconds), [channel.fileDescriptor]) }
}
