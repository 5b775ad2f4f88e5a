public import ArgumentParser
public import ChatCore
import ChatProcess
public import Logging

/// The option that every command of every program has: the location of the settings.
public struct SettingsOption: ParsableArguments {
    @Option(name: [.customShort("c"), .customLong("config")], help: "A .env file; environment variables override it.")
    public var file: String?

    public init() {}

    /// Throws ``SettingsError``, which names every bad value.
    public func read() throws -> Settings { try Settings(EnvironmentSettings(file: file)) }

    /// Arguments that pass the option to a process started by this one.
    public var arguments: [String] { file.map { ["-c", $0] } ?? [] }

    /// Directs all further log output to the program's line log.
    public func startLog(_ settings: Settings, _ program: String) -> Logger {
        LineLog.start(program: program, level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        return Logger(label: program)
    }
}
