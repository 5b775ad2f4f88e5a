import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess
import Glibc

/// Checks the written settings as the user who runs the programs: success as root would prove nothing.
struct SetupChecks {
    let file: String
    let work: SetupWork

    func servers() throws { try child(["setup-check", "servers"] + (work.dryRun ? ["--dry-run"] : [])) }

    func migrate() throws {
        let missing = try child(["migrate", "status"], quiet: true).split(separator: "\n")
            .filter { $0.hasPrefix("missing ") }
        guard !missing.isEmpty else { return }
        try work.does("bring the database's tables to this version (\(missing.count) steps)") {
            try child(["migrate", "up"], quiet: true)
        }
    }

    func message(_ url: String) throws { try child(["setup-check", "message", "--url", url]) }

    @discardableResult
    private func child(_ words: [String], quiet: Bool = false) throws -> String {
        guard let program = pathOfThisProgram() else { throw OperatorError("/proc is not mounted: mount it") }
        let isChat = getuid() != 0 || getpwnam("chat") == nil
        let become = isChat ? [] : ["setpriv", "--reuid=chat", "--regid=chat", "--init-groups", "--"]
        guard let ending = OtherProgram.run(become + [program] + words + ["-c", file]) else {
            throw OperatorError("\(become.first ?? program) could not be started: install util-linux")
        }
        guard ending.isGood else {
            // Prints the successful checks in order; the sentence about the failure comes last.
            var lines = ending.text.split(separator: "\n")
            guard let place = lines.lastIndex(where: { $0.hasPrefix("Error: ") }) else {
                throw OperatorError("\(words.joined(separator: " ")) failed: \(ending.lastLine)")
            }
            let problem = lines.remove(at: place).dropFirst("Error: ".count)
            for line in lines { print(line) }
            throw OperatorError(String(problem))
        }
        if !quiet, !ending.text.isEmpty { print(ending.text) }
        return ending.text
    }
}

/// Started by setup.
struct SetupCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "setup-check", abstract: "Started by setup.", shouldDisplay: false)

    @OptionGroup var settings: SettingsOption
    @Argument var what: String
    @Option var url = ""
    @Flag var dryRun = false

    func run() throws {
        let settings = try settings.read()
        if what == "servers" { try servers(settings) } else { try MessageThrough(url, settings).check() }
    }

    private func servers(_ settings: Settings) throws {
        try say("PostgreSQL", fix: "DATABASE_URL") {
            let connection = PostgresConnection(settings.database, applicationName: "fcgi-api setup")
            let version = try connection.query("SELECT current_setting('server_version_num')::int8")[0].int8(0)
            guard version >= 140_000 else { throw OperatorError("it is older than PostgreSQL 14: upgrade it") }
        }
        try say("RabbitMQ", fix: "RABBITMQ_URL") {
            _ = try RabbitMQConnection(settings.rabbitMQ, name: "fcgi-api setup")
        }
        try say("Redis", fix: "REDIS_URL") {
            _ = try RedisConnection(url: settings.redisURL).command([RedisWord(word: "PING")])
        }
        if let folder = settings.storage.folder {
            try say("the folder of files", fix: "STORAGE") {
                // systemd creates /var/lib/chat; the folders above other paths must exist.
                let parent =
                    access(folder, F_OK) == 0
                    ? folder : String(folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)])
                guard access(parent, W_OK) == 0 || access(parent, F_OK) != 0 && parent.hasPrefix("/var/lib/chat") else {
                    throw OperatorError("\(parent) cannot be written by this user: give it to the user chat")
                }
            }
        } else if settings.storage.isSet {
            try say("the S3 store", fix: "S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY or S3_BUCKET_NAME") {
                let store = S3ObjectStore(settings.storage)
                guard try !store.hasBucket() else { return }
                print("\(dryRun ? "would" : "did:") make the bucket \(settings.storage.bucket)")
                if !dryRun { try store.makeBucket() }
            }
        } else {
            print("files are off: --storage disk or s3 switches them on")
        }
    }

    private func say(_ server: String, fix: String, _ check: () throws -> Void) throws {
        do { try check() } catch {
            throw OperatorError("\(server) cannot be used: \(error); start it, or correct \(fix)")
        }
        print("\(server) is reachable")
    }
}

/// Sends a message from one test user to another, as clients do.
private struct MessageThrough {
    private let url: String
    private let settings: Settings

    init(_ url: String, _ settings: Settings) {
        self.url = url
        self.settings = settings
    }

    func check() throws {
        let api = ApiProbe(url: url)
        // Without a token our own refusal must come back: it shows that nginx serves this API here.
        guard try answer(api, "GET", "/rooms", nil, nil).body["RequestID"] != nil else { throw notOurs }
        guard !settings.tokens.secret.isEmpty else {
            print("the API answers at \(url); no message was sent: tokens are made elsewhere (JWT_JWKS_FILE or URL)")
            return
        }
        let users = SeedUser.all
        let token = try JWTTokens(settings.tokens).issue(user: users[0].id, lifetime: 60, name: nil)
        let room = try answer(
            api, "POST", "/rooms", token, "{\"Type\":\"PRIVATE\",\"Members\":[\"\(users[1].id)\"]}")
        guard let id = room.body["Data"]?["ID"]?.string else { throw refused("POST /rooms", room) }
        let sent = try answer(
            api, "POST", "/rooms/\(id)/messages", token, "{\"Content\":\"fcgi-api setup\",\"Sign\":\"fcgi-api setup\"}")
        guard sent.status == 201 else { throw refused("POST /rooms/\(id)/messages", sent) }
        print("a test message was delivered at \(url)")
    }

    private var notOurs: OperatorError {
        OperatorError(
            "\(url)/api/v1 is another program: put the lines above into nginx and reload it, or give --check-url")
    }

    private func answer(
        _ api: ApiProbe, _ method: String, _ path: String, _ token: String?, _ body: String?
    ) throws -> ApiProbe.Answer {
        do { return try api.ask(method, path, token: token, body: body) } catch {
            throw OperatorError(
                "\(url) cannot be reached (\(error)): start nginx, or give --check-url http://127.0.0.1 and what follows it"
            )
        }
    }

    private func refused(_ what: String, _ answer: ApiProbe.Answer) -> OperatorError {
        guard let reason = answer.body["Error"]?["Message"]?.string else { return notOurs }
        return OperatorError(
            "\(what) was answered \(answer.status), \(reason): `\(url)/api/v1/readyz` shows what is unavailable")
    }
}
