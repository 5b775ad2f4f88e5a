import ChatCore

extension RoomFrame: Sequenced {}

/// A room with members on this relay.
final class TrackedRoom {
    enum Stage {
        /// The channel is not confirmed: frames may be passing by.
        case subscribing
        /// The channel is confirmed; what passed by before is being fetched.
        case closing
        case live
    }

    /// A socket that gets what it missed: until it has caught up the room's own frames pass it by.
    struct Resume {
        var ticket: UInt64
        /// The newest frame that the socket has.
        var last: UInt64
        /// The frame with which its user left meanwhile: the last that it gets. nil: a member.
        var through: UInt64?
        /// Numbers of the clients' requests that its end answers.
        var requests: [UInt64] = []
    }

    let id: UUID128
    var stage = Stage.subscribing
    var sequencer: RoomSequencer<RoomFrame>
    /// Its row in the relay's memory.
    var row = noIndex
    /// Sockets with the flag `ahead` have everything up to here.
    var aheadUntil: UInt64 = 0
    /// Taken over from a dead relay: `members` are those of today, and the first frames that are fetched say who came
    /// and went since. Until then live frames are parked.
    var mustRewind = false
    var parked: [FrameChunk] = []
    /// Indexes of users, in no order.
    var members: [UInt32] = []
    /// Users whose `welcome` waits for this room to be live.
    var waiters: [UInt32] = []
    var resumes: [Resume] = []
    var changes = MembershipLog()
    /// Second before which no further fetch is asked for; moves on with each failure.
    var retryAt: UInt32 = 0
    var failures: UInt32 = 0
    /// The number of the fetch that is out.
    var fetch: UInt64 = 0
    /// What PostgreSQL said the newest Seq is; when `last` stays behind it something is missed.
    var expected: UInt64 = 0

    init(id: UUID128, last: UInt64) {
        self.id = id
        sequencer = RoomSequencer(last: last)
    }

    /// Nobody here gets anything of it any more.
    var isOver: Bool { members.isEmpty && resumes.isEmpty }

    func add(_ user: UInt32) -> Bool {
        guard !members.contains(user) else { return false }
        members.append(user)
        return true
    }

    func remove(_ user: UInt32) {
        if let place = members.firstIndex(of: user) { members.swapAt(place, members.count - 1); members.removeLast() }
    }
}

/// The latest comings and goings of a room, so that a list of memberships that was read a moment ago can be put right.
struct MembershipLog {
    private static let kept = 32

    enum Verdict: Equatable {
        /// Nothing happened to the user since.
        case unchanged
        case joined
        case left
        /// The log does not reach back that far: ask again.
        case unknown
    }

    private var entries: [(seq: UInt64, user: UUID128, joined: Bool)] = []
    private var forgotten: UInt64 = 0

    mutating func note(_ user: UUID128, joined: Bool, seq: UInt64) {
        if entries.count == Self.kept { forgotten = entries.removeFirst().seq }
        entries.append((seq, user, joined))
    }

    /// What happened to the user after `seq`.
    func verdict(_ user: UUID128, since seq: UInt64) -> Verdict {
        if let last = entries.last(where: { $0.user == user && $0.seq > seq }) { return last.joined ? .joined : .left }
        return forgotten > seq ? .unknown : .unchanged
    }
}
