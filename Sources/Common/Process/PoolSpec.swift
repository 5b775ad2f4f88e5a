/// What a pool should be: read from the settings, again at every reload.
public struct PoolSpec: Equatable, Sendable {
    public var name: String
    /// Wanted workers; of a dynamic pool the fewest.
    public var workers: Int
    /// More than `workers` makes the pool dynamic.
    public var maxWorkers: Int
    /// The master binds these; the workers get them as descriptors, in this order.
    public var listen: [ListenAddress]
    /// A replacement gets a socketpair to the worker that it replaces (see `WorkerChannel.handover`), and what a killed
    /// worker had open is kept for the next one (see `WorkerChannel.wreck`).
    public var handover: Bool
    /// A worker that has not said ready after this is killed.
    public var startLimit: Duration
    /// A worker that was asked to stop and still lives after this is killed.
    public var stopLimit: Duration
    /// A worker busy with one request for longer is killed; nil: no limit.
    public var timeLimit: Duration?
    /// A worker that a signal has stopped for longer is killed: others wait for what it holds; nil: no limit.
    public var frozenLimit: Duration?
    /// A ready worker without a request in hand that gives no sign of life for longer is killed; nil: no limit.
    public var hangLimit: Duration?
    /// Its worker waits for servers and programs between two signs of life. Then only processor time counts as hanging: half
    /// of the limit burnt; or a silence of ten times the limit, whatever it does.
    public var waits: Bool
    /// Resident bytes above which a worker is replaced gracefully; nil: no limit.
    public var memoryLimit: Int?
    /// A dynamic pool grows when all its workers have been busy for this long: requests wait.
    public var growAfter: Duration

    public init(
        name: String, workers: Int, maxWorkers: Int? = nil, listen: [ListenAddress] = [],
        handover: Bool = false,
        startLimit: Duration = .seconds(30), stopLimit: Duration = .seconds(30),
        timeLimit: Duration? = nil, frozenLimit: Duration? = nil,
        hangLimit: Duration? = nil, waits: Bool = false,
        memoryLimit: Int? = nil, growAfter: Duration = .milliseconds(100)
    ) {
        self.name = name
        self.workers = max(1, workers)
        self.maxWorkers = max(self.workers, maxWorkers ?? workers)
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
    }

    public var isDynamic: Bool { maxWorkers > workers }
    /// What `scale` may ask for at most: a static pool is bounded by the scoreboard alone.
    var mostWorkers: Int { isDynamic ? maxWorkers : 128 }
}
