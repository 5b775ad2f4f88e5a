/// All settings, parsed once at start. `.env.example` lists their names, defaults and meaning.
public struct Settings: Sendable {
    public var database: DatabaseSettings
    public var redisURL: String
    /// For connections to RabbitMQ, Redis, the object store and hooks.
    public var tls: TLSFiles
    public var rabbitMQ: RabbitMQSettings
    public var tokens: TokenSettings
    public var fcgi: FcgiSettings
    public var relay: RelaySettings
    public var worker: WorkerSettings
    public var rooms: RoomSettings
    public var rates: RateSettings
    public var account: AccountSettings
    public var hooks: HookSettings
    /// A key of the host application with the scope `admin`, at least 32 bytes; empty: there is none. A secret.
    public var adminKey: String
    public var audit: AuditSettings
    public var retention: RetentionSettings
    public var storage: StorageSettings
    public var push: PushSettings
    /// The folder of unix sockets, control sockets, locks and scoreboards.
    public var runDirectory: String
    /// The group that may connect to unix sockets: nginx runs as another user. nil: the program's own.
    public var socketGroup: String?
    public var socketMode: Int
    /// Without a sign of life for longer, a worker counts as hanging; nil: never.
    public var hangLimit: Duration?
    public var web: WebSettings
    /// Steps of messages kept for `fcgi-api trace`; 0: none.
    public var traceLength: Int
    public var log: LogSettings
    public var tracing: TracingSettings
    /// The folder of openapi.yaml and similar files.
    public var documents: String

    /// Where all of this was read.
    private var origin: SettingsOrigin

    /// The same settings with other values for some names.
    public func with(_ values: [String: String]) throws(SettingsError) -> Settings {
        try Settings(ChangedSettings(values: values, others: origin.source))
    }

    public init(_ source: some SettingsSource) throws(SettingsError) {
        origin = SettingsOrigin(source: source)
        var values = SettingsReader(source)
        let files = InstalledFiles.ofThisProcess()
        runDirectory = values.text("RUN_DIR", default: "/run/chat")
        socketGroup = values.optional("SOCKET_GROUP")
        socketMode = Self.socketMode(&values)
        hangLimit = values.seconds("WORKER_HANG_SECONDS", default: 30, in: 0...86_400).unlessZero
        web = WebSettings(&values)
        documents = values.optional("DOCS_DIR") ?? files.folder(shared: "docs", checkout: "docs")
        log = LogSettings(&values)
        tracing = TracingSettings(&values)
        redisURL = values.text("REDIS_URL", default: "redis://127.0.0.1:6379/0")
        do { _ = try RedisServers(redisURL) } catch { values.problem("REDIS_URL: \(error)") }
        traceLength = values.number("TRACE_LENGTH", default: 2000, in: 0...10_000_000)
        database = DatabaseSettings(&values, files)
        tls = TLSFiles(&values)
        redisURL = RedisServers.naming(tls, in: redisURL)
        rabbitMQ = RabbitMQSettings(&values, tls: tls)
        tokens = TokenSettings(&values)
        fcgi = FcgiSettings(&values, runDirectory: runDirectory, files: files)
        relay = RelaySettings(&values, runDirectory: runDirectory)
        worker = WorkerSettings(&values)
        rooms = RoomSettings(&values)
        rates = RateSettings(&values)
        account = AccountSettings(&values)
        hooks = HookSettings(&values)
        hooks.authorities = tls.authorities
        tracing.authorities = tls.authorities
        adminKey = Self.adminKey(&values)
        audit = AuditSettings(&values)
        retention = RetentionSettings(&values)
        storage = StorageSettings(&values)
        storage.authorities = tls.authorities
        if storage.folder != nil, storage.linkSecret == nil, tokens.secret.isEmpty {
            values.problem("UPLOAD_LINK_SECRET is not set: links to files of a folder are signed with it")
        }
        push = PushSettings(&values, webhook: hooks.pushURL)
        if !values.problems.isEmpty { throw SettingsError(problems: values.problems) }
    }

    private static func socketMode(_ values: inout SettingsReader) -> Int {
        let mode = values.octal("SOCKET_MODE", default: 0o660)
        if mode & 0o222 == 0 {
            let given = values.optional("SOCKET_MODE") ?? ""
            values.problem("SOCKET_MODE=\(given): no client could connect: add the right to write, as in 0660")
        }
        return mode
    }

    private static func adminKey(_ values: inout SettingsReader) -> String {
        let key = values.text("ADMIN_API_KEY", default: "")
        if !key.isEmpty, key.utf8.count < 32 {
            values.problem("ADMIN_API_KEY has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
        return key
    }
}
