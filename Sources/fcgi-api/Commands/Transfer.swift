import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Print everything, one room, or all that is stored about one user, as NDJSON.",
        discussion: """
            One JSON object a line, as of one moment; docs/import.md describes them. fcgi-api import reads those of --all and \
            --room. The service runs on meanwhile. What a slow reader has not taken waits in UPLOAD_TEMP_DIR. Files are not in \
            it: their names and sizes are.
            """)

    @OptionGroup var settings: SettingsOption
    @Flag(help: "All users and rooms.") var all = false
    @Option(help: "A room's UUID, or the id under which it was imported.") var room: String?
    @Option(
        help:
            "A user's id, in either form: everything that is stored about this user, for the user and not for an import."
    )
    var user: String?

    func validate() throws {
        guard [all, room != nil, user != nil].filter({ $0 }).count == 1 else {
            throw ValidationError("give one of --all, --room and --user")
        }
    }

    func run() throws {
        let settings = try self.settings.read()
        HostUser.namespace = settings.tokens.userNamespace
        let scope = try scope()
        let out = ExportOutput(STDOUT_FILENO, folder: settings.storage.temporaryFolder)
        // A reader that ends is no reason for a signal.
        signal(SIGPIPE, SIG_IGN)
        let export = PostgresExport(TransferCommands.connection(settings, "export"))
        guard try export.run(scope, namespace: settings.tokens.userNamespace, out.line) else {
            throw OperatorError("there is no room \(room ?? "")")
        }
        try out.finish()
    }

    private func scope() throws -> ExportScope {
        if let room {
            do { return .room(try ImportID.room(room)) } catch {
                throw ValidationError("--room names no room: it \(error.text)")
            }
        }
        guard let user else { return .all }
        do { return .user(try HostUser(user).id) } catch let problem as HostUser.Problem {
            throw ValidationError("--user names no user: it \(problem.text)")
        }
    }
}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Store users, rooms and messages of NDJSON: of an export, or of another service.",
        discussion: """
            docs/import.md describes the lines. --from makes them of another service's export. All are read and checked first: with a problem, nothing is stored, and each \
            is printed with its line. Each room is stored completely or not at all, so after a kill a second run, also of a \
            corrected file, stores the rest. What is here stays as it is: with lines that say otherwise, everything else is \
            stored, each is printed, and the exit code is 3. The service runs on meanwhile.
            """)

    @OptionGroup var settings: SettingsOption
    @Argument(help: "A file; - is the standard input. Of Slack: the folder of an unpacked export.") var file: String
    @OptionGroup var conversion: ConversionOptions
    @Flag(help: "Read and check everything, and store nothing.") var dryRun = false
    @Option(help: "Messages without Seq in the order of time, or of the file: time or file.") var order = "time"

    func validate() throws {
        guard order == "time" || order == "file" else { throw ValidationError("--order takes time or file") }
    }

    func run() throws {
        if conversion.printLines { return try conversion.show(file) }
        let settings = try self.settings.read()
        HostUser.namespace = settings.tokens.userNamespace
        let connection = TransferCommands.connection(settings, "import")
        let store = PostgresImport(
            connection,
            rules: ImportRules(rooms: settings.rooms, blocks: settings.account.blocks), byLine: order == "file")
        guard try store.begin() else { throw OperatorError("another import is running: wait for its end") }
        var run = ImportRun(store, namespace: settings.tokens.userNamespace, now: systemClock())
        if conversion.from == nil {
            try read(into: &run)
        } else {
            try ConversionOptions.tell(conversion.convert(file) { try run.take(converted: $1, $0) })
        }
        try run.compare()
        guard run.problems.isEmpty else {
            try show(run.problems)
            try Self.say(run.isFull ? "nothing was stored; reading stopped here" : "nothing was stored")
            throw ExitCode.failure
        }
        for (kind, count) in run.passedOver.sorted(by: { $0.key < $1.key }) {
            try Self.say("passed over: \(count) of kind \(kind)")
        }
        try show(run.differences)
        if dryRun {
            try Self.say("\(run.lines) lines are good; nothing was stored")
        } else {
            try finish(store, TransferNews(settings, connection))
            // Users may have done something meanwhile.
            try show(run.compareAgain())
        }
        guard run.differences.isEmpty else {
            if run.hasMore { try Self.say("there are more than these") }
            try Self.say("the lines named above differ from what is here, which stays as it is")
            throw ExitCode(3)
        }
    }

    private func show(_ lines: [ImportProblem]) throws {
        for line in lines { try Self.say("line \(line.line): \(line.text)") }
    }

    /// Waits for a reader that is slow, whatever it has made of the descriptor.
    fileprivate static func say(_ text: String) throws(SystemError) {
        try StandardFiles.write((printable(text, atMost: 4000) + "\n").utf8, to: STDOUT_FILENO)
    }

    fileprivate func finish(_ store: PostgresImport, _ news: TransferNews) throws {
        let counts = try store.store(news) { Progress.show("\($0) messages stored") }
        Progress.end()
        try Self.say(
            "stored: \(counts.users) users, \(counts.rooms) rooms, \(counts.members) members, "
                + "\(counts.messages) messages, \(counts.edits) earlier contents; what was here stays as it is")
    }

    private func read(into run: inout ImportRun) throws {
        var reader = LineReader(try InputFile(file))
        while !run.isFull, let line = try reader.next() {
            try run.take(line)
            if run.lines % 10_000 == 0 { Progress.show("read \(run.lines) lines") }
        }
        Progress.end()
    }
}

enum TransferCommands {
    /// No time limit: a statement may touch everything.
    static func connection(_ settings: Settings, _ name: String) -> PostgresConnection {
        PostgresConnection(
            settings.database, applicationName: "fcgi-api \(name)", statementTimeout: .seconds(7 * 86_400), way: .direct
        )
    }
}

/// On a terminal alone.
private enum Progress {
    static func show(_ text: String) {
        guard isatty(STDERR_FILENO) == 1 else { return }
        let line = Array("\r\u{1b}[K\(text)".utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    static func end() { show("") }
}

/// Without Redis, clients see the rooms when they connect again.
private final class TransferNews: ImportNews {
    private var news: RedisImportNews?

    /// - Parameter connection: that of the import: its position includes what the import has stored.
    init(_ settings: Settings, _ connection: PostgresConnection) {
        let database = settings.database
        let position = database.hasReplica ? PostgresLogPosition(connection) : nil
        news = (try? RedisConnection(url: settings.redisURL)).map {
            RedisImportNews($0, position: position, markLifetime: database.markLifetime)
        }
    }

    func appeared(_ room: Room, _ members: [Member]) { tell { try $0.appeared(room, members) } }
    func grew(_ last: Message) { tell { try $0.grew(last) } }

    private func tell(_ body: (RedisImportNews) throws -> Void) {
        guard let news else { return }
        do { try body(news) } catch {
            self.news = nil
            try? ImportCommand.say(
                "connected clients are not told, because Redis cannot be reached: they see it when they connect again")
        }
    }
}
