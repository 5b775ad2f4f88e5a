import ChatCore

extension RoomFrame: Sequenced {}

/// A room with members on this relay.
///
/// A room's stages, from its first member here to the last:
///
///     subscribing ──> catchingUp ──> live ──> (closed)
///
/// - subscribing: the channel is requested and not confirmed (`RoomTable.open`): frames may be missed.
/// - catchingUp: the channel is confirmed, so nothing newer can be missed; the frames from before are being fetched
///   (`Rooms.confirmed`). Frames that arrive meanwhile are delivered in order, or held behind the gap.
/// - live: everything up to the newest known frame was delivered. The `waiters` may be ready now.
/// - closed: no member and no resume is left (`RoomTable.closeIfOver`).
///
/// A live room stays live when it finds a gap, or catches up after a loss of the feed: its members were welcomed
/// before, and get the missing frames in order. A room of a predecessor begins in the stage that it had there. A room
/// of a dead relay begins as subscribing with `mustRewind`: until its first frames are fetched, live ones are parked.
final class TrackedRoom {
    enum Stage {
        case subscribing
        case catchingUp
        case live
    }

    /// A socket that is receiving missed frames: until it has caught up it does not get the room's live frames.
    struct Resume {
        var handle: UInt64
        /// The Seq after which it began.
        var first: UInt64
        /// The newest frame that the socket has.
        var last: UInt64
        /// The frame with which its user left: the last one that it gets. nil: still a member.
        var through: UInt64?
        /// The client's requests that are answered at its end.
        var requests: [UInt64] = []
        /// A page is being looked up; `isStale`: it does not follow `last`, because the client asked for earlier
        /// frames.
        var isAsked = false
        var isStale = false

        /// The client asks again, from an earlier position: it gets everything from there, in order.
        mutating func goBack(to earlier: UInt64) {
            (first, last) = (earlier, earlier)
            isStale = isAsked
        }
    }

    let id: UUID128
    var stage = Stage.subscribing
    var sequencer: RoomSequencer<RoomFrame>
    /// Its row in the relay's memory.
    let row: UInt32
    /// Sockets with the flag `ahead` have everything up to here.
    var aheadUntil: UInt64 = 0
    /// Taken over from a dead relay: `members` is the present list, and the first fetched frames contain the joins and
    /// leaves since the crash. Until then live frames are parked.
    var mustRewind = false
    private var parked: [FrameChunk] = []
    /// Chunks kept while the room waits for its first frames; the rest is fetched.
    private static let maxParked = 256
    /// Indexes of users, in no order.
    private(set) var members: [UInt32] = []
    /// Users whose `welcome` waits for this room to be live.
    private(set) var waiters: [UInt32] = []
    var resumes: [Resume] = []
    var changes = MembershipLog()
    /// The second before which no further fetch starts; later after each failure.
    var retryAt: UInt32 = 0
    var failures: UInt32 = 0
    /// The number of the fetch in progress.
    var fetch: UInt64 = 0
    /// The newest Seq according to PostgreSQL; when `last` stays below it, frames are missing.
    var expected: UInt64 = 0
    /// The last value from PostgreSQL; a room begins with 1.
    var epoch: Int64 = 1

    init(id: UUID128, last: UInt64, row: UInt32) {
        self.id = id
        self.row = row
        sequencer = RoomSequencer(last: last)
    }

    /// The newest Seq known for the room, including frames that have not arrived here yet.
    var newest: UInt64 { max(sequencer.last, expected, sequencer.held.last?.seq ?? 0) }

    /// No socket here gets this room's frames any more.
    var isOver: Bool { members.isEmpty && resumes.isEmpty }

    func add(_ user: UInt32) -> Bool {
        guard !members.contains(user) else { return false }
        members.append(user)
        return true
    }

    func remove(_ user: UInt32) {
        if let place = members.firstIndex(of: user) { members.swapAt(place, members.count - 1); members.removeLast() }
    }

    /// Takes a predecessor's list.
    func set(members: [UInt32]) { self.members = members }

    /// False when the user waits already.
    func addWaiter(_ user: UInt32) -> Bool {
        guard !waiters.contains(user) else { return false }
        waiters.append(user)
        return true
    }

    /// False when the user does not wait.
    func removeWaiter(_ user: UInt32) -> Bool {
        guard let place = waiters.firstIndex(of: user) else { return false }
        waiters.remove(at: place)
        return true
    }

    /// The room has caught up.
    func becomeLive() -> [UInt32] {
        stage = .live
        defer { waiters = [] }
        return waiters
    }

    func park(_ chunk: FrameChunk) {
        guard let last = chunk.frames.last?.seq, last > 0 else { return }
        if parked.count < Self.maxParked {
            parked.append(chunk)
        } else {
            expected = max(expected, last)
        }
    }

    func unpark() -> [FrameChunk] {
        defer { parked = [] }
        return parked
    }

    /// The place in `resumes` of the socket with this handle.
    func resume(of handle: UInt64) -> Int? { resumes.firstIndex { $0.handle == handle } }
}

/// The recent joins and leaves of a room: they correct a list of memberships that was read a moment ago.
struct MembershipLog {
    private static let kept = 32

    enum Change: Equatable {
        /// The user neither joined nor left since.
        case unchanged
        case joined
        case left
        /// The log is too short to tell: read the list again.
        case unknown
    }

    private var entries: [(seq: UInt64, user: UUID128, joined: Bool)] = []
    private var forgotten: UInt64 = 0

    mutating func note(_ user: UUID128, joined: Bool, seq: UInt64) {
        if entries.count == Self.kept { forgotten = entries.removeFirst().seq }
        entries.append((seq, user, joined))
    }

    /// The user's joins and leaves after `seq`.
    func change(of user: UUID128, since seq: UInt64) -> Change {
        if let last = entries.last(where: { $0.user == user && $0.seq > seq }) { return last.joined ? .joined : .left }
        return forgotten > seq ? .unknown : .unchanged
    }
}
