import ChatCore

/// The room, user and relay channels of Redis. Never blocks; only the loop uses it.
///
/// Guarantee: after `.subscribed` every message published to the channel arrives, in order, until `.lost`. It
/// subscribes to everything again by itself, and `.restored` says that all of it is confirmed. In a cluster a channel
/// may be lost alone, and `.regained` says that it is confirmed again.
protocol Feed: AnyObject {
    func subscribe(_ channel: String)
    func unsubscribe(_ channel: String)
}

enum FeedEvent {
    case message(channel: String, payload: [UInt8])
    case subscribed(channel: String)
    case lost
    /// Everything is subscribed again after a loss: messages published in between are missing.
    case restored
    /// This channel is subscribed again after a loss.
    case regained(channel: String)
}

/// Sends commands. `put` collects them; commands of one tick for one queue are sent together.
protocol CommandOutlet: AnyObject {
    /// False when the outlet is full: the sender gets `busy`.
    ///
    /// - Parameter encoded: the command's bytes, which the journal keeps too.
    func put(_ command: Command, encoded: [UInt8], from socket: UInt64) -> Bool
    func endTick()
}

/// Queries to PostgreSQL and to the rooms' logs; the answers arrive as `Found`, in any order.
protocol LookupOutlet: AnyObject {
    /// False when too many are waiting.
    func ask(_ lookup: Lookup) -> Bool
}

/// The relay's own data for Redis: typing, presence, rate counts. When it is full, data is dropped.
protocol EphemeralOutlet: AnyObject {
    func publish(_ frame: RoomFrame, in room: UUID128)
    func note(_ presence: Presence)
    /// Users who are still online; called once a minute.
    func renew(_ users: [UUID128], at unixMilliseconds: Int64)
    /// Adds to the counters that all programs share. A user above the limit comes back as `Found.tooMany`.
    func charge(_ counts: [RateCount])
    /// For the trail: a room's frames were written to this many sockets.
    func noteDelivery(of room: UUID128, first: UInt64, last: UInt64, sockets: Int)
    /// A socket of the user has answered a probe.
    func noteLife(of user: UUID128, at unixMilliseconds: Int64)
    /// The user has opened a socket.
    func noteConnect(of user: UUID128, at unixMilliseconds: Int64)
    /// This relay's loop goes round; once a second.
    func beat()
}

extension EphemeralOutlet {
    func noteConnect(of user: UUID128, at unixMilliseconds: Int64) {}
}

struct Presence: Sendable, Equatable {
    var user: UUID128
    var isOnline: Bool
    /// The rooms to tell.
    var rooms: [UUID128]
    /// Unix milliseconds.
    var at: Int64
}

enum Lookup: Sendable, Equatable {
    /// The requester of a room's frames.
    enum Purpose: Sendable, Equatable {
        /// The room itself: its order has a gap, or it is catching up. The number tells this fetch's answer from one
        /// for an earlier tracking of the room.
        case room(UInt64)
        /// A resuming socket (its handle).
        case socket(UInt64)
    }

    /// `epoch` tells the answer from one that was read before the user's channel was confirmed.
    case memberships(of: UUID128, epoch: UInt64)
    /// Frames after a Seq, oldest first, at most `limit`. They are known to reach `atLeast`: a log that ends earlier is
    /// incomplete.
    case frames(room: UUID128, after: UInt64, atLeast: UInt64, limit: Int, Purpose)
    /// The room of a message, for a command of this socket.
    case room(ofMessage: UUID128, LatentCommand)
    /// The identity behind a ticket; `connection` is the handle of the socket that brought it.
    case ticket(String, connection: UInt64)
    /// Revocations since a Unix millisecond.
    case revocations(since: Int64?)
    /// Claims of a token, to be stored. No answer.
    case learn(UserClaims)
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
    /// This user is above the limit for this many milliseconds.
    case tooMany(RateKind, UUID128, milliseconds: Int)
    /// Commands that were not forwarded.
    case refused([UnsentCommand], Refusal)
}

extension Lookup {
    /// A socket's command or handshake waits for it.
    var isOfSocket: Bool {
        switch self {
        case .room, .ticket: true
        default: false
        }
    }
}

extension Found {
    var answersSocket: Bool {
        switch self {
        case .room, .ticket: true
        case .failed(let lookup): lookup.isOfSocket
        default: false
        }
    }
}

struct UnsentCommand: Sendable, Equatable {
    var socket: UInt64
    var sign: String?
}

/// A part of a room's order without gaps.
struct FrameRun: Sendable, Equatable {
    var frames: [RoomFrame]
    /// `frames` contains everything up to here (some Seqs have no frame).
    var through: UInt64
    /// The room's newest known Seq; when it is beyond `through`, more must be fetched.
    var newest: UInt64
}
