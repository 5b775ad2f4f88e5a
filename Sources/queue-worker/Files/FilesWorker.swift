import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// A worker of the pool "files": work on files for which no request waits.
final class FilesWorker {
    static let pool = "files"
    /// Milliseconds between two checks for new files.
    private static let idle: Int64 = 500

    private let channel: WorkerChannel
    private let leadership: any Leadership
    private let sweep: SweepUploads
    private let inspector: FileInspector
    /// Milliseconds between two sweeps.
    private let pause: Int64
    private let commands: RabbitMQCommandQueue
    private let log: Logger
    private var outage = Outage()

    init(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        self.channel = channel
        self.log = log
        func connection(_ way: PostgresWay = .primary) -> PostgresConnection {
            PostgresConnection(settings.database, applicationName: "queue-worker files", way: way)
        }
        let database = connection()
        leadership = PostgresLeadership(connection(.direct))
        commands = RabbitMQCommandQueue(
            settings.rabbitMQ, name: "queue-worker files",
            newestLayout: { [database = settings.database] in PostgresQueueGenerations.lookUp(database) }, log: log)
        let upload = UploadFile(
            settings, objects: settings.openObjectStore(), database: database,
            redis: try RedisConnection(url: settings.redisURL), log: log)
        sweep = SweepUploads(
            upload: upload, records: PostgresUploadSweepRecords(database), commands: commands,
            age: settings.storage.expiry.milliseconds, log: log)
        inspector = FileInspector(
            jobs: PostgresFileJobs(database),
            describe: DescribeFile(
                stores: upload.stores,
                tools: MediaPrograms(
                    limits: .init(pixels: settings.storage.maxPixels),
                    jail: .make(settings.storage.mediaJail, log: log)),
                files: DiskWorkFiles(settings.storage.temporaryFolder),
                log: log), commands: commands, log: log)
        pause = settings.storage.sweepPause.milliseconds
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var next = monotonicMilliseconds()
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            commands.keepAlive()
            if monotonicMilliseconds() >= next {
                sweepIfLeading()
                next = monotonicMilliseconds() + pause
            }
            let wait = lookAtFiles() > 0 ? 0 : min(Self.idle, max(0, next - monotonicMilliseconds()))
            var descriptor = pollfd(fd: channel.fileDescriptor, events: Int16(POLLIN), revents: 0)
            poll(&descriptor, 1, Int32(wait))
        }
    }

    private func lookAtFiles() -> Int {
        do {
            let count = try inspector.work { !channel.mustQuit }
            channel.scoreboard.add(count, to: Counter.filesLookedAt)
            return count
        } catch {
            outage.began("a server that files need", "\(error)", log)
            return 0
        }
    }

    private func sweepIfLeading() {
        channel.scoreboard.beginRequest("sweep", "uploads")
        defer { channel.scoreboard.endRequest(status: 200, bytes: 0) }
        do {
            _ = try leadership.lead("uploads") {
                let swept = try sweep.sweep()
                channel.scoreboard.add(swept.abandoned + swept.orphans, to: Counter.uploadsAbandoned)
                channel.scoreboard.add(swept.deleted, to: Counter.filesDeleted)
                guard !swept.isNothing else { return }
                log.info("swept uploads", metadata: ["swept": "\(swept)"])
            }
            outage.ended("a server that files need", log)
        } catch {
            outage.began("a server that files need", "\(error)", log)
        }
    }
}
