import ChatCore
import ChatProcess

/// The operator's answers: from options, from the environment, or from the terminal.
struct SetupAnswers {
    private let options: Setup
    private let old: SettingsFile
    private let surroundings: SetupSurroundings
    /// Whether setup may ask: there is a terminal, and an answer is missing.
    private let asks: Bool

    init(_ options: Setup, _ old: SettingsFile, _ surroundings: SetupSurroundings = .real) {
        self.options = options
        self.old = old
        self.surroundings = surroundings
        asks = surroundings.hasTerminal && old["DATABASE_URL"] == nil && !options.dryRun
    }

    var createsDatabase: Bool {
        if options.createDatabase || databaseURL != nil || !asks { return options.createDatabase }
        return yes("Make a role and a database chat in this machine's PostgreSQL?")
    }

    var createsBrokerUser: Bool {
        if options.createBrokerUser || brokerURL != nil || !asks { return options.createBrokerUser }
        return yes("Make a user and a vhost chat in this machine's RabbitMQ?")
    }

    var databaseURL: String? { options.databaseUrl ?? environment("DATABASE_URL") }
    var brokerURL: String? { options.rabbitmqUrl ?? environment("RABBITMQ_URL") }

    /// Fills in every value that needs no other server.
    func fill(_ settings: inout SettingsFile) throws {
        if settings["DATABASE_URL"] == nil, asks {
            try settings.set("DATABASE_URL", line("PostgreSQL (a libpq connection string)", "") ?? "")
        }
        guard settings["DATABASE_URL"] != nil else {
            throw OperatorError("no database is named: give --create-database, --database-url or DATABASE_URL")
        }
        if settings["JWT_SECRET"] == nil, settings["JWT_JWKS_FILE"] == nil, settings["JWT_JWKS_URL"] == nil {
            try settings.set("JWT_SECRET", Self.newSecret())
        }
        // Without it nginx cannot open the sockets.
        if settings["SOCKET_GROUP"] == nil, old["DATABASE_URL"] == nil, let group = surroundings.groupOfNginx {
            try settings.set("SOCKET_GROUP", group)
        }
        if let url = options.redisUrl ?? environment("REDIS_URL") { try settings.set("REDIS_URL", url) }
        try fillStorage(&settings)
        try fillAddress(&settings)
    }

    private func fillStorage(_ settings: inout SettingsFile) throws {
        let isSet = settings["S3_ENDPOINT"] != nil || settings["STORAGE"].map { $0 != "s3" } ?? false
        let wish = options.storage ?? (isSet || !asks ? nil : line("Files: disk, s3 or none", "disk"))
        switch wish {
        case nil, "none": break
        case "disk": try settings.set("STORAGE", "disk:/var/lib/chat/files")
        case "s3": try settings.set("STORAGE", "s3")
        case .some(let text) where text.hasPrefix("disk:/"): try settings.set("STORAGE", text)
        case .some(let text): throw OperatorError("--storage \(text) is none of disk, disk:/folder, s3, none")
        }
        if let endpoint = options.s3Endpoint { try settings.set("S3_ENDPOINT", endpoint) }
        if let bucket = options.s3Bucket { try settings.set("S3_BUCKET_NAME", bucket) }
        for name in ["S3_ACCESS_KEY", "S3_SECRET_KEY"] {
            if let key = environment(name) { try settings.set(name, key) }
        }
        if wish == "s3", settings["S3_ENDPOINT"] == nil {
            throw OperatorError("files in S3 need the store's address: give --s3-endpoint https://…")
        }
    }

    private func fillAddress(_ settings: inout SettingsFile) throws {
        let wish = options.domain ?? (asks ? line("The name under which clients reach nginx", "localhost") : nil)
        guard let domain = wish else { return }
        let isLocal = domain == "localhost" || domain.hasPrefix("localhost:") || domain.hasPrefix("127.")
        let scheme = options.plainHttp || isLocal ? "http" : "https"
        try settings.set("PUBLIC_URL", "\(scheme)://\(domain)\(options.prefix ?? "")")
    }

    // MARK: Where answers come from

    private func environment(_ name: String) -> String? {
        guard let value = surroundings.variable(name), !value.isEmpty else { return nil }
        return value
    }

    private func yes(_ question: String) -> Bool { line("\(question) [y/n]", "y").map { $0.hasPrefix("y") } ?? false }

    private func line(_ question: String, _ fallback: String) -> String? {
        let shown = fallback.isEmpty ? "" : " (\(fallback))"
        guard let answer = surroundings.ask("\(question)\(shown): ") else { return nil }
        return answer.isEmpty ? fallback : answer
    }

    /// 32 random bytes as text.
    static func newSecret() -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<32).map { _ in
            let byte = UInt8.random(in: .min ... .max, using: &random)
            return (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
    }
}
