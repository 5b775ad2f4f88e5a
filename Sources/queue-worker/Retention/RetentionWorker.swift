import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// The worker of the pool "retention": removes old messages, then sleeps for ten minutes.
struct RetentionWorker {
    static let pool = "retention"
    private static let rest = Duration.seconds(600)
    private let channel: WorkerChannel
    private let retention: KeepRetention
    private let log: Logger

    init(_ settings: Settings, _ connection: PostgresConnection, _ channel: WorkerChannel, _ log: Logger) {
        self.channel = channel
        self.log = log
        let database = settings.database
        retention = KeepRetention(
            host: PostgresHostStore(connection),
            queue: RabbitMQCommandQueue(
                settings.rabbitMQ, name: "queue-worker retention",
                newestLayout: { PostgresQueueGenerations.lookUp(database) }, log: log),
            settings: settings.retention, clock: systemClock, log: log)
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var outage = Outage()
        var next: Int64 = 0
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            if monotonicMilliseconds() >= next {
                next = monotonicMilliseconds() + Self.rest.milliseconds
                sweep(&outage)
            }
            var descriptor = pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0)
            poll(&descriptor, 1, 1000)
        }
    }

    private func sweep(_ outage: inout Outage) {
        do throws(StoreError) {
            let goOn = { [channel] in
                channel.scoreboard.heartbeat()
                return !channel.mustQuit
            }
            let removed = try retention.sweep(while: goOn)
            try retention.removeDeletedRooms(while: goOn)
            outage.ended("PostgreSQL", log)
            if removed > 0 { log.notice("old messages were removed", metadata: ["messages": "\(removed)"]) }
        } catch {
            outage.began("PostgreSQL", error.description, log)
        }
    }
}
