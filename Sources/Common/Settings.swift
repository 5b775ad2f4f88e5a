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
            values.problem("SOCKET_MODE=\(given): nobody could connect: that takes the right to write, as in 0660")
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

extension TLSFiles {
    fileprivate init(_ values: inout SettingsReader) {
        self.init(
            authorities: values.optional("TLS_CA_FILE"), certificate: values.optional("TLS_CERT_FILE"),
            key: values.optional("TLS_KEY_FILE"))
        if (certificate == nil) != (key == nil) {
            values.problem("TLS_CERT_FILE and TLS_KEY_FILE belong together: only one of them is set")
        }
    }
}

public struct LogSettings: Sendable {
    /// trace, debug, info, notice, warning, error or critical.
    public var level: String
    /// text or json.
    public var format: String
    /// auto, on or off: whether lines begin with a priority for journald.
    public var priorities: String

    init(_ values: inout SettingsReader) {
        level = values.choice(
            "LOG_LEVEL", ["trace", "debug", "info", "notice", "warning", "error", "critical"], default: "info")
        format = values.choice("LOG_FORMAT", ["text", "json"], default: "text")
        priorities = values.choice("LOG_PRIORITY", ["auto", "on", "off"], default: "auto")
    }
}

public struct DatabaseSettings: Sendable {
    /// A libpq connection string or URI.
    public var url: String
    /// For reads that need not follow one's own write; the same as `url` when not set.
    public var readURL: String
    /// A replica that is further behind is not used.
    public var readMaxLag: Duration
    public var migrationsDirectory: String
    /// PostgreSQL ends a statement after this time.
    public var statementTimeout: Duration
    /// Uses named statements and session settings; false behind PgBouncer in transaction mode.
    public var isPrepared: Bool
    /// For work that needs a session of its own (locks of sweepers, migrations); the same as `url` when not set.
    public var directURL: String
    public var hasReplica: Bool { readURL != url }
    /// How long a user's writes are remembered: a replica that is used has them by then.
    public var markLifetime: Duration { readMaxLag + .seconds(30) }
    /// A text search configuration of PostgreSQL; `fcgi-api migrate up` applies it.
    public var searchLanguage: String
    /// PostgreSQL ends a search after this time.
    public var searchTimeout: Duration

    init(_ values: inout SettingsReader, _ files: InstalledFiles) {
        url = values.required("DATABASE_URL", "a libpq connection string, such as postgresql://chat@127.0.0.1/chat")
        readURL = values.text("DATABASE_READ_URL", default: url)
        readMaxLag = values.seconds("DATABASE_READ_MAX_LAG_SECONDS", default: 30, in: 1...3600)
        isPrepared = values.choice("DATABASE_PREPARED", ["yes", "no"], default: "yes") == "yes"
        directURL = values.text("DATABASE_DIRECT_URL", default: url)
        if !isPrepared, directURL == url {
            values.problem(
                "DATABASE_PREPARED=no (PgBouncer in transaction mode) needs DATABASE_DIRECT_URL: a way to PostgreSQL past "
                    + "it, for locks that a session holds")
        }
        migrationsDirectory =
            values.optional("MIGRATIONS_DIR") ?? files.folder(shared: "migrations", checkout: "Migrations")
        statementTimeout = values.milliseconds("DATABASE_STATEMENT_TIMEOUT_MS", default: 10_000, in: 100...600_000)
        searchLanguage = values.text("SEARCH_LANGUAGE", default: "simple")
        searchTimeout = values.milliseconds("SEARCH_TIMEOUT_MS", default: 2000, in: 50...600_000)
    }
}

public struct RabbitMQSettings: Sendable {
    /// One broker, or several nodes of a cluster, as ``RabbitMQServers`` reads them.
    public var url: String
    /// A side that hears nothing for two of them closes the connection. Whole seconds.
    public var heartbeat: Duration
    /// Without a TCP acknowledgement for longer, a connection is lost (TCP_USER_TIMEOUT).
    public var userTimeout: Duration
    public var tls: TLSFiles
    public var totalQueues: Int
    public var hashByUser: Bool
    public var quorumQueues: Bool
    /// The prefix of every queue's name, so that several installations can share a broker.
    public var prefix: String
    /// Commands that may wait in one queue; above the limit senders get `busy`.
    public var maxLength: Int

    init(_ values: inout SettingsReader, tls: TLSFiles) {
        url = values.text("RABBITMQ_URL", default: "amqp://guest:guest@127.0.0.1:5672/")
        do { _ = try RabbitMQServers(url) } catch { values.problem("RABBITMQ_URL: \(error)") }
        heartbeat = values.seconds("RABBITMQ_HEARTBEAT_SECONDS", default: 2, in: 1...60)
        userTimeout = values.milliseconds("RABBITMQ_USER_TIMEOUT_MS", default: 3000, in: 500...120_000)
        self.tls = tls
        totalQueues = values.number("RABBITMQ_TOTAL_QUEUE", default: 10, in: 1...1000)
        hashByUser = values.choice("RABBITMQ_HASH_KEY", ["room", "user"], default: "room") == "user"
        quorumQueues = values.choice("RABBITMQ_QUEUE_TYPE", ["quorum", "classic"], default: "quorum") == "quorum"
        prefix = values.text("RABBITMQ_PREFIX", default: "chat")
        if prefix.utf8.count > Self.longestPrefix {
            values.problem("RABBITMQ_PREFIX has \(prefix.utf8.count) bytes, at most \(Self.longestPrefix) work")
        }
        if "\(prefix).".utf8.starts(with: "amq.".utf8) {
            values.problem("RABBITMQ_PREFIX=\(prefix): names that begin with amq. are the broker's own")
        }
        maxLength = values.number("RABBITMQ_MAX_LENGTH", default: 100_000, in: 100...10_000_000)
    }

    /// Bytes. The broker takes names of at most 255, and the longest end of ours is `.g<generation>.queue.999`.
    static let longestPrefix = 200

    /// The layout of these settings as the first generation.
    public var firstLayout: QueueLayout { QueueLayout(generation: 1, total: totalQueues, byUser: hashByUser) }
    /// The layout as a text, to detect a change of the settings.
    public var layoutSetting: String { firstLayout.setting }

    public func queueName(_ layout: QueueLayout, _ index: Int) -> String {
        "\(prefix).\(layout.generation == 1 ? "" : "g\(layout.generation).")queue.\(index)"
    }

    /// Where commands are published; the routing key is the queue's name.
    public var exchangeName: String { "\(prefix).commands" }

    /// The queue for messages that cannot be executed.
    public var deadQueueName: String { "\(prefix).dead" }
    /// The queue of jobs for the push workers.
    public var pushQueueName: String { "\(prefix).push" }
}

public struct TokenSettings: Sendable {
    /// HS256 key; a secret.
    public var secret: String
    /// Earlier keys: tokens that they signed are good, and no more are signed with them. Secrets.
    public var oldSecrets: [String]
    public var jwksFile: String?
    public var keySources: [KeySource]
    /// A key set is fetched again after this time.
    public var keyRefresh: Duration
    /// A file of certificate authorities that replaces the system's, for the key sets.
    public var keyAuthorities: String?
    public var audience: String?
    public var issuer: String?
    /// The difference to the token issuer's clock that is tolerated. Whole seconds.
    public var leeway: Duration
    /// The namespace of users whose ids are no UUIDs; must never change.
    public var userNamespace: UUID128

    init(_ values: inout SettingsReader) {
        jwksFile = values.optional("JWT_JWKS_FILE")
        keySources = []
        let sources = pieces(of: values.text("JWT_JWKS_URL", default: ""), at: UInt8(ascii: " "))
        if sources.count > KeySource.maxSources {
            values.problem("JWT_JWKS_URL has more than \(KeySource.maxSources) entries")
        }
        for text in sources.prefix(KeySource.maxSources) {
            do throws(ServerURL.Problem) { keySources.append(try KeySource(String(text))) } catch {
                values.problem("JWT_JWKS_URL: \(error)")
            }
        }
        keyRefresh = values.seconds("JWT_JWKS_REFRESH_SECONDS", default: 300, in: 1...86_400)
        keyAuthorities = values.optional("JWT_JWKS_CA_FILE")
        audience = values.optional("JWT_AUDIENCE")
        issuer = values.optional("JWT_ISSUER")
        leeway = values.seconds("JWT_LEEWAY_SECONDS", default: 5, in: 0...300)
        userNamespace = HostUser.standardNamespace
        if let text = values.optional("USER_NAMESPACE") {
            if let namespace = UUID128(text) {
                userNamespace = namespace
            } else {
                values.problem("USER_NAMESPACE=\(text) is not a UUID")
            }
        }
        secret = values.text("JWT_SECRET", default: "")
        // RFC 7518, 3.2: the key must be at least as long as the hash.
        if secret.utf8.count < 32, !(secret.isEmpty && (jwksFile != nil || !sources.isEmpty)) {
            values.problem("JWT_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
        oldSecrets = pieces(of: values.text("JWT_OLD_SECRET", default: ""), at: UInt8(ascii: " ")).map(String.init)
        if oldSecrets.contains(where: { $0.utf8.count < 32 }) {
            values.problem("JWT_OLD_SECRET has a secret of fewer than 32 bytes; blanks stand between secrets")
        }
        if oldSecrets.count > 8 { values.problem("JWT_OLD_SECRET has more than 8 secrets") }
    }
}

public struct FcgiSettings: Sendable {
    /// The five pools as the settings alone describe them; ``PoolFolder`` adds the files of `poolsFolder`.
    public var pools: [PoolSettings]
    /// The folder of pools' files; nil: none is read.
    public var poolsFolder: String?
    /// False: the folder is the installation's own, and may be missing.
    public var isPoolsFolderGiven: Bool
    /// How long a request may have waited for a worker; nil: any time.
    public var maxWait: Duration?
    /// Requests slower than this go to the slow log; nil: none.
    public var slowAfter: Duration?
    /// A request waits this long for its command's answer before it returns 202 `queued`.
    public var answerTimeout: Duration
    /// Bytes of a JSON body.
    public var maxBody: Int

    init(_ values: inout SettingsReader, runDirectory: String, files: InstalledFiles) {
        let slow = values.milliseconds("FCGI_SLOW_LOG_MS", default: 1000, in: 0...3_600_000).unlessZero
        let wait = values.milliseconds("FCGI_MAX_WAIT_MS", default: 55_000, in: 0...3_600_000).unlessZero
        (slowAfter, maxWait) = (slow, wait)
        pools = [("rooms", 2), ("messages", 4), ("search", 2), ("uploads", 2), ("account", 1)].map { name, workers in
            PoolSettings(
                &values, name: name, runDirectory: runDirectory, workers: workers, maxWait: wait, slow: slow)
        }
        let standard = files.isInstalled ? "/etc/chat/pools.d" : ""
        let folder = values.text("FCGI_POOLS_DIR", default: standard)
        poolsFolder = folder.isEmpty ? nil : folder
        isPoolsFolderGiven = folder != standard
        answerTimeout = values.milliseconds("FCGI_ANSWER_TIMEOUT_MS", default: 5000, in: 10...60_000)
        maxBody = values.number("FCGI_MAX_BODY", default: 65_536, in: 1024...16_777_216)
    }
}

public struct RelaySettings: Sendable {
    /// `unix:/path` or `host:port`; all processes accept from it.
    public var listen: String
    public var processes: Int
    /// Bytes of one message from a client.
    public var maxFrame: Int
    /// Origins whose pages may connect; empty or `*`: any (the token protects).
    public var origins: [String]
    /// Between two pings. Whole seconds.
    public var heartbeat: Duration
    /// A socket is closed when its client sends nothing for longer. Whole seconds.
    public var idleTimeout: Duration
    /// A client that reads more slowly is told its place, and its socket closed: the bytes that wait for it, and the time.
    public var outboxBytes: Int
    public var outboxTimeout: Duration
    public var maxConnections: Int
    public var maxConnectionsPerUser: Int
    /// 0: no limit.
    public var maxConnectionsPerAddress: Int
    /// permessage-deflate, for clients that offer it.
    public var deflate: Bool
    /// Upgrades per second, for all clients together.
    public var handshakeRate: Int
    /// A relay that ends for good spreads its closes over this time.
    public var drainTime: Duration
    /// Commands per second that one socket may send, and its burst.
    public var rate: Int
    public var burst: Int
    /// After `welcome` a socket's frames wait this long for its `resume`; another request ends the wait.
    public var resumeGrace: Duration

    init(_ values: inout SettingsReader, runDirectory: String) {
        listen = values.text("WS_LISTEN", default: "unix:\(runDirectory)/ws-relay.sock")
        processes = values.number("WS_PROCESSES", default: 1, in: 1...256)
        maxFrame = values.number("WS_MAX_FRAME", default: 65_536, in: 1024...16_777_216)
        origins = values.list("WS_ORIGINS")
        heartbeat = values.seconds("WS_HEARTBEAT", default: 30, in: 1...3600)
        idleTimeout = values.seconds("WS_IDLE_SECONDS", default: 90, in: 2...86_400)
        if idleTimeout <= heartbeat {
            values.problem(
                "WS_IDLE_SECONDS=\(idleTimeout.seconds) is not above WS_HEARTBEAT=\(heartbeat.seconds): every quiet socket would be closed"
            )
        }
        outboxBytes = values.number("WS_OUTBOX_BYTES", default: 1_048_576, in: 65_536...1_073_741_824)
        outboxTimeout = values.seconds("WS_OUTBOX_SECONDS", default: 30, in: 1...3600)
        maxConnections = values.number("WS_MAX_CONNECTIONS", default: 18_000, in: 1...1_000_000)
        maxConnectionsPerUser = values.number("WS_MAX_CONNECTIONS_PER_USER", default: 20, in: 1...10_000)
        maxConnectionsPerAddress = values.number("WS_MAX_CONNECTIONS_PER_ADDRESS", default: 0, in: 0...1_000_000)
        deflate = values.choice("WS_DEFLATE", ["off", "on"], default: "off") == "on"
        handshakeRate = values.number("WS_HANDSHAKE_RATE", default: 3000, in: 1...1_000_000)
        drainTime = values.seconds("WS_DRAIN_SECONDS", default: 2, in: 0...600)
        rate = values.number("WS_RATE", default: 1000, in: 1...1_000_000)
        burst = values.number("WS_BURST", default: 5000, in: 1...1_000_000)
        resumeGrace = values.milliseconds("WS_RESUME_GRACE_MS", default: 250, in: 0...10_000)
    }
}

public struct WorkerSettings: Sendable {
    public var processes: Int
    /// Commands in one batch, one transaction.
    public var batch: Int
    /// Unacknowledged deliveries that one worker may hold, per queue.
    public var prefetch: Int
    /// A worker that is stopped by a signal for longer is killed; nil: no limit.
    public var frozenLimit: Duration?
    /// A room's log in Redis keeps so many entries, for so long.
    public var logLength: Int
    public var logTime: Duration
    /// Bytes of frames that a room's log keeps, approximately.
    public var logBytes: Int

    init(_ values: inout SettingsReader) {
        processes = values.number("WORKER_PROCESSES", default: 2, in: 1...256)
        batch = values.number("WORKER_BATCH", default: 256, in: 1...4096)
        prefetch = values.number("WORKER_PREFETCH", default: 512, in: 1...4096)
        frozenLimit = values.seconds("WORKER_FROZEN_SECONDS", default: 5, in: 0...86_400).unlessZero
        logLength = values.number("ROOM_LOG_LENGTH", default: 1000, in: 10...1_000_000)
        logTime = values.seconds("ROOM_LOG_SECONDS", default: 3600, in: 10...604_800)
        logBytes = values.number("ROOM_LOG_BYTES", default: 4_194_304, in: 65_536...1_073_741_824)
    }
}

public struct RoomSettings: Sendable {
    public var groupLimit: Int
    public var channelLimit: Int
    /// The sender may edit a message for so long.
    public var editTime: Duration
    /// Limits per room: pinned messages, and open invitations.
    public var pins: Int
    public var invitations: Int
    /// The lifetime of an invitation that names none.
    public var invitationTime: Duration
    /// Rooms that one user may be in, of all types.
    public var roomsPerUser: Int
    /// Rooms of one creator to which others may add one user.
    public var addedRooms: Int
    /// Users banned from a room who never were in it.
    public var bans: Int

    /// The part of ``roomsPerUser`` that other users may fill by adding.
    public var roomsByOthers: Int { roomsPerUser - roomsPerUser / 5 }

    /// A frame that removes all members counts them in 16 bits.
    public static let maxMembers = RequestLimit.roomMembers

    init(_ values: inout SettingsReader) {
        groupLimit = values.number("ROOM_GROUP_LIMIT", default: 50, in: 2...Self.maxMembers)
        channelLimit = values.number("ROOM_CHANNEL_LIMIT", default: 100, in: 2...Self.maxMembers)
        editTime = values.seconds("MESSAGE_EDIT_SECONDS", default: 86_400, in: 0...Int(Int32.max))
        pins = values.number("ROOM_PIN_LIMIT", default: 50, in: 1...1000)
        invitations = values.number("ROOM_INVITATION_LIMIT", default: 100, in: 1...10_000)
        invitationTime = values.seconds("INVITATION_SECONDS", default: 604_800, in: 60...Int(Int32.max))
        // A socket counts its caught-up rooms in 16 bits.
        roomsPerUser = values.number("ROOMS_PER_USER", default: 10_000, in: 1...50_000)
        addedRooms = values.number("ADDED_ROOMS_PER_USER", default: 1000, in: 1...50_000)
        bans = values.number("ROOM_BAN_LIMIT", default: 10_000, in: 1...100_000)
    }

    /// The default member limit of this type of room.
    public func limit(of type: RoomType) -> Int {
        switch type {
        case .privateRoom: 2
        case .group: groupLimit
        case .channel: channelLimit
        }
    }
}

public struct StorageSettings: Sendable {
    /// The folder that stores files instead of S3.
    public var folder: String?
    /// Signs links to files in that folder, a secret; nil: the tokens' secret does.
    public var linkSecret: String?
    /// Downloads go through nginx, for a store that clients cannot reach.
    public var areDownloadsProxied: Bool
    public var endpoint: String
    /// A file of certificate authorities in addition to the system's, for an `https://` endpoint.
    public var authorities: String?
    /// The next three are secrets.
    public var accessKey: String
    public var secretKey: String
    public var sessionToken: String?
    public var bucket: String
    public var region: String
    /// `endpoint/bucket/key`; otherwise `bucket.endpoint/key`.
    public var pathStyle: Bool
    /// Bytes of one file.
    public var maxUpload: Int
    /// Bytes of all files of one user; 0: no limit.
    public var quota: Int
    /// An incomplete upload is aborted after this time.
    public var expiry: Duration
    /// Between two sweeps for such uploads.
    public var sweepPause: Duration
    /// The folder for a request's file while it is read.
    public var temporaryFolder: String
    /// `auto`, `bwrap` or `none`: the sandbox of the programs that inspect files.
    public var mediaJail: String
    /// Pictures with more pixels are not decoded.
    public var maxPixels: Int
    /// The file types that the operator allows.
    public var types: TypeRules
    /// ClamAV's daemon, `unix:/path` or `host:port`; nil: files are not scanned.
    public var clamd: String?

    /// `unix:/path` or `host:port`.
    private static func isAddress(_ text: String) -> Bool {
        if text.utf8.starts(with: "unix:".utf8) {
            let path = text.utf8.dropFirst(5)
            return path.first == UInt8(ascii: "/") && (2...107).contains(path.count)
        }
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")), colon > text.startIndex,
            case let digits = text.utf8[colon...].dropFirst(), digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let port = UInt16(String(Substring(digits)))
        else { return false }
        return port > 0
    }

    /// Without a store the service takes no files.
    public var isSet: Bool { !endpoint.isEmpty || folder != nil }

    init(_ values: inout SettingsReader) {
        let storage = values.text("STORAGE", default: "s3")
        folder = storage.hasPrefix("disk:/") ? String(storage.dropFirst(5)) : nil
        if folder == nil, storage != "s3" { values.problem("STORAGE=\(storage) is neither s3 nor disk:/path") }
        if let folder, folder.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f || "$;{}\"'\\#".utf8.contains($0) }) {
            values.problem("STORAGE: nginx takes no path with blanks, quotes or any of $ ; { } \\ #")
        }
        linkSecret = values.optional("UPLOAD_LINK_SECRET")
        if let linkSecret, linkSecret.utf8.count < 32 {
            values.problem("UPLOAD_LINK_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
        areDownloadsProxied = values.choice("DOWNLOADS", ["redirect", "proxy"], default: "redirect") == "proxy"
        endpoint = values.text("S3_ENDPOINT", default: "")
        values.expectHTTP("S3_ENDPOINT", endpoint)
        accessKey = values.text("S3_ACCESS_KEY", default: "")
        secretKey = values.text("S3_SECRET_KEY", default: "")
        sessionToken = values.optional("S3_SESSION_TOKEN")
        bucket = values.text("S3_BUCKET_NAME", default: "chat")
        region = values.text("S3_REGION", default: "us-east-1")
        pathStyle = values.choice("S3_ADDRESSING", ["path", "virtual-host"], default: "path") == "path"
        maxUpload = values.number("S3_MAX_UPLOAD_SIZE", default: 20 * 1024 * 1024, in: 1...5_368_709_120)
        quota = values.number("UPLOAD_QUOTA", default: 0, in: 0...1_000_000_000_000_000)
        expiry = values.seconds("UPLOAD_EXPIRE_SECONDS", default: 86_400, in: 1...31_536_000)
        sweepPause = values.seconds("UPLOAD_SWEEP_SECONDS", default: 60, in: 1...86_400)
        temporaryFolder = values.text("UPLOAD_TEMP_DIR", default: "/var/tmp")
        mediaJail = values.choice("MEDIA_JAIL", ["auto", "bwrap", "none"], default: "auto")
        maxPixels = values.number("MEDIA_MAX_PIXELS", default: 50_000_000, in: 1...2_000_000_000)
        types = TypeRules([
            .image: values.list("UPLOAD_TYPES_IMAGE"), .video: values.list("UPLOAD_TYPES_VIDEO"),
            .audio: values.list("UPLOAD_TYPES_AUDIO"), .file: values.list("UPLOAD_TYPES_FILE"),
        ])
        clamd = values.optional("CLAMD_ADDRESS")
        if let clamd, !Self.isAddress(clamd) {
            values.problem("CLAMD_ADDRESS=\(clamd) is neither unix:/path, of at most 107 bytes, nor host:port")
        }
    }
}
