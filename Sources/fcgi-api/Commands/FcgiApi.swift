import ArgumentParser
import ChatCore
import ChatProcess
import Glibc
import Logging

struct FcgiApi: ParsableCommand {
    static let program = "fcgi-api"
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: program,
        abstract: "The chat service's REST API, behind nginx (FastCGI).",
        discussion: """
            Settings come from the environment and from a .env file (-c); README.md lists them.

            Signals to the running master: TERM ends gracefully, QUIT at once, HUP reads the settings again and \
            replaces the workers, USR2 does the same with the binary on disk, TTIN and TTOU add and remove a worker.
            """,
        version: version,
        subcommands: [
            Serve.self, WorkerCommand.self, Migrate.self, TokenCommand.self, Status.self, ScaleCommand.self,
            TraceCommand.self,
        ])
}

/// What every command knows: where the settings are.
struct SettingsOption: ParsableArguments {
    @Option(name: [.customShort("c"), .customLong("config")], help: "A .env file; what the environment sets wins.")
    var file: String?

    func read() throws -> Settings { try Settings(EnvironmentSettings(file: file)) }

    /// For a process started by this one.
    var arguments: [String] { file.map { ["-c", $0] } ?? [] }

    func startLog(_ settings: Settings) -> Logger {
        LineLog.start(program: FcgiApi.program, level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        return Logger(label: FcgiApi.program)
    }
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run the master and its pools of workers.")

    @OptionGroup var settings: SettingsOption
    @Flag(help: "Only check the settings, and say what is wrong with them.")
    var check = false

    func run() throws {
        let read = try settings.read()
        let pools = try poolSpecs(read)
        if check { return print("the settings are right") }
        _ = settings.startLog(read)
        let option = settings
        let master = Master(
            program: FcgiApi.program, runFolder: read.runDirectory, pools: pools,
            workerArguments: ["worker"] + option.arguments, checkArguments: ["serve", "--check"] + option.arguments,
            counters: ApiCounter.names, reload: { try poolSpecs(option.read()) })
        throw ExitCode(master.run())
    }
}

func poolSpecs(_ settings: Settings) throws -> [PoolSpec] {
    try settings.fcgi.pools.map { pool in
        PoolSpec(
            name: pool.name, workers: pool.workers, maxWorkers: pool.maxWorkers,
            listen: [
                try ListenAddress(
                    parsing: pool.listen, mode: UInt32(settings.socketMode), group: settings.socketGroup)
            ], timeLimit: .seconds(pool.timeLimit),
            memoryLimit: pool.memoryLimit == 0 ? nil : pool.memoryLimit << 20)
    }
}

/// The program's own numbers in the scoreboard, by place.
enum ApiCounter: Int, CaseIterable {
    case queued

    static var names: [String] {
        allCases.map {
            switch $0 {
            case .queued: "queued_answers_total"
            }
        }
    }
}

struct WorkerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Started by serve.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let channel = try WorkerChannel.fromEnvironment()
        let read = try settings.read()
        try ApiWorker(channel, read, settings.startLog(read)).run()
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the pools and what each worker does now.")

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: FcgiApi.program)
        print(try askMaster("status", in: folder), terminator: "")
    }
}

struct ScaleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale", abstract: "Change how many workers a pool has, until its setting changes.")

    @OptionGroup var settings: SettingsOption
    @Argument(help: "rooms, messages, uploads or account.")
    var pool: String
    // A list, because "-1" would be taken for an option otherwise.
    @Argument(parsing: .allUnrecognized, help: "+1, -1 or a number.")
    var amount: [String]

    func validate() throws {
        guard amount.count == 1 else { throw ValidationError("write: scale POOL +1, scale POOL -1 or scale POOL 4") }
    }

    func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: FcgiApi.program)
        print(try askMaster("scale \(pool) \(amount[0])", in: folder), terminator: "")
    }
}
