import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// The worker of the pool "retention": removes old messages, then sleeps for ten minutes.
struct RetentionWorker {
    static let pool = "retention"
    private static let rest = Duration.seconds(600)
    private let channel: any WorkerPlace
    private let clock: WorkerClock
    private let log: Logger
    /// Removes what is too old, as long as the closure says so. Returns the number of messages.
    private let remove: (() -> Bool) throws(StoreError) -> Int64

    init(
        _ channel: any WorkerPlace, clock: WorkerClock = .real, _ log: Logger,
        remove: @escaping (() -> Bool) throws(StoreError) -> Int64
    ) {
        (self.channel, self.clock, self.log, self.remove) = (channel, clock, log, remove)
    }

    init(_ settings: Settings, _ connection: PostgresConnection, _ channel: WorkerChannel, _ log: Logger) {
        let database = settings.database
        let retention = KeepRetention(
            host: PostgresHostStore(connection),
            queue: RabbitMQCommandQueue(
                settings.rabbitMQ, name: "queue-worker retention",
                newestLayout: { PostgresQueueGenerations.lookUp(database) }, log: log),
            settings: settings.retention, clock: systemClock, log: log)
        self.init(channel, log) { goOn throws(StoreError) in
            let removed = try retention.sweep(while: goOn)
            try retention.removeDeletedRooms(while: goOn)
            try retention.removeBegunRooms(while: goOn)
            return removed
        }
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var outage = Outage()
        var next: Int64 = 0
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            if clock.now() >= next {
                next = clock.now() + Self.rest.milliseconds
                sweep(&outage)
            }
            clock.wait(1000, [channel.fileDescriptor])
        }
    }

    private func sweep(_ outage: inout Outage) {
        do throws(StoreError) {
            let removed = try remove { [channel] in
                channel.scoreboard.heartbeat()
                return !channel.mustQuit
            }
            outage.ended("PostgreSQL", log)
            if removed > 0 { log.notice("old messages were removed", metadata: ["messages": "\(removed)"]) }
        } catch {
            outage.began("PostgreSQL", error.description, log)
        }
    }
}
