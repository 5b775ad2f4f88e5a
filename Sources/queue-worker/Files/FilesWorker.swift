import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// A worker of the pool "files": does the work on files that no request waits for.
final class FilesWorker {
    static let pool = "files"
    /// The time between two checks for new files.
    private static let idle = Duration.milliseconds(500)

    /// Its tasks.
    struct Tasks {
        /// Answers the broker's heartbeats.
        var keepAlive: () -> Void
        /// Inspects the next files, as long as the closure says so. Returns their number.
        var look: (() -> Bool) throws -> Int
        var sweep: () throws -> SweepUploads.Swept
    }

    private let channel: any WorkerPlace
    private let leadership: any Leadership
    private let tasks: Tasks
    /// Milliseconds between two sweeps.
    private let pause: Int64
    private let clock: WorkerClock
    private let log: Logger
    private var outage = Outage()

    init(
        _ channel: any WorkerPlace, _ leadership: any Leadership, _ tasks: Tasks, pause: Int64,
        clock: WorkerClock = .real, _ log: Logger
    ) {
        (self.channel, self.leadership, self.tasks, self.pause) = (channel, leadership, tasks, pause)
        (self.clock, self.log) = (clock, log)
    }

    convenience init(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws {
        func connection(_ way: PostgresWay = .primary) -> PostgresConnection {
            PostgresConnection(settings.database, applicationName: "queue-worker files", way: way)
        }
        let database = connection()
        let commands = RabbitMQCommandQueue(
            settings.rabbitMQ, name: "queue-worker files",
            newestLayout: { [database = settings.database] in PostgresQueueGenerations.lookUp(database) }, log: log)
        let upload = UploadFile(
            settings, objects: settings.openObjectStore(), database: database,
            redis: try RedisConnection(url: settings.redisURL), log: log)
        let sweep = SweepUploads(
            upload: upload,
            records: PostgresUploadSweepRecords(database, hasHooks: settings.hooks.families.contains(.file)),
            commands: commands,
            age: settings.storage.expiry.milliseconds, log: log)
        let describe = DescribeFile(
            stores: upload.stores,
            tools: MediaPrograms(
                limits: .init(pixels: settings.storage.maxPixels), jail: .make(settings.storage.mediaJail, log: log)),
            files: DiskWorkFiles(settings.storage.temporaryFolder), log: log)
        let inspector = FileInspector(
            jobs: PostgresFileJobs(database), commands: commands, log: log, describe: describe.describe)
        self.init(
            channel, PostgresLeadership(connection(.direct)),
            Tasks(keepAlive: commands.keepAlive, look: inspector.work, sweep: sweep.sweep),
            pause: settings.storage.sweepPause.milliseconds, log)
    }

    /// Runs until the master says quit.
    func serve() {
        channel.ready()
        var next = clock.now()
        while !channel.mustQuit {
            channel.scoreboard.heartbeat()
            tasks.keepAlive()
            if clock.now() >= next {
                sweepIfLeading()
                next = clock.now() + pause
            }
            if lookAtFiles() > 0 { continue }
            clock.wait(Int(min(Self.idle.milliseconds, max(0, next - clock.now()))), [channel.fileDescriptor])
        }
    }

    private func lookAtFiles() -> Int {
        do {
            let count = try tasks.look { !channel.mustQuit }
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
                let swept = try tasks.sweep()
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
