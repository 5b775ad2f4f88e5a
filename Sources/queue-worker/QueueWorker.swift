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
        subcommands: [Serve.self, Work.self, Status.self, Scale.self, Hooks.self])
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
        let master = Master(
            program: "queue-worker", runFolder: settings.runDirectory, pools: Self.pools(settings),
            workerArguments: ["worker"] + self.settings.arguments,
            checkArguments: ["serve", "--check"] + self.settings.arguments, counters: Counter.names,
            reload: { [option = self.settings] in Self.pools(try option.read()) })
        throw ExitCode(master.run())
    }

    /// A worker is ready when the broker has taken it, which may be long after its start: the broker may be away.
    private static func pools(_ settings: Settings) -> [PoolSpec] {
        let queues = PoolSpec(name: "queues", workers: settings.worker.processes, startLimit: .seconds(86_400))
        return [queues] + (settings.hooks.url.isEmpty ? [] : [PoolSpec(name: "hooks", workers: 1)])
            + (settings.retention.isOn ? [PoolSpec(name: "retention", workers: 1)] : [])
    }
}

struct Work: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Started by serve.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let channel = try WorkerChannel.fromEnvironment()
        let settings = try self.settings.read()
        LineLog.start(program: "queue-worker", level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        let log = Logger(label: "queue-worker")
        let connection = PostgresConnection(
            url: settings.database.url, applicationName: "queue-worker \(channel.pool)",
            statementTimeout: settings.database.statementTimeout)
        switch channel.pool {
        case "hooks": return HookWorker(settings, connection, channel, log).serve()
        case "retention": return RetentionWorker(settings, connection, channel, log).serve()
        default: break
        }
        let store = PostgresRoomBatchStore(
            connection, limits: settings.rooms, hasHooks: !settings.hooks.url.isEmpty)
        let check = settings.hooks.checkURL.isEmpty ? nil : HTTPMessageCheck(settings.hooks, log: log)
        let bus = RedisFrameBus(
            try RedisConnection(url: settings.redisURL), logLength: settings.worker.logLength,
            logSeconds: settings.worker.logSeconds)
        Consumer(
            settings: settings, channel: channel,
            run: BatchRun(store: store, check: check, limits: settings.rooms, clock: systemClock, log: log), bus: bus,
            log: log
        ).serve()
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
