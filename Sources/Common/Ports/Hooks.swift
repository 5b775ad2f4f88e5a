/// The families of events; the raw value is the name in the settings.
public enum HookFamily: String, Sendable, CaseIterable {
    case message, room, member
    /// `report.created`, `report.reopened`.
    case report
    /// `file.stored`, `file.deleted`.
    case file
    /// `push.sent`, `push.failed`.
    case push
    /// `user.online`, `user.offline`.
    case presence
    /// `user.connected`.
    case connect

    /// Sent where the settings name none.
    public static let standard: Set<HookFamily> = [.message, .room, .member, .report]
    /// Those that a room's frames cause.
    public static let ofRooms: Set<HookFamily> = [.message, .room, .member, .file]
}

/// News of a user from the relays.
public struct UserNewsItem: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable { case online, offline, connected }

    public var user: UUID128
    public var kind: Kind
    /// Unix milliseconds.
    public var at: Int64

    public init(user: UUID128, kind: Kind, at: Int64) {
        self.user = user
        self.kind = kind
        self.at = at
    }
}

/// News of users on their way from the relays to the outbox: a bounded list, whose oldest entries are dropped.
public protocol UserNewsFeed: AnyObject {
    /// The oldest entries. They stay until ``drop(_:)``.
    func read(_ most: Int) throws(BusError) -> [(id: String, item: UserNewsItem)]
    func drop(_ ids: [String]) throws(BusError)
}

/// Events for the host application, stored until it has accepted them.
public protocol HookOutbox: AnyObject {
    /// Stores events of users. One takes the place of an older one of the same user and kind that was not accepted yet:
    /// only the newest state counts, and the outbox has at most one of each.
    func replace(with items: [UserNewsItem]) throws(StoreError)
    func add(_ events: [HookEvent]) throws(StoreError)
    /// Takes the next events that are due, oldest first, and counts a try for each. Nobody else gets them for `lease`
    /// milliseconds.
    func claim(_ most: Int, lease: Int) throws(StoreError) -> [PendingHook]
    func delivered(_ hook: HookKey) throws(StoreError)
    /// - Parameter again: milliseconds until the next try; nil: the event becomes dead, and is kept.
    func failed(_ hook: HookKey, _ error: String, again: Int?) throws(StoreError)
    func dead(_ most: Int) throws(StoreError) -> [PendingHook]
    /// Makes all dead events due again; returns their number.
    func retryDead() throws(StoreError) -> Int
    func dropDead() throws(StoreError) -> Int
}

/// Identifies an event by its Seq in its room; that of a report by the report's id and version.
public struct HookKey: Sendable, Equatable {
    public var room: UUID128
    public var seq: Int64

    public init(room: UUID128, seq: Int64) {
        self.room = room
        self.seq = seq
    }

    /// The event's `ID` for the host, the same in every repeat.
    public var text: String { "\(room)/\(seq)" }
}

/// Something that happened, in the form that the host application receives.
public struct HookEvent: Sendable, Equatable {
    public var key: HookKey
    public var name: String
    /// JSON: ID, Event, At, RoomID, Seq, Data.
    public var body: [UInt8]
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

/// The host application's decision about messages, and other acts of users, before they are stored.
public protocol MessageCheck: AnyObject {
    /// Asks one question for a whole batch. A command without a verdict is allowed. The verdict about a PRIVATE room
    /// that a first message opens has the room's id, other verdicts have the command's.
    ///
    /// Guarantee: returns within its time limit; a setting decides about unanswered commands.
    func judge(_ commands: [Command]) -> [UUID128: Verdict]
}

/// The acts about which the host may be asked; the raw value is its name in the settings.
public enum CheckedAct: String, Sendable, CaseIterable {
    /// A message or an edit. A file's message too, unless `upload` is asked about.
    case message
    /// A user comes into a room by an invitation, or is added.
    case join
    /// A new room, also one that a first message opens.
    case create
    /// A file's message, before any byte of the file.
    case upload
}

public enum Verdict: Sendable, Equatable {
    case reject(reason: String)
    /// Stored with this content instead.
    case rewrite(content: String)
    /// The host could not be asked, and the setting forbids storing then.
    case unavailable
}
