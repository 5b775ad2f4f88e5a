import ChatCore

/// The room, user and relay channels of Redis. Never waits; used by the loop alone.
///
/// Guarantee: after `.subscribed` every message published to the channel arrives, in order, until `.lost`. After
/// `.connected` it subscribes to everything again by itself, and `.restored` says that all of it is confirmed.
protocol Feed: AnyObject {
    func subscribe(_ channel: String)
    func unsubscribe(_ channel: String)
}

enum FeedEvent {
    case message(channel: String, payload: [UInt8])
    case subscribed(channel: String)
    case lost
    /// Everything that was subscribed before a loss is subscribed again: what was published between is missed.
    case restored
}

/// Where commands go. `put` collects; what one tick collects for one queue travels together.
protocol CommandOutlet: AnyObject {
    /// False when the way is full: the sender is told `busy`.
    func put(_ command: Command, from socket: UInt64) -> Bool
    func endTick()
}

/// Questions to PostgreSQL and the rooms' logs; the answers come back as `Found`, in any order.
protocol LookupOutlet: AnyObject {
    /// False when too many wait.
    func ask(_ lookup: Lookup) -> Bool
}

/// What the relay itself tells Redis: typing, presence, how much its users do. Full means dropped.
protocol EphemeralOutlet: AnyObject {
    func publish(_ frame: RoomFrame, in room: UUID128)
    func note(_ presence: Presence)
    /// Users who are still here, once a minute.
    func renew(_ users: [UUID128], at unixMilliseconds: Int64)
    /// Adds to the counts that all programs share. Who is above their limit comes back as `Found.tooMany`.
    func charge(_ counts: [RateCount])
    /// For the trail: a room's frames were written to so many sockets.
    func noteDelivery(of room: UUID128, first: UInt64, last: UInt64, sockets: Int)
    /// A socket of the user has answered a probe.
    func noteLife(of user: UUID128, at unixMilliseconds: Int64)
}

struct Presence: Sendable, Equatable {
    var user: UUID128
    var isOnline: Bool
    /// Where it is told.
    var rooms: [UUID128]
    /// Unix milliseconds.
    var at: Int64
}

enum Lookup: Sendable, Equatable {
    /// Who asks for a room's frames.
    enum Purpose: Sendable, Equatable {
        /// The room's own order has a gap, or its beginning is being closed. The number tells the answer to this fetch
        /// from one to an earlier life of the room.
        case room(UInt64)
        /// A socket resumes (its ticket).
        case socket(UInt64)
    }

    /// `epoch` tells the answer from one that was read before the user's channel was confirmed.
    case memberships(of: UUID128, epoch: UInt64)
    /// Frames after a Seq, oldest first, at most `limit`. They are known to go up to `atLeast`: a log that ends earlier
    /// is not the whole truth.
    case frames(room: UUID128, after: UInt64, atLeast: UInt64, limit: Int, Purpose)
    /// The room of a message, for a command of this socket.
    case room(ofMessage: UUID128, LatentCommand)
    /// Whom a ticket stands for; `connection` is the ticket of another kind, that of the socket's slot.
    case ticket(String, connection: UInt64)
    /// News of revoked tokens, since a Unix millisecond.
    case revocations(since: Int64?)
}

/// A command that waits for its room.
struct LatentCommand: Sendable, Equatable {
    var socket: UInt64
    var sign: String?
    var action: Command.Action
}

enum Found: Sendable {
    case memberships(of: UUID128, epoch: UInt64, [Membership])
    case frames(room: UUID128, after: UInt64, FrameRun, Lookup.Purpose)
    case room(UUID128?, ofMessage: UUID128, LatentCommand)
    case ticket(Identity?, connection: UInt64)
    case revocations([Revocation])
    case failed(Lookup)
    /// This user's count is above its limit for so many milliseconds.
    case tooMany(RateKind, UUID128, milliseconds: Int)
    /// Commands that were not handed over.
    case refused([UnsentCommand], Refusal)
}

struct UnsentCommand: Sendable, Equatable {
    var socket: UInt64
    var sign: String?
}

/// An unbroken piece of a room's order.
struct FrameRun: Sendable, Equatable {
    var frames: [RoomFrame]
    /// Everything up to here is in `frames` (or has no frame at all).
    var through: UInt64
    /// The room's newest Seq as far as known; beyond `through` there is more to fetch.
    var newest: UInt64
}
