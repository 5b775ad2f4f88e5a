import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// Builds one worker: the channel to its master, its connections, its endpoints, its loop.
final class ApiWorker {
    private let channel: WorkerChannel
    private let settings: Settings
    private let pool: PoolSettings
    private let logs: PoolLogs
    private let log: Logger
    private let readers: Readers
    private let commands: RabbitMQCommandQueue
    private let redis: RedisConnection
    private let services: EndpointServices
    private let files: UploadServices?
    private let keys: HostKeys
    private let users: PostgresUsers
    private let news: RoomsOfUsers
    private let admin: AdminEndpoints
    private let tokens: JWTTokens
    private let exporter: SpanExporter?
    private let tracer: Tracer?

    init(
        _ channel: WorkerChannel, _ settings: Settings, _ pool: PoolSettings, _ logs: PoolLogs, _ log: Logger
    ) throws {
        self.channel = channel
        self.settings = settings
        (self.pool, self.logs, self.log) = (pool, logs, log)
        let name = "\(FcgiApi.program) \(channel.pool)/\(channel.slot)"
        let database = settings.database
        let primary = PostgresConnection(database, applicationName: name)
        redis = try RedisConnection(url: settings.redisURL)
        readers = ApiWorker.readers(database, primary, redis, name, channel.scoreboard, log)
        commands = RabbitMQCommandQueue(
            settings.rabbitMQ, name: name, newestLayout: { PostgresQueueGenerations.lookUp(database) }, log: log)
        commands.onConfirm = { [row = channel.scoreboard.histogram(ApiTimings.confirm)] in row.observe($0) }
        tokens = try JWTTokens(
            settings.tokens,
            sets: KeySet.start(settings.tokens, folder: settings.runDirectory, program: FcgiApi.program, log: log))
        users = PostgresUsers(primary, searchTimeout: database.searchTimeout)
        let counters = channel.scoreboard
        news = RoomsOfUsers(users, redis, log: log) { counters.add(to: ApiCounter.changesUntold.rawValue) }
        let directory = UserDirectory(store: users, news: news, log: log)
        keys = HostKeys(
            store: PostgresKeys(primary), setting: settings.adminKey, settings.audit, directory: directory, log: log)
        exporter = ApiWorker.exporter(settings, channel, log)
        let rates = RedisRateLimiter(redis, limits: settings.rates, log: log)
        let verifier = RevocableTokens(tokens, store: PostgresRevocations(primary))
        tracer = exporter.map { Tracer(settings.tracing.sampler, $0) }
        services = EndpointServices(
            authentication: Authentication(
                tokens: verifier, directory: directory,
                sessions: ApiWorker.sessions(settings, pool, redis, rates, verifier, log)),
            readers: readers, accounts: PostgresAccountStore(primary, limits: settings.account),
            presences: RedisPresence(redis), commands: commands, rates: rates,
            answerTimeout: settings.fcgi.answerTimeout, maxBody: settings.fcgi.maxBody,
            scoreboard: channel.scoreboard, tracer: tracer, log: log)
        files =
            pool.families?.contains(.uploads) != false ? ApiWorker.files(settings, services, primary, redis, log) : nil
        let reports = ReportEndpoints(services: services, store: ApiWorker.reports(settings, primary))
        admin = AdminEndpoints(services: services, host: PostgresHostStore(primary), keys: keys, reports: reports)
    }

    private static func readers(
        _ database: DatabaseSettings, _ primary: PostgresConnection, _ redis: RedisConnection, _ name: String,
        _ row: ScoreboardRow, _ log: Logger
    ) -> Readers {
        var replica: Readers.Replica?
        if database.hasReplica {
            let connection = PostgresConnection(database, applicationName: name, way: .replica)
            replica = Readers.Replica(
                reader: PostgresRoomReader(connection, searchTimeout: database.searchTimeout),
                position: PostgresLogPosition(connection, isReplica: true),
                primaryPosition: PostgresLogPosition(primary),
                marks: RedisWriteMarks(redis, lifetime: database.markLifetime), maxLag: database.readMaxLag.milliseconds
            )
        }
        let readers = Readers(
            primary: PostgresRoomReader(primary, searchTimeout: database.searchTimeout), replica: replica, log: log)
        readers.count(in: row)
        return readers
    }

    /// Half of the pool's workers at most ask the host: the others serve those whose users are known.
    private static func sessions(
        _ settings: Settings, _ pool: PoolSettings, _ redis: RedisConnection, _ rates: RedisRateLimiter,
        _ revocable: RevocableTokens, _ log: Logger
    ) -> HostSessions? {
        let session = settings.hooks.session
        guard !session.url.isEmpty else { return nil }
        let places = LockedPlaces(
            "\(settings.runDirectory)/fcgi-api.sessions.\(pool.name)",
            count: min(session.parallel, max(1, pool.workers / 2))
        ) {
            log.error("questions to the host are not limited: no file can be written", metadata: ["error": "\($0)"])
        }
        return HostSessions(
            settings: session, web: settings.web,
            recognise: RecogniseSession(
                check: HostSessionCheck(settings.hooks), cache: RedisSessions(redis, log: log), places: places,
                rates: rates, times: session.times, isRevoked: { (try? revocable.check($0)) == nil },
                wait: { usleep(UInt32($0) * 1000) }, log: log))
    }

    private static func reports(_ settings: Settings, _ primary: PostgresConnection) -> PostgresReports {
        let hasHooks = settings.hooks.families.contains(.report)
        return PostgresReports(primary, keepsFor: settings.retention.reportTime, hasHooks: hasHooks)
    }

    private static func exporter(_ settings: Settings, _ channel: WorkerChannel, _ log: Logger) -> SpanExporter? {
        let row = channel.scoreboard
        return settings.spanExporter(FcgiApi.program, worker: channel.label, log) {
            row.set(ApiCounter.spansExported.rawValue, to: $0.exported)
            row.set(ApiCounter.spansDropped.rawValue, to: $0.dropped)
        }
    }

    private static func files(
        _ settings: Settings, _ services: EndpointServices, _ primary: PostgresConnection, _ redis: RedisConnection,
        _ log: Logger
    ) -> UploadServices {
        let objects = settings.openObjectStore()
        let upload = UploadFile(settings, objects: objects, database: primary, redis: redis, log: log)
        return UploadServices(
            services: services, upload: upload, objects: objects, web: settings.web,
            folder: settings.storage.temporaryFolder)
    }

    func run() throws {
        let api = Api(
            router: router(), scoreboard: channel.scoreboard, log: log, clock: systemClock, slow: pool.slowAfter,
            origins: AllowedOrigins(settings.web.origins), services: services, keys: keys,
            trace: tracer.map { RequestTrace(tracer: $0, pool: channel.pool) },
            measuresWait: pool.measuresWait, maxWait: pool.maxWait, access: logs.access)
        let server = try FastCGI(channel)
        connect()
        channel.ready()
        server.run({ renewAfterEnough(api.answer($0)) }, refused: api.refuse, everySecond: everySecond)
        exporter?.end()
    }

    private func everySecond() {
        commands.keepAlive()
        readers.keepCurrent()
    }

    private func router() -> Router {
        var router = Router(
            authenticate: { [services] call throws(Refusal) in _ = try services.user(call) },
            admit: { [keys] call throws(Refusal) in try keys.admit(call) })
        let events = RedisUserEvents(redis)
        MessageEndpoints(services: services).add(to: &router)
        PendingFileEndpoints(services: services).add(to: &router)
        RoomEndpoints(services: services).add(to: &router)
        MemberEndpoints(services: services).add(to: &router)
        BlockEndpoints(services: services, events: events).add(to: &router)
        admin.reports.add(to: &router)
        InvitationEndpoints(services: services, lifetime: settings.rooms.invitationTime).add(to: &router)
        SearchEndpoints(services: services).add(to: &router)
        AccountEndpoints(services: services, tickets: RedisTickets(redis), events: events).add(to: &router)
        UserEndpoints(services: services, store: users, news: news, search: settings.account.search).add(to: &router)
        DeviceEndpoints(services: services, settings: settings.push).add(to: &router)
        SilenceEndpoints(services: services).add(to: &router)
        SessionEndpoints(services: services, web: settings.web) { [tokens] in
            try? tokens.issue(subject: $0, lifetime: $1)
        }
        .add(to: &router)
        if let files { add(files, to: &router) }
        admin.add(to: &router)
        let readiness = Readiness(readers: readers, commands: commands, redis: redis)
        HealthEndpoints(
            dependencies: readiness.servers + readiness.programs,
            helpers: readiness.helpers(files: settings.openObjectStore())
        ).add(to: &router)
        DocumentEndpoints(folder: settings.documents).add(to: &router)
        MetricsEndpoint(
            runDirectory: settings.runDirectory, token: settings.web.metricsToken,
            waitingMessages: { [commands] in commands.waitingMessages() }
        ).add(to: &router)
        PoolEndpoints(pool: pool, channel: channel, token: settings.web.metricsToken).add(to: &router)
        return router
    }

    private func add(_ files: UploadServices, to router: inout Router) {
        TusEndpoints(uploads: files, lifetime: settings.storage.expiry).add(to: &router)
        UploadEndpoints(uploads: files).add(to: &router)
        WholeFileEndpoints(uploads: files).add(to: &router)
        DownloadEndpoints(
            uploads: files, isProxied: settings.storage.areDownloadsProxied,
            links: settings.storage.folder == nil ? nil : settings.fileLinks
        ).add(to: &router)
    }

    /// Connects before the worker takes requests, so that the first request after a reload is not slow. It does not
    /// wait for an unavailable server: requests get 503 with Retry-After until the server is back.
    private func connect() {
        let needed =
            pool.families?.isSubset(of: [.account, .search]) == true ? ["postgresql"] : ["postgresql", "rabbitmq"]
        let servers = Readiness(readers: readers, commands: commands, redis: redis).servers
        for (name, check) in servers where needed.contains(name) {
            do { _ = try check() } catch {
                log.warning(
                    "\(name) cannot be reached yet, requests get 503 until it can", metadata: ["error": "\(error)"])
            }
        }
    }

    /// The replacement starts first, so one request for it is enough.
    private func renewAfterEnough(_ response: Response) -> Response {
        let limit = pool.maxRequests
        if limit > 0, channel.scoreboard[.requests] == limit { channel.renew("\(limit) requests") }
        return response
    }
}
