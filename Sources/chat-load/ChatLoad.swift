import ArgumentParser
import CLoad
import ChatAdapters
import ChatCore
import ChatProcess
@preconcurrency import Glibc

@main
struct ChatLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat-load", abstract: "Put an installation of the chat under load and check its promises.",
        discussion: """
            Users send into rooms over WebSockets, upload files, lose their connections and reconnect. The client's own \
            ledger shows whether a message was lost, doubled, out of order or missing. See docs/load.md.
            """,
        version: chatVersion, subcommands: [Run.self])

    static func main() {
        StandardFiles.open()
        watchInterrupts()
        _ = load_exact_sleeps()
        do {
            var command = try parseAsRoot()
            try command.run()
            guard StandardFiles.flush() else { throw Unusable("the report cannot be written to the standard output") }
        } catch let error as Unusable {
            fputs("chat-load: \(printable(error.description, atMost: 2000))\n", stderr)
            Glibc.exit(2)
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch {
            // The parser's own status for wrong use is 64.
            let isHelp = exitCode(for: error) == .success
            fputs(fullMessage(for: error) + "\n", isHelp ? stdout : stderr)
            Glibc.exit(isHelp ? 0 : 2)
        }
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run once and report.",
        discussion: """
            Exit status: 0 the promises held; 1 one was broken, with an example; 2 wrong use, or the installation cannot be \
            reached, or it is not known: no message was acknowledged, or the history could not be read. Ctrl-C ends the run in order, with its report; a second one ends at once.

            The secret that signs the users' tokens comes from the environment (JWT_SECRET) or from a file, never from the \
            command line. JWT_AUDIENCE and JWT_ISSUER are set in the tokens when the environment has them.
            """)

    @Option(help: "The installation's address; a path before /api/v1 and /ws/v1 is part of it.")
    var url = "http://127.0.0.1:8000"
    @Option(help: "A PEM file of certificate authorities that replaces the system's.")
    var authorities: String?
    @Option(help: "Users, each with one socket (default: 20, or the tokens of --tokens).")
    var users: Int?
    @Option(help: "Rooms.")
    var rooms = 4
    @Option(help: "Members of each room; users are in several rooms when there are not enough of them.")
    var members = 10
    @Option(help: "Messages a second over all rooms, such as 50 or 50/s.")
    var rate = "50"
    @Option(help: "How long to send: 60s, 5m, 2h.")
    var duration = "60s"
    @Option(help: "The part of the duration in which the sockets open and the rate grows.")
    var ramp = "5s"
    @Option(help: "Bytes of a text, or a range such as 30-2000; at least 22, at most 16384.")
    var size = "100"
    @Option(help: "Files a second.")
    var uploads = "0"
    @Option(help: "Bytes of a file, at most 5242880.")
    var uploadSize = 10_000
    @Option(help: "Sockets a second that close, cleanly or by a cut connection, and come back with resume.")
    var churn = "0"
    @Option(help: "A file that contains only the secret, or a line JWT_SECRET=… such as the service's own .env.")
    var secretFile: String?
    @Option(help: "A command that prints a token for the user in CHAT_USER.")
    var tokenCommand: String?
    @Option(help: "A file of tokens of different users, one per line.")
    var tokens: String?
    @Option(help: "The same seed makes the same choices: users, sizes, which sockets close (default: random).")
    var seed: UInt64?
    @Option(help: "How long to wait for the last answers and frames.")
    var patience = "15s"
    @Option(help: "The most messages in flight; further ones are not sent, and are counted.")
    var inFlight = 1_000_000
    @Option(help: "Write the report as JSON to this file.")
    var json: String?
    @Option(help: "Write the report with charts to this file, as one self-contained HTML page.")
    var html: String?
    @Flag(help: "Print only the verdict.")
    var quiet = false
    @Flag(help: "Read the whole history of all rooms at the end: each acknowledged message is there exactly once.")
    var checkHistory = false
    @Flag(help: "Keep the rooms; otherwise they are deleted at the end.")
    var keep = false

    func run() throws {
        let environment = Self.environment()
        let source = try self.source(environment)
        let options = try checked(source)
        try Self.checkDescriptors(users: options.users)
        let (json, html) = (try options.json.map(ReportFile.init), try options.html.map(ReportFile.init))
        var place = try Installation(url, authorities: authorities)
        if let authorities, let problem = TextFile.problem(authorities) { throw Unusable("--authorities: \(problem)") }
        try place.resolve()
        let credentials = Credentials(
            source: source, environment: environment,
            lifetime: (options.duration + options.patience) / second + 3600)
        let load = LoadRun(options, place, credentials)
        let view = LiveView(options, environment)
        try load.prepare()
        view.opened(load)
        do throws(Unusable) { try load.drive(view) } catch {
            let left = load.cleanUp()
            throw left.isEmpty ? error : Unusable("\(error); \(left)")
        }
        view.end()
        var settlement = load.settle()
        settlement.left = load.cleanUp()
        let report = Report(load, settlement)
        print(options.isQuiet ? report.verdict : report.text)
        fflush(stdout)
        var failures: [Unusable] = []
        do throws(Unusable) { try json?.write(report.json) } catch { failures.append(error) }
        do throws(Unusable) { try html?.write(Array(HTMLReport(report).page.utf8)) } catch { failures.append(error) }
        // A broken promise decides the exit status, even if a file could not be written.
        for failure in failures { fputs("chat-load: \(failure)\n", stderr) }
        switch report.outcome {
        case .broken: throw ExitCode(1)
        case .notKnown: throw ExitCode(2)
        case .held: if !failures.isEmpty { throw ExitCode(2) }
        }
    }

    /// Each user needs one for its socket; the rest are for REST calls, this program's files, and libraries.
    private static func checkDescriptors(users: Int) throws(Unusable) {
        let (needed, files) = (users + 50, raiseDescriptorLimit())
        guard files < needed else { return }
        throw Unusable(
            "--users \(users) needs \(needed) open files, and this process may have \(files): run 'ulimit -n \(needed)' "
                + "before it, or let the administrator raise the limit")
    }

    private static func environment() -> [String: String] {
        var found: [String: String] = [:]
        for name in ["JWT_SECRET", "JWT_AUDIENCE", "JWT_ISSUER", "NO_COLOR", "TERM"] {
            if let value = getenv(name), value.pointee != 0 { found[name] = String(cString: value) }
        }
        return found
    }

    private func source(_ environment: [String: String]) throws -> Credentials.Source {
        guard [secretFile, tokenCommand, tokens].count(where: { $0 != nil }) <= 1 else {
            throw Unusable("give one of --secret-file, --token-command and --tokens")
        }
        if let tokenCommand { return .command(tokenCommand) }
        if let tokens {
            let text: [UInt8]
            do { text = try TextFile.read(tokens, atMost: 64 << 20) } catch { throw Unusable("--tokens: \(error)") }
            return .tokens(Credentials.words(text))
        }
        let secret: [UInt8]
        if let secretFile {
            secret = try Credentials.secret(in: secretFile)
        } else {
            secret = Array((environment["JWT_SECRET"] ?? "").utf8)
        }
        guard !secret.isEmpty else {
            throw Unusable(
                secretFile == nil
                    ? "set JWT_SECRET in the environment, or give --secret-file, --token-command or --tokens"
                    : "--secret-file: it is empty")
        }
        return .secret(secret)
    }
}
