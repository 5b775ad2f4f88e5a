import ArgumentParser
import CLoad
import ChatCore
@preconcurrency import Glibc

@main
struct ChatLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat-load", abstract: "Put an installation of the chat under load and check what it promises.",
        discussion: """
            Users send into rooms over WebSockets, upload files, lose their connections and come back. A ledger of its own \
            says whether a message was lost, doubled, out of order or missing. docs/load.md tells more.
            """,
        version: chatVersion, subcommands: [Run.self])

    static func main() {
        watchInterrupts()
        _ = load_exact_sleeps()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error as Unusable {
            fputs("chat-load: \(error)\n", stderr)
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
            reached. Ctrl-C ends the run in order, with its report; a second one ends at once.

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
    @Option(help: "Time in which the sockets open and the rate grows, a part of the duration.")
    var ramp = "5s"
    @Option(help: "Bytes of a text, or a range such as 30-2000; at least 22, at most 16384.")
    var size = "100"
    @Option(help: "Files a second.")
    var uploads = "0"
    @Option(help: "Bytes of a file, at most 5242880.")
    var uploadSize = 10_000
    @Option(help: "Sockets a second that close, cleanly or by a cut connection, and come back with resume.")
    var churn = "0"
    @Option(help: "A file with the secret alone, or with a line JWT_SECRET=… such as the service's own .env.")
    var secretFile: String?
    @Option(help: "A command that prints a token for the user in CHAT_USER.")
    var tokenCommand: String?
    @Option(help: "A file of tokens of different users, one a line.")
    var tokens: String?
    @Option(help: "The same seed makes the same choices: users, sizes, which sockets close (default: random).")
    var seed: UInt64?
    @Option(help: "How long to wait for the last answers and frames.")
    var patience = "15s"
    @Option(help: "Messages in flight at most; more are not sent and are counted.")
    var inFlight = 1_000_000
    @Option(help: "Write the report as JSON to this file.")
    var json: String?
    @Option(help: "Write the report with pictures to this file, one page that needs nothing else.")
    var html: String?
    @Flag(help: "Print the verdict alone.")
    var quiet = false
    @Flag(help: "Read the whole history of all rooms at the end: each acknowledged message is there exactly once.")
    var checkHistory = false
    @Flag(help: "Keep the rooms; else they are deleted.")
    var keep = false

    func run() throws {
        let environment = Self.environment()
        let source = try self.source(environment)
        let options = try checked(source)
        for path in [options.json, options.html].compactMap({ $0 }) { try ReportFile.check(path) }
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
        if let path = options.json { try ReportFile.write(report.json, path) }
        if let path = options.html { try ReportFile.write(Array(HTMLReport(report).page.utf8), path) }
        if load.ledger.isBroken { throw ExitCode(1) }
        guard settlement.problems.isEmpty else { throw Unusable(settlement.problems[0]) }
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

    private func checked(_ source: Credentials.Source) throws -> LoadOptions {
        var options = LoadOptions()
        var count = users ?? 20
        if users == nil, case .tokens(let tokens) = source { count = tokens.count }
        func within(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws -> Int {
            guard range.contains(value) else {
                throw Unusable("--\(name) takes \(range.lowerBound) to \(range.upperBound)")
            }
            return value
        }
        func time(_ name: String, _ text: String) throws -> Int64 {
            guard let value = LoadOptions.time(text) else {
                throw Unusable("--\(name) takes a time such as 60s, 5m or 2h, at most 7 days")
            }
            return value
        }
        func rate(_ name: String, _ text: String) throws -> Double {
            guard let value = LoadOptions.rate(text) else {
                throw Unusable("--\(name) takes a number a second such as 50 or 0.5, at most 1000000")
            }
            return value
        }
        options.users = try within("users", count, 1...100_000)
        options.rooms = try within("rooms", rooms, 1...10_000)
        options.members = try within("members", members, 2...1000)
        guard members <= count else { throw Unusable("--members is \(members): there are only \(count) users") }
        options.rate = try rate("rate", self.rate)
        options.uploads = try rate("uploads", uploads)
        options.churn = try rate("churn", churn)
        guard options.rate > 0 || options.uploads > 0 else {
            throw Unusable("--rate and --uploads are both 0: nothing is sent")
        }
        options.duration = try time("duration", duration)
        guard options.duration >= second / 10 else { throw Unusable("--duration is at least 100ms") }
        options.ramp = try time("ramp", ramp)
        options.patience = try time("patience", patience)
        guard let size = LoadOptions.size(size), size.lowerBound >= 22, size.upperBound <= 16_384 else {
            throw Unusable("--size takes bytes from 22 to 16384, such as 100 or 30-2000")
        }
        options.size = size
        options.uploadSize = try within("upload-size", uploadSize, 1...5_242_880)
        options.inFlight = try within("in-flight", inFlight, 1...50_000_000)
        options.seed = seed ?? UInt64.random(in: 1...UInt64(UInt32.max))
        guard options.rate * Double(options.duration) / 1e9 < 2e9 else {
            throw Unusable("--rate and --duration make more than 2000000000 messages")
        }
        (options.json, options.html, options.isQuiet) = (json, html, quiet)
        (options.checksHistory, options.keeps) = (checkHistory, keep)
        return options
    }
}
