/// The reads of REST, straight from the store. Each result shows what the asking user may see; everything else is nil.
public protocol RoomReader: AnyObject {
    /// The user's rooms, most recently active first; `before` is the last entry of the previous page.
    ///
    /// - Parameter kind: only entries with this text as `kind` of their ``Metadata``; nil: all. The same in the other
    ///   lists.
    func rooms(of user: UUID128, before: RoomCursor?, limit: Int, kind: String?) throws(StoreError) -> [RoomView]
    func room(_ room: UUID128, for user: UUID128) throws(StoreError) -> RoomView?
    /// The newest messages of rooms that the user is in, newest first, as this user may see them.
    func newestMessages(
        of rooms: [UUID128], for user: UUID128, count: Int
    ) throws(StoreError) -> [UUID128: [Message]]
    /// Members in the order of their ids; nil when the user is not one.
    func members(
        of room: UUID128, for user: UUID128, after: UUID128?, limit: Int, kind: String?
    ) throws(StoreError) -> [Member]?
    /// Banned users, for OWNER and ADMIN; nil for everyone else.
    func banned(
        from room: UUID128, for user: UUID128, after: UUID128?, limit: Int
    ) throws(StoreError) -> [Member]?
    /// A page of history; nil when the user is not a member.
    func history(
        of room: UUID128, for user: UUID128, _ page: HistoryPage, limit: Int, kind: String?
    ) throws(StoreError) -> (any MessagePage)?
    func message(_ id: UUID128, for user: UUID128) throws(StoreError) -> Message?
    /// The user's messages with incomplete files, newest first, in rooms that they are in.
    ///
    /// - Parameter before: the last entry of the previous page.
    func uploads(of user: UUID128, before: UUID128?, limit: Int) throws(StoreError) -> [Message]
    /// The same for one room and this Sign.
    func upload(of user: UUID128, in room: UUID128, sign: String) throws(StoreError) -> Message?
    /// The room of a message, for any user: it selects a command's queue.
    func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128?
    /// The members who have seen a message, besides its sender; nil when the user may not see it.
    func receipts(of message: UUID128, for user: UUID128) throws(StoreError) -> [SeenMark]?
    /// The content of a message before each of its edits, oldest first; nil when the user may not see it.
    func edits(of message: UUID128, for user: UUID128) throws(StoreError) -> [EarlierContent]?
    /// The pinned messages, newest pin first; nil when the user is not a member.
    func pins(of room: UUID128, for user: UUID128) throws(StoreError) -> [Message]?
    /// Messages that contain the words, newest first; nil when the user is not a member of `room`. Throws an error with
    /// ``StoreError/trouble`` while another search of the user is running, and when it takes too long.
    ///
    /// - Parameter room: nil: all rooms of the user.
    func search(
        _ words: SearchWords, in room: UUID128?, for user: UUID128, after: SearchCursor?, limit: Int
    ) throws(StoreError) -> [SearchHit]?
    /// The invitations that can still be used, newest first, for OWNER and ADMIN; nil for everyone else.
    func invitations(to room: UUID128, for user: UUID128) throws(StoreError) -> [Invitation]?
    /// The invitation with this token; anyone who has the token may see it.
    func invitation(token: String) throws(StoreError) -> Invitation?
    /// Whether `user` may see the presence of `other`: both are members of one room today (``AddedBy`` is how `other`
    /// has consented to it), neither has blocked the other, and `other` does not hide it.
    func presenceVisibility(of other: UUID128, for user: UUID128) throws(StoreError) -> PresenceVisibility
    func account(of user: UUID128) throws(StoreError) -> Account
    func check() throws(StoreError)
}

extension RoomReader {
    public func rooms(of user: UUID128, before: RoomCursor?, limit: Int) throws(StoreError) -> [RoomView] {
        try rooms(of: user, before: before, limit: limit, kind: nil)
    }

    public func members(
        of room: UUID128, for user: UUID128, after: UUID128?, limit: Int
    ) throws(StoreError) -> [Member]? {
        try members(of: room, for: user, after: after, limit: limit, kind: nil)
    }

    public func history(
        of room: UUID128, for user: UUID128, _ page: HistoryPage, limit: Int
    ) throws(StoreError) -> (any MessagePage)? {
        try history(of: room, for: user, page, limit: limit, kind: nil)
    }
}

/// The position of a room in its user's list.
public struct RoomCursor: Sendable, Equatable {
    /// Unix milliseconds.
    public var lastActivityAt: Int64
    public var room: UUID128

    public init(lastActivityAt: Int64, room: UUID128) {
        self.lastActivityAt = lastActivityAt
        self.room = room
    }

    public init(_ view: RoomView) {
        self.init(lastActivityAt: view.room.lastActivityAt, room: view.room.id)
    }

    /// The text form for clients, who must treat it as opaque.
    public var text: String { "\(lastActivityAt)_\(room)" }

    /// Accepts only texts that ``text`` can produce: the time must be one that a room can have.
    public init?(text: String) {
        guard let parts = CursorText(text), acceptedTimes.contains(parts.number) else { return nil }
        self.init(lastActivityAt: parts.number, room: parts.id)
    }
}

/// The part of a room's history to read.
public enum HistoryPage: Sendable, Equatable {
    /// Newest first.
    case newest
    /// Seq below this, newest first.
    case before(Int64)
    /// Seq above this, oldest first.
    case after(Int64)
    /// Half a page on either side of a Seq, oldest first.
    case around(Int64)
    /// Created, edited, deleted or reacted to after that Seq, in the order of their newest change.
    case changedSince(Int64)
}

public enum PresenceVisibility: Sendable, Equatable {
    case stranger, hidden, shown
}

/// Whether a user is online. This is best effort: relays write it, and Redis may have lost it.
public protocol PresenceReader: AnyObject {
    func presence(of user: UUID128, at now: Int64) throws(BusError) -> PresenceMark
}

/// `Data` of a presence answer and frame.
public struct PresenceMark: WireShape, Sendable, Equatable {
    public var userID: UUID128
    public var isOnline: Bool
    /// Unix milliseconds; nil when unknown or online now.
    public var lastSeenAt: Int64?

    public init(userID: UUID128, isOnline: Bool, lastSeenAt: Int64? = nil) {
        self.userID = userID
        self.isOnline = isOnline
        self.lastSeenAt = lastSeenAt
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("UserID", userID)
            $0.field("Online", isOnline)
            $0.field("LastSeenAt", time: lastSeenAt)
        }
    }
}

/// Users' own data outside of rooms: it takes no Seq of any room.
public protocol AccountStore: AnyObject {
    /// - Returns: false when `blocker` has reached the limit of blocks.
    func block(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool
    /// - Returns: whether the other user still blocks this one.
    func unblock(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool
    /// - Returns: the account after the change.
    func change(_ patch: AccountPatch, of user: UUID128) throws(StoreError) -> Account
    /// Registers an FCM token. Other users who have it keep it, so that no user can stop another's pushes. When the
    /// user has too many devices, the oldest registration is removed.
    ///
    /// - Returns: false when the device has reached its limit of users.
    func register(device token: String, of user: UUID128) throws(StoreError) -> Bool
    /// Registers a device of another kind than FCM's, by the same rules.
    func register(_ device: PushDevice) throws(StoreError) -> Bool
    /// The devices of a user, newest registration first.
    func devices(of user: UUID128) throws(StoreError) -> [(device: PushDevice, registeredAt: Int64)]
    func unregister(device: String, of user: UUID128) throws(StoreError)
    /// Stops pushes of this room to this user's devices, until a time (Unix milliseconds) or for good.
    func silence(_ room: UUID128, for user: UUID128, _ silence: Silence) throws(StoreError)
    func unsilence(_ room: UUID128, for user: UUID128) throws(StoreError)
    /// The same for the answers to a message, and the answers to those. Above the limit the oldest silence ends.
    func silence(thread message: UUID128, in room: UUID128, for user: UUID128, _ silence: Silence) throws(StoreError)
    func unsilence(thread message: UUID128, for user: UUID128) throws(StoreError)
    /// Whether the store knows this time zone.
    func isTimeZone(_ name: String) throws(StoreError) -> Bool
}

/// The duration and extent for which a room or a thread is silenced.
public struct Silence: Sendable, Equatable {
    /// Unix milliseconds; nil: for good.
    public var until: Int64?
    /// Messages that mention the user are still pushed.
    public var exceptMentions: Bool

    public init(until: Int64? = nil, exceptMentions: Bool = false) {
        self.until = until
        self.exceptMentions = exceptMentions
    }
}
