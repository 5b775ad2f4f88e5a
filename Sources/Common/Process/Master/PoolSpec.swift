/// The wanted state of a pool, read from the settings at start and at every reload.
public struct PoolSpec: Equatable, Sendable {
    public var name: String
    /// The file and line that describe it; nil: only the settings do.
    public var place: String?
    /// Wanted workers; the minimum of a dynamic pool, 0 in one that starts its workers on demand.
    public var workers: Int
    /// More than `workers` makes the pool dynamic.
    public var maxWorkers: Int
    /// The master binds these; workers receive them as descriptors in this order.
    public var listen: [ListenAddress]
    /// A replacement receives a socketpair to the worker that it replaces (see `WorkerChannel.handover`), and a killed
    /// worker's descriptors are kept for the next one (see `WorkerChannel.orphanedFiles`).
    public var handover: Bool
    /// A worker that is not ready after this time is killed.
    public var startLimit: Duration
    /// A worker that still runs this long after it was asked to stop is killed.
    public var stopLimit: Duration
    /// A worker that handles one request for longer is killed; nil: no limit.
    public var timeLimit: Duration?
    /// A worker stopped by a signal for longer is killed, because others wait for its locks; nil: no limit.
    public var frozenLimit: Duration?
    /// A ready, idle worker without a sign of life for longer is killed; nil: no limit.
    public var hangLimit: Duration?
    /// The worker waits for servers and programs between two signs of life. It then counts as hanging only by CPU time
    /// (half of the limit used) or after a silence of ten times the limit.
    public var waits: Bool
    /// Resident bytes above which a worker is replaced gracefully; nil: no limit.
    public var memoryLimit: Int?
    /// A dynamic pool grows when all its workers have been busy for this long, since requests wait then.
    public var growAfter: Duration
    /// No worker runs until a client connects, and none after `shrinkAfter` without one.
    public var isOnDemand: Bool
    /// A dynamic pool keeps this many idle workers. 0 means 1.
    public var minSpare: Int
    /// A dynamic pool ends idle workers above this number. 0: above half of all.
    public var maxSpare: Int
    /// After this time with too many idle workers one of them ends.
    public var shrinkAfter: Duration
    /// A worker that handles one request for longer writes its stack, once; nil: never.
    public var slowAfter: Duration?
    /// Variables only for the workers; they precede the master's variables.
    public var environment: [String: String]

    public init(
        name: String, place: String? = nil, workers: Int, maxWorkers: Int? = nil, listen: [ListenAddress] = [],
        handover: Bool = false,
        startLimit: Duration = .seconds(30), stopLimit: Duration = .seconds(30),
        timeLimit: Duration? = nil, frozenLimit: Duration? = nil,
        hangLimit: Duration? = nil, waits: Bool = false,
        memoryLimit: Int? = nil, growAfter: Duration = .milliseconds(100), isOnDemand: Bool = false,
        minSpare: Int = 0, maxSpare: Int = 0, shrinkAfter: Duration = .seconds(10), slowAfter: Duration? = nil,
        environment: [String: String] = [:]
    ) {
        self.name = name
        self.place = place
        self.workers = isOnDemand ? 0 : max(1, workers)
        self.maxWorkers = max(1, self.workers, maxWorkers ?? workers)
        self.listen = listen
        self.handover = handover
        self.startLimit = startLimit
        self.stopLimit = stopLimit
        self.timeLimit = timeLimit
        self.frozenLimit = frozenLimit
        self.hangLimit = hangLimit
        self.waits = waits
        self.memoryLimit = memoryLimit
        self.growAfter = growAfter
        self.isOnDemand = isOnDemand
        self.minSpare = minSpare
        self.maxSpare = maxSpare
        self.shrinkAfter = shrinkAfter
        self.slowAfter = slowAfter
        self.environment = environment
    }

    public var isDynamic: Bool { maxWorkers > workers }
    /// The upper limit of `scale`; only the scoreboard limits a static pool.
    var workerLimit: Int { isDynamic ? maxWorkers : 128 }
}
