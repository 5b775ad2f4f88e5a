/// What REST reads, straight from the store. Everything is as the asking user may see it: what is not theirs is nil.
public protocol RoomReader: AnyObject {
    /// The user's rooms, newest activity first; `before` is the last entry of the page before.
    func rooms(of user: UUID128, before: RoomCursor?, limit: Int) throws(StoreError) -> [RoomView]
    func room(_ room: UUID128, for user: UUID128) throws(StoreError) -> RoomView?
    /// The newest messages of rooms that the user is in, newest first, as they may see them.
    func newestMessages(
        of rooms: [UUID128], for user: UUID128, count: Int
    ) throws(StoreError) -> [UUID128: [Message]]
    /// Members in the order of their ids; nil when the user is not one.
    func members(
        of room: UUID128, for user: UUID128, after: UUID128?, limit: Int
    ) throws(StoreError) -> [Member]?
    /// Who is kept out, for OWNER and ADMIN; nil for everyone else.
    func banned(
        from room: UUID128, for user: UUID128, after: UUID128?, limit: Int
    ) throws(StoreError) -> [Member]?
    /// A page of history; nil when the user is not a member.
    func history(
        of room: UUID128, for user: UUID128, _ page: HistoryPage, limit: Int
    ) throws(StoreError) -> (any MessagePage)?
    func message(_ id: UUID128, for user: UUID128) throws(StoreError) -> Message?
    /// The user's messages whose files are not complete, newest first, in rooms that they are in.
    ///
    /// - Parameter before: the last entry of the page before.
    func uploads(of user: UUID128, before: UUID128?, limit: Int) throws(StoreError) -> [Message]
    /// The same, of one room and with this Sign.
    func upload(of user: UUID128, in room: UUID128, sign: String) throws(StoreError) -> Message?
    /// The room of a message, whoever asks: to find a command's queue.
    func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128?
    /// Who has seen a message, besides its sender; nil when the user may not see it.
    func receipts(of message: UUID128, for user: UUID128) throws(StoreError) -> [SeenMark]?
    /// What a message said before each of its edits, oldest first; nil when the user may not see it.
    func edits(of message: UUID128, for user: UUID128) throws(StoreError) -> [EarlierContent]?
    /// The pinned messages, newest pin first; nil when the user is not a member.
    func pins(of room: UUID128, for user: UUID128) throws(StoreError) -> [Message]?
    /// Messages that hold the words, newest first; nil when the user is not a member of `room`. Throws an error with a
    /// ``StoreError/trouble`` while another search of the user runs, and when it takes too long.
    ///
    /// - Parameter room: nil: all rooms of the user.
    func search(
        _ words: SearchWords, in room: UUID128?, for user: UUID128, after: SearchCursor?, limit: Int
    ) throws(StoreError) -> [SearchHit]?
    /// The invitations that can still be used, newest first, for OWNER and ADMIN; nil for everyone else.
    func invitations(to room: UUID128, for user: UUID128) throws(StoreError) -> [Invitation]?
    /// Whoever has the token may see it.
    func invitation(token: String) throws(StoreError) -> Invitation?
    /// Whether `user` may know when `other` is here: they are members of one room today (``AddedBy`` is how `other` has
    /// consented to it), neither has blocked the other, and `other` does not hide it.
    func presenceVisibility(of other: UUID128, for user: UUID128) throws(StoreError) -> PresenceVisibility
    func account(of user: UUID128) throws(StoreError) -> Account
    func check() throws(StoreError)
}

/// The place of a room in its user's list.
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

    /// As clients carry it: opaque to them.
    public var text: String { "\(lastActivityAt)_\(room)" }

    /// Only a text that ``text`` could have made: the place of a room is a time that a room can have.
    public init?(text: String) {
        guard let parts = CursorText(text), acceptedTimes.contains(parts.number) else { return nil }
        self.init(lastActivityAt: parts.number, room: parts.id)
    }
}

/// Which part of a room's history.
public enum HistoryPage: Sendable, Equatable {
    /// Newest first.
    case newest
    /// Seq below, newest first.
    case before(Int64)
    /// Seq above, oldest first.
    case after(Int64)
    /// Half a page on either side of a Seq, oldest first.
    case around(Int64)
    /// New, edited, deleted or reacted to since that Seq, in the order of their newest change.
    case changedSince(Int64)
}

public enum PresenceVisibility: Sendable, Equatable {
    case stranger, hidden, shown
}

/// Whether somebody is there now. Nothing of it is promised: relays write it, and Redis may have forgotten it.
public protocol PresenceReader: AnyObject {
    func presence(of user: UUID128, at now: Int64) throws(BusError) -> PresenceMark
}

/// `Data` of a presence answer and frame.
public struct PresenceMark: Sendable, Equatable {
    public var userID: UUID128
    public var isOnline: Bool
    /// Unix milliseconds; nil: not known, or there now.
    public var lastSeenAt: Int64?

    public init(userID: UUID128, isOnline: Bool, lastSeenAt: Int64? = nil) {
        self.userID = userID
        self.isOnline = isOnline
        self.lastSeenAt = lastSeenAt
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(3)
        writer.key("UserID")
        writer.uuid(userID)
        writer.key("Online")
        writer.bool(isOnline)
        writer.key("LastSeenAt")
        writer.optional(lastSeenAt) { $0.timestamp($1) }
        writer.endMap()
    }
}

/// What users keep for themselves: no room's order is touched.
public protocol AccountStore: AnyObject {
    /// - Returns: false: `blocker` has blocked as many as one may.
    func block(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool
    /// - Returns: whether the other one blocks still.
    func unblock(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool
    /// - Returns: the account as it is then.
    func change(_ patch: AccountPatch, of user: UUID128) throws(StoreError) -> Account
    /// Registers an FCM token. Other users who have it keep it: nobody can take another's pushes away. The user's device
    /// that was registered longest ago gives way when there are too many.
    ///
    /// - Returns: false: as many users have this device as one device may have.
    func register(device token: String, of user: UUID128) throws(StoreError) -> Bool
    func unregister(device token: String, of user: UUID128) throws(StoreError)
    /// No pushes of this room to this user's devices, until a time (Unix milliseconds) or for good.
    func silence(_ room: UUID128, for user: UUID128, until: Int64?) throws(StoreError)
    func unsilence(_ room: UUID128, for user: UUID128) throws(StoreError)
}
