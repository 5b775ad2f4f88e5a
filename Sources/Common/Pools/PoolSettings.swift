/// One pool of FastCGI workers: its file's values over those of the settings.
public struct PoolSettings: Sendable, Equatable {
    public var name: String
    /// The file and the line of its section; nil: only the settings describe it.
    public var place: String?
    /// `unix:/path` or `host:port`.
    public var listen: String
    /// Owner, group and mode of a unix socket: they may connect. nil: SOCKET_GROUP, SOCKET_MODE and the program's own
    /// user.
    public var listenOwner: String?
    public var listenGroup: String?
    public var listenMode: Int?
    /// Names of ``PoolRoute``s and families; nil: only those of its own name that no other pool claims.
    public var routes: [String]?
    /// The hosts for which the routes are claimed; empty: all.
    public var hosts: [String] = []
    /// The minimum of workers, and the maximum: with more than `workers` the pool grows while requests wait.
    public var workers: Int
    public var maxWorkers: Int
    /// The first request starts the first worker, and an idle pool has none. `workers` is 0 then.
    public var isOnDemand = false
    /// A dynamic pool grows below the first and shrinks above the second. 0: it grows when all are busy, and shrinks
    /// when more than half are idle.
    public var minSpare = 0
    public var maxSpare = 0
    /// With too many idle workers for this time, one of them ends.
    public var idleTimeout = Duration.seconds(10)
    /// A worker that needs longer for one request is killed.
    public var timeLimit: Duration
    /// Bytes of resident memory above which a worker is replaced; 0: no limit.
    public var memoryLimit: Int
    /// Requests after which a worker is replaced; 0: never.
    public var maxRequests: Int
    /// A request that has waited longer for a worker is refused; nil: no limit.
    public var maxWait: Duration?
    /// The file for the stacks of workers in requests that take longer than `slowAfter`.
    public var slowLog: String?
    public var slowAfter: Duration?
    public var accessLog: String?
    public var accessFormat = PoolSettings.standardFormat
    /// The user and group of the workers, when the master is root's.
    public var user: String?
    public var group: String?
    /// The workers' nice value, 0 to 19 as in nice(1): with a higher one they get less CPU when it is busy; nil: the
    /// master's.
    public var nice: Int?
    /// Soft and hard limits of the workers; nil: the master's.
    public var files: Int?
    public var core: Int?
    public var memory: Int?
    /// Names and values for the workers' environment; a value may be a secret.
    public var environment: [String: String] = [:]
    public var statusPath: String?
    public var pingPath: String?
    public var pingAnswer = "pong"

    public static let standardFormat = #"%R %u %t "%m %r" %s %b %{ms}d %p %i"#

    init(
        _ values: inout SettingsReader, name: String, runDirectory: String, workers: Int, maxWait: Duration?,
        slow: Duration?
    ) {
        let prefix = "FCGI_\(name.uppercased())_"
        self.name = name
        // nginx waits twice as long for an upload: uploads.conf.
        self.maxWait = name == "uploads" ? maxWait.map { min($0 * 2, .seconds(3600)) } : maxWait
        slowAfter = slow
        listen = values.text(prefix + "LISTEN", default: "unix:\(runDirectory)/fcgi-\(name).sock")
        self.workers = values.number(prefix + "WORKERS", default: workers, in: 1...1024)
        maxWorkers = values.number(prefix + "MAX_WORKERS", default: self.workers, in: 1...1024)
        if maxWorkers < self.workers {
            values.problem("\(prefix)MAX_WORKERS=\(maxWorkers) is less than \(prefix)WORKERS=\(self.workers)")
        }
        timeLimit = values.seconds(prefix + "TIME_LIMIT", default: name == "uploads" ? 300 : 30, in: 1...86_400)
        memoryLimit = values.number(prefix + "MEMORY_LIMIT", default: 256, in: 0...65_536) << 20
        if let problem = Self.problem(ofMemoryLimit: memoryLimit) {
            values.problem("\(prefix)MEMORY_LIMIT=\(memoryLimit >> 20): \(problem)")
        }
        maxRequests = values.number(prefix + "MAX_REQUESTS", default: 0, in: 0...Int(Int32.max))
    }

    /// An idle worker has about 35 MiB: below this, one after the other would be replaced.
    static let leastMemory = 64 << 20

    static func problem(ofMemoryLimit bytes: Int) -> String? {
        (1..<leastMemory).contains(bytes)
            ? "a worker needs up to \(leastMemory >> 20) MiB; write that or more, or 0 for no limit" : nil
    }

    /// A pool that the settings do not have.
    init(named name: String, in settings: Settings) {
        self.name = name
        listen = "unix:\(settings.runDirectory)/fcgi-\(name).sock"
        (workers, maxWorkers) = (1, 1)
        (timeLimit, memoryLimit, maxRequests) = (.seconds(30), 256 << 20, 0)
        maxWait = settings.fcgi.maxWait
        slowAfter = settings.fcgi.slowAfter
    }

    /// Whether it is one of the five pools that always exist.
    public var isOwn: Bool { PoolRoute.Family(rawValue: name) != nil }

    /// The upstream's name in nginx. The shipped files contain the names of the five.
    public var upstream: String { isOwn ? "chat_\(name)" : "chat_pool_\(name)" }

    /// The families of the endpoints that it serves, whole or in part. Nil: an operator's own location of nginx
    /// decides.
    public var families: Set<PoolRoute.Family>? {
        let own = PoolRoute.Family(rawValue: name)
        if own == nil, routes?.isEmpty != false { return nil }
        return Set((routes ?? []).compactMap { PoolRoute.Family(rawValue: $0) ?? PoolRoute.byName[$0]?.family })
            .union(own.map { [$0] } ?? [])
    }
}
