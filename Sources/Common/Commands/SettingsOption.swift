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
    public func read() throws -> Settings {
        let source = try EnvironmentSettings(file: file)
        do { return try Settings(source) } catch {
            guard let file, let text = SettingsCheck.read(file) else { throw error }
            throw error.placed(in: file, text)
        }
    }

    /// One line for each setting in force, with its source.
    func inForce() throws -> String {
        try Settings.inForce(EnvironmentSettings(file: file)).map { setting in
            "\(setting.name)=\(setting.value)" + (setting.origin == .default ? "" : "  # \(setting.origin)") + "\n"
        }.joined()
    }

    /// Arguments that pass the option to a process started by this one.
    public var arguments: [String] { file.map { ["-c", $0] } ?? [] }

    /// From now on all log lines have the program's format.
    ///
    /// - Parameter worker: `pool/slot`; nil in a master.
    public func startLog(_ settings: Settings, _ program: String, worker: String? = nil) -> Logger {
        LineLog.start(program: program, worker: worker, style: settings.log.style)
        return Logger(label: program)
    }
}

extension LogSettings {
    /// Translates the texts of the settings into the log's style.
    var style: LogStyle {
        LogStyle(
            level: Logger.Level(rawValue: level) ?? .info, format: LogStyle.Format(rawValue: format) ?? .text,
            priorities: LogStyle.Priorities(rawValue: priorities) ?? .auto)
    }
}
