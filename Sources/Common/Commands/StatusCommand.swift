public import ArgumentParser
import ChatCore
import ChatProcess
import Glibc

public struct StatusCommand<Program: MasterProgram>: ParsableCommand {
    public static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "status", abstract: "Show the pools, the current work of each worker, and waiting work.")
    }

    @OptionGroup var settings: SettingsOption
    @Flag(help: "One JSON object, in one line.") var json = false
    @Flag(help: "Repeat until interrupted.") var watch = false
    @Option(help: "Seconds between two updates of --watch.") var interval: Double = 2

    public init() {}

    public func validate() throws {
        guard interval >= 0.1, interval <= 3600 else { throw ValidationError("--interval is from 0.1 to 3600 seconds") }
    }

    public func run() throws {
        let settings = try settings.read()
        let isScreen = !json && watch && isatty(STDOUT_FILENO) == 1
        repeat {
            let text = try look(settings)
            // The whole text is written at once, otherwise a screen flickers.
            say(isScreen ? "\u{1b}[H\u{1b}[2J" + text : text + (watch && !json ? "\n" : ""))
            if watch { usleep(UInt32(interval * 1_000_000)) }
        } while watch
    }

    private func look(_ settings: Settings) throws -> String {
        let folder = RunFolder(settings.runDirectory, program: Program.program)
        let text = try askMaster(json ? "status json" : "status", in: folder)
        let service = ServiceNumbers(runDirectory: settings.runDirectory)
        guard json else { return text + "\n" + service.text }
        // The master's object, with one more member.
        return "\(text.dropLast(2)),\"version\":\"\(chatVersion)\",\"service\":\(service.json)}\n"
    }

    private func say(_ text: String) {
        do { try StandardFiles.write(text.utf8, to: STDOUT_FILENO) } catch { Glibc.exit(1) }
    }
}

/// Numbers of the whole service on this machine, from the scoreboards of ws-relay and queue-worker. Nil: that program
/// does not run here.
struct ServiceNumbers {
    var sockets: Int?
    /// Commands that a worker has taken and not finished, and the seconds since the oldest of them was accepted.
    var commandsInHand: Int?
    var oldestSeconds: Double?
    /// The most seconds that the read replica is behind; infinite: too far, or unavailable; nil: there is none.
    var replicaLag: Double?

    init(runDirectory: String) {
        func board(_ program: String) -> Scoreboard? {
            let board = try? Scoreboard.open(at: RunFolder(runDirectory, program: program).scoreboard)
            // The file of a dead master is stale.
            return board.flatMap { kill(pid_t($0.masterPid), 0) == 0 || errno == EPERM ? $0 : nil }
        }
        replicaLag = board("fcgi-api").flatMap { ReplicaLag.seconds(of: $0.values(of: "replica_lag_seconds")) }
        sockets = board("ws-relay")?.sum(of: "connections")
        if let board = board("queue-worker") {
            commandsInHand = board.sum(of: "backlog_commands")
            let since = board.earliest(of: "oldest_command_at")
            oldestSeconds = since.map { Double(max(0, systemClock() - Int64($0))) / 1000 } ?? 0
        }
    }

    var text: String {
        func shown(_ value: (some CustomStringConvertible)?) -> String { value.map { "\($0)" } ?? "-" }
        return "service: \(shown(sockets)) sockets, \(shown(commandsInHand)) commands in hand, "
            + "the oldest for \(shown(oldestSeconds)) s"
            + (replicaLag.map { ", the read replica \($0.isFinite ? "\($0) s behind" : "is not used")" } ?? "") + "\n"
    }

    var json: String {
        func shown(_ value: (some CustomStringConvertible)?) -> String { value.map { "\($0)" } ?? "null" }
        return "{\"sockets\":\(shown(sockets)),\"commands_in_hand\":\(shown(commandsInHand)),"
            + "\"oldest_command_seconds\":\(shown(oldestSeconds))"
            + (replicaLag.map { ",\"replica_lag_seconds\":\($0.isFinite ? "\($0)" : "null")" } ?? "") + "}"
    }
}
