import ArgumentParser
import ChatCore
import ChatProcess
import Glibc
import Logging

@main
struct WsRelay: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ws-relay",
        abstract: "Holds the clients' WebSockets: hands their commands on and delivers every room's frames in order.",
        subcommands: [Serve.self, Work.self, Status.self, Scale.self])
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
        let pool = try Self.pool(settings)
        guard !check else { return print("the settings are good") }
        LineLog.start(program: "ws-relay", level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        let master = Master(
            program: "ws-relay", runFolder: settings.runDirectory, pools: [pool],
            workerArguments: ["worker"] + self.settings.arguments,
            checkArguments: ["serve", "--check"] + self.settings.arguments, counters: Hub.counterNames,
            reload: { [option = self.settings] in [try Self.pool(try option.read())] })
        throw ExitCode(master.run())
    }

    /// A worker is ready when Redis has answered, which may be long after its start: Redis may be away.
    private static func pool(_ settings: Settings) throws -> PoolSpec {
        PoolSpec(
            name: "sockets", workers: settings.relay.processes,
            listen: [
                try ListenAddress(
                    parsing: settings.relay.listen, mode: UInt32(settings.socketMode), group: settings.socketGroup)
            ], handover: true,
            startLimit: .seconds(86_400), stopLimit: .seconds(settings.relay.drainSeconds + 20))
    }
}

struct Work: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "worker", abstract: "Started by serve.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption

    func run() throws {
        let channel = try WorkerChannel.fromEnvironment()
        let settings = try self.settings.read()
        LineLog.start(program: "ws-relay", level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        try Relay(settings, channel).run()
    }
}

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the workers of the running master.")
    @OptionGroup var settings: SettingsOption

    func run() throws {
        print(try askMaster("status", in: RunFolder(settings.read().runDirectory, program: "ws-relay")))
    }
}

struct Scale: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change how many workers run, until the next reload.")
    @Argument(help: "+1, -1 or a number.") var change: String
    @OptionGroup var settings: SettingsOption

    func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: "ws-relay")
        print(try askMaster("scale sockets \(change)", in: folder))
    }
}
