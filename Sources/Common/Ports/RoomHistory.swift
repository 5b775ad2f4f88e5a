/// What a relay asks of the store: who is where, and frames that Redis no longer has.
public protocol RoomHistory: AnyObject {
    /// Rooms that they are in, and the pairs with one of them in which one has blocked the other.
    func memberships(of users: [UUID128]) throws(StoreError) -> [Membership]
    /// Deleted rooms too; a room that never was is missing.
    func lastSeqs(of rooms: [UUID128]) throws(StoreError) -> [UUID128: UInt64]
    func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128?
    /// The frames with Seq in (`after`, `after + limit`], in order, without a gap as long as the room has them. Their
    /// content is that of today; origins are not kept.
    func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(StoreError) -> [RoomFrame]
}

public struct Membership: Sendable, Equatable {
    public var user: UUID128
    public var room: UUID128
    /// The room's newest Seq when it was read.
    public var lastSeq: UInt64
    /// The user's own setting, for all rooms alike.
    public var hidesPresence: Bool
    /// The room is PRIVATE, and one of its two has blocked the other.
    public var isBlocked: Bool
    /// Neither muted nor a plain member of a CHANNEL.
    public var mayPost: Bool
    /// False of the PRIVATE room of a blocked pair that has none: `room` is the id that it would have.
    public var isRoom: Bool

    public init(
        user: UUID128, room: UUID128, lastSeq: UInt64, hidesPresence: Bool = false, isBlocked: Bool = false,
        mayPost: Bool = true, isRoom: Bool = true
    ) {
        self.user = user
        self.room = room
        self.lastSeq = lastSeq
        self.hidesPresence = hidesPresence
        self.isBlocked = isBlocked
        self.mayPost = mayPost
        self.isRoom = isRoom
    }
}
