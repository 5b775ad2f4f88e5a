/// The relay's reads from the store: memberships, and frames that Redis no longer holds.
public protocol RoomHistory: AnyObject {
    /// The users' rooms, and the pairs with one of them in which one has blocked the other.
    func memberships(of users: [UUID128]) throws(StoreError) -> [Membership]
    /// Includes deleted rooms; a room that never existed is missing.
    func lastSeqs(of rooms: [UUID128]) throws(StoreError) -> [UUID128: UInt64]
    func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128?
    /// The frames with Seq in (`after`, `after + limit`], in order and without a gap up to the room's last one. They
    /// show the current content; origins are not stored.
    func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(StoreError) -> [RoomFrame]
}

public struct Membership: Sendable, Equatable {
    public var user: UUID128
    public var room: UUID128
    /// The room's newest Seq at the time of the read.
    public var lastSeq: UInt64
    /// The user's own setting, the same for all rooms.
    public var hidesPresence: Bool
    /// The room is PRIVATE, and one of its two members has blocked the other.
    public var isBlocked: Bool
    /// The user is neither muted nor a plain member of a CHANNEL.
    public var mayPost: Bool
    /// The room's epoch.
    public var epoch: Int64
    /// False for a blocked pair without a PRIVATE room: `room` is then the id that the room would have.
    public var isRoom: Bool

    public init(
        user: UUID128, room: UUID128, lastSeq: UInt64, hidesPresence: Bool = false, isBlocked: Bool = false,
        mayPost: Bool = true, isRoom: Bool = true, epoch: Int64 = 1
    ) {
        self.user = user
        self.room = room
        self.lastSeq = lastSeq
        self.hidesPresence = hidesPresence
        self.isBlocked = isBlocked
        self.mayPost = mayPost
        self.epoch = epoch
        self.isRoom = isRoom
    }
}
