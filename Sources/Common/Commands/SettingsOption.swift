public import ArgumentParser
public import ChatCore
import ChatProcess
public import Logging

/// What every command of every program knows: where the settings are.
public struct SettingsOption: ParsableArguments {
    @Option(name: [.customShort("c"), .customLong("config")], help: "A .env file; what the environment sets wins.")
    public var file: String?

    public init() {}

    /// Throws ``SettingsError``, which names every bad value.
    public func read() throws -> Settings { try Settings(EnvironmentSettings(file: file)) }

    /// For a process started by this one.
    public var arguments: [String] { file.map { ["-c", $0] } ?? [] }

    /// Everything that is logged from now on is a line of the program's.
    public func startLog(_ settings: Settings, _ program: String) -> Logger {
        LineLog.start(program: program, level: Logger.Level(rawValue: settings.logLevel) ?? .info)
        return Logger(label: program)
    }
}
