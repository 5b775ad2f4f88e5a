/// What the host application is told, until it has taken it.
public protocol HookOutbox: AnyObject {
    /// The next ones that are due, oldest first, each counted as tried; nobody else gets them for `lease` milliseconds.
    func claim(_ most: Int, lease: Int) throws(StoreError) -> [PendingHook]
    func delivered(_ hook: HookKey) throws(StoreError)
    /// - Parameter again: milliseconds until the next try; nil: it is given up, and kept among the dead.
    func failed(_ hook: HookKey, _ error: String, again: Int?) throws(StoreError)
    func dead(_ most: Int) throws(StoreError) -> [PendingHook]
    /// All that are dead are due again; how many.
    func retryDead() throws(StoreError) -> Int
    func dropDead() throws(StoreError) -> Int
}

/// Of an event: its place in its room's order.
public struct HookKey: Sendable, Equatable {
    public var room: UUID128
    public var seq: Int64

    public init(room: UUID128, seq: Int64) {
        self.room = room
        self.seq = seq
    }

    /// The `ID` under which the host sees it, also when it comes twice.
    public var text: String { "\(room)/\(seq)" }
}

public struct PendingHook: Sendable, Equatable {
    public var key: HookKey
    /// Such as `message.created`.
    public var name: String
    /// JSON.
    public var body: [UInt8]
    public var attempts: Int
    public var lastError: String?

    public init(key: HookKey, name: String, body: [UInt8], attempts: Int, lastError: String? = nil) {
        self.key = key
        self.name = name
        self.body = body
        self.attempts = attempts
        self.lastError = lastError
    }
}

/// The host application's word on messages before they are stored.
public protocol MessageCheck: AnyObject {
    /// One question for all of a batch. A command that is not in the answer is allowed.
    ///
    /// Guarantee: returns within its time limit; what the host did not answer is decided by the setting.
    func judge(_ commands: [Command]) -> [UUID128: Verdict]
}

public enum Verdict: Sendable, Equatable {
    case reject(reason: String)
    /// Stored with this content instead.
    case rewrite(content: String)
    /// The host could not be asked, and without it nothing is stored.
    case unavailable
}
