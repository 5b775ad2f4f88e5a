public import ArgumentParser
import ChatCore
import ChatProcess
import Glibc

/// The command by which a master starts a worker of its program.
public struct WorkerCommand<Program: MasterProgram>: ParsableCommand {
    public static var configuration: CommandConfiguration {
        CommandConfiguration(commandName: "worker", abstract: "Started by serve.", shouldDisplay: false)
    }

    @OptionGroup var settings: SettingsOption

    public init() {}

    public func run() throws {
        let channel = try WorkerChannel.fromEnvironment()
        CrashReport.install()
        CrashReport.write(to: STDERR_FILENO)
        let settings = try self.settings.read()
        let log = self.settings.startLog(settings, Program.program, worker: channel.label)
        // Each program writes messages for clients: a relay those that it reads from PostgreSQL.
        ServiceAddress.publicURL = settings.web.publicURL
        HostUser.namespace = settings.tokens.userNamespace
        try Program.work(settings, channel, log)
    }
}
