import ArgumentParser
import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

@main
struct QueueWorker: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-worker",
        abstract: "Carries out the commands of every room, in order: the rooms' only writer.",
        subcommands: [Serve.self, Work.self, Status.self, Scale.self, Dead.self, Queues.self, Hooks.self])
}

struct SettingsOption: ParsableArguments {
    @Option(name: [.customShort("c"), .customLong("config")], help: "A .env file; the environment wins over it.")
    var file: String?

    func read() throws -> Settings {
        do { return try Settings(EnvironmentSettings(file: file)) } catch {
            throw ValidationError("\(error)")
        }
    }

    var arguments: [String] { file.map { ["-c", $0] } ?? [] }
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run in the foreground: a master and its workers.")

    @OptionGroup var settings: SettingsOption
    @Flag(help: "Only check the settings.") var check = false

    func run() throws {
        let settings = try self.settings.read()
        guard !check else { return print("the settings are good") }
        LineLog.start(program: "queue-worker", level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        if !settings.push.isOn {
            Logger(label: "queue-worker").notice("push notifications are off: FCM_SERVICE_ACCOUNT_FILE is not set")
        }
        let master = Master(
            program: "queue-worker", runFolder: settings.runDirectory, pools: Self.pools(settings),
            workerArguments: ["worker"] + self.settings.arguments,
            checkArguments: ["serve", "--check"] + self.settings.arguments, counters: Counter.names,
            reload: { [option = self.settings] in Self.pools(try option.read()) })
        throw ExitCode(master.run())
    }

    /// A worker is ready when the broker has taken it, which may be long after its start: the broker may be away.
    private static func pools(_ settings: Settings) -> [PoolSpec] {
        func pool(_ name: String, _ workers: Int) -> PoolSpec {
            PoolSpec(name: name, workers: workers, startLimit: .seconds(86_400))
        }
        var pools = [pool("queues", settings.worker.processes)]
        if settings.storage.isSet { pools.append(PoolSpec(name: FilesWorker.pool, workers: 1)) }
        if !settings.hooks.url.isEmpty { pools.append(PoolSpec(name: HookWorker.pool, workers: 1)) }
        if settings.retention.isOn { pools.append(PoolSpec(name: RetentionWorker.pool, workers: 1)) }
        if settings.push.isOn { pools.append(pool("push", settings.push.processes)) }
        return pools
    }
}

struct Work: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Started by serve.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let channel = try WorkerChannel.fromEnvironment()
        CrashTrail.install()
        let settings = try self.settings.read()
        LineLog.start(program: "queue-worker", level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        let log = Logger(label: "queue-worker")
        switch channel.pool {
        case FilesWorker.pool: try FilesWorker(settings, channel, log).serve()
        case HookWorker.pool:
            HookWorker(settings, connection(settings, "queue-worker hooks"), channel, log).serve()
        case RetentionWorker.pool:
            RetentionWorker(settings, connection(settings, "queue-worker retention"), channel, log).serve()
        case "push": try pushWorker(settings, channel, log).serve()
        default: try queueWorker(settings, channel, log).serve()
        }
    }

    private func connection(_ settings: Settings, _ name: String) -> PostgresConnection {
        PostgresConnection(
            url: settings.database.url, applicationName: name, statementTimeout: settings.database.statementTimeout)
    }

    private func queueWorker(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws -> Consumer {
        let store = PostgresRoomBatchStore(
            connection(settings, "queue-worker"), limits: settings.rooms, hasHooks: !settings.hooks.url.isEmpty)
        let check = settings.hooks.checkURL.isEmpty ? nil : HTTPMessageCheck(settings.hooks, log: log)
        let bus = RedisFrameBus(
            try RedisConnection(url: settings.redisURL), logLength: settings.worker.logLength,
            logSeconds: settings.worker.logSeconds, trailLength: settings.traceLength)
        return Consumer(
            settings: settings, channel: channel,
            run: BatchRun(store: store, check: check, limits: settings.rooms, clock: systemClock, log: log), bus: bus,
            generations: PostgresQueueGenerations(
                PostgresConnection(
                    url: settings.database.url, applicationName: "queue-worker queues",
                    statementTimeout: PostgresQueueGenerations.patience)), log: log)
    }

    private func pushWorker(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws -> PushConsumer {
        let audience = PostgresPushAudience(connection(settings, "queue-worker push"))
        let marks = RedisPushMarks(
            try RedisConnection(url: settings.redisURL), trailLength: settings.traceLength)
        let sender = try FCMPushSender(settings.push, account: settings.push.accountFile ?? "")
        return PushConsumer(settings: settings, channel: channel, log: log) { pause in
            PushOffline(
                audience: audience, marks: marks, sender: sender, clock: systemClock, log: log, pause: pause)
        }
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the workers of the running master.")
    @OptionGroup var settings: SettingsOption

    func run() throws {
        print(try askMaster("status", in: RunFolder(settings.read().runDirectory, program: "queue-worker")))
    }
}

struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change how many workers run, until the next reload.")
    @Argument(help: "+1, -1 or a number.") var change: String
    @OptionGroup var settings: SettingsOption

    func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: "queue-worker")
        print(try askMaster("scale queues \(change)", in: folder))
    }
}
