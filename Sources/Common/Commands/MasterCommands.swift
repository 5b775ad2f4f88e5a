public import ArgumentParser
import ChatAdapters
public import ChatCore
public import ChatProcess
public import Logging

/// A program that is a master with pools of workers.
public protocol MasterProgram {
    static var program: String { get }
    /// The pool that `scale` changes when none is named; nil: a name is required.
    static var mainPool: String? { get }
    /// The program's own numbers in the scoreboard.
    static var counters: [String] { get }
    static var histograms: [String] { get }
    /// Throws when the settings are invalid.
    static func pools(_ settings: Settings) throws -> [PoolSpec]
    /// The life of one worker, until its master ends it.
    static func work(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) throws
    /// Logs hints about these settings for the operator, once per start.
    static func announce(_ settings: Settings, _ log: Logger)
    /// More for `-t` to check, beyond the settings alone: a sentence for each problem.
    ///
    /// - Parameter arguments: those that pass the settings to a process of this program.
    static func problems(_ settings: Settings, _ arguments: [String]) throws -> [String]
    /// Lines for `-tt` beyond the settings.
    static func inForce(_ settings: Settings) throws -> String
}

extension MasterProgram {
    public static func announce(_ settings: Settings, _ log: Logger) {}
    public static func problems(_ settings: Settings, _ arguments: [String]) throws -> [String] { [] }
    public static func inForce(_ settings: Settings) throws -> String { "" }
}

public struct ServeCommand<Program: MasterProgram>: ParsableCommand {
    public static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "serve", abstract: "Run in the foreground: a master and its workers.")
    }

    @OptionGroup var settings: SettingsOption
    @Flag(
        name: [.customShort("t"), .customLong("check")],
        help: "Only check the settings and report problems; twice (-tt): show all values in force.")
    var checks: Int

    public init() {}

    public func run() throws {
        let option = settings
        let (settings, pools) = try Self.read(option, isStart: checks == 0)
        if checks > 0 {
            let problems = try Program.problems(settings, option.arguments)
            guard problems.isEmpty else { throw SettingsError(problems: problems) }
            if checks > 1 { print(try option.inForce() + Program.inForce(settings), terminator: "") }
            return print("the settings are good")
        }
        try PostgresInstallation.refuseOther(settings, program: Program.program)
        Program.announce(settings, option.startLog(settings, Program.program))
        let master = Master(
            program: Program.program, runFolder: settings.runDirectory, pools: pools,
            workerArguments: ["worker"] + option.arguments, checkArguments: ["serve", "--check"] + option.arguments,
            counters: Program.counters, histograms: Program.histograms,
            reload: {
                let (settings, pools) = try Self.read(option, isStart: true)
                try PostgresInstallation.refuseOther(settings, program: Program.program)
                LineLog.change(to: settings.log.style)
                return pools
            })
        throw ExitCode(master.run())
    }

    private static func read(_ option: SettingsOption, isStart: Bool) throws -> (Settings, [PoolSpec]) {
        let settings = try option.read()
        let pools = try Program.pools(settings)
        try SettingsCheck(settings, file: option.file, pools: pools, program: Program.program, isStart: isStart).run()
        return (settings, pools)
    }
}

public struct ScaleCommand<Program: MasterProgram>: ParsableCommand {
    public static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "scale",
            abstract: "Change the number of workers of a pool, until its setting changes or the program ends.",
            usage: usage)
    }

    private static var usage: String {
        let pool = Program.mainPool == nil ? "POOL" : "[POOL]"
        return ["+1", "-1", "4"].map { "\(Program.program) scale \(pool) \($0)" }.joined(separator: "\n")
    }

    @OptionGroup var settings: SettingsOption
    // Unrecognized ones too, because "-1" would be taken for an option otherwise.
    @Argument(parsing: .allUnrecognized, help: "The pool, and +1, -1 or a number.")
    var words: [String]

    public init() {}

    public func validate() throws {
        guard words.count == 2 || words.count == 1 && Program.mainPool != nil else {
            throw ValidationError("write one of:\n\(Self.usage)")
        }
    }

    public func run() throws {
        let folder = RunFolder(try settings.read().runDirectory, program: Program.program)
        let pool = words.count == 2 ? words[0] : Program.mainPool ?? ""
        print(try askMaster("scale \(pool) \(words.last ?? "")", in: folder), terminator: "")
    }
}
