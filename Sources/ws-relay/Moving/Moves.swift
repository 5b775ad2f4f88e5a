/// A drain, without a clock and without a socket: which of a relay's sockets are told to go, when, and when their time is
/// over. Sockets are named by the handles of their slots.
///
///     (unknown) ──add──▶ waiting ──its turn──▶ told ──the client leaves──▶ (moved)
///                                │                 └──its time is over──▶ closed
///                                └──it does not understand `move`──▶ closed
///
/// After `stop` the waiting ones stay. Told ones may be on their way: they are left alone, and count as told until their
/// time is over, so that the second socket of such a client is not one too many.
struct Moves {
    enum Step: Equatable {
        /// It understands `move`: it leaves by itself.
        case tell(UInt64)
        /// It does not, or its time is over: a close frame says that it should connect again.
        case close(UInt64)
    }

    struct Candidate {
        let handle: UInt64
        let understands: Bool
    }

    /// A socket that was told, for a successor.
    struct Told: Equatable {
        let handle: UInt64
        /// Milliseconds of the monotonic clock.
        let due: Int64
    }

    struct Counters: Equatable {
        var moved = 0
        var closed = 0
    }

    /// Nil: this relay keeps its sockets.
    private(set) var order: MoveOrder?
    /// Of the pool, which share the rate.
    var workers = 1 { didSet { workers = max(1, workers) } }
    private(set) var counters = Counters()
    private var waiting: [Candidate] = []
    private var known: Set<UInt64> = []
    /// In the order of `due`.
    private var queue: ArraySlice<Told> = []
    private var told: Set<UInt64> = []
    /// Milliseconds × rate; a turn costs `cost`.
    private var credit = 0
    private var last: Int64 = 0

    private var cost: Int { 1000 * workers }

    /// Something is left to do.
    var isActive: Bool { order != nil || !told.isEmpty }

    /// The drain wants to know more sockets: all that it knows had their turn.
    var wantsMore: Bool { order != nil && waiting.isEmpty }

    func hasTold(_ handle: UInt64) -> Bool { told.contains(handle) }

    // MARK: The order

    /// Begins, or goes on in another way; sockets that were told keep their time.
    mutating func begin(_ order: MoveOrder, at now: Int64) {
        if self.order == nil { (credit, last) = (cost, now) }
        self.order = order
    }

    mutating func stop() {
        order = nil
        (waiting, known) = ([], told)
    }

    // MARK: Sockets

    /// In the order of their turns. Those that are known already are passed over.
    mutating func add(_ candidates: [Candidate]) {
        guard order != nil else { return }
        waiting += candidates.filter { known.insert($0.handle).inserted }.reversed()
    }

    /// Sockets of a predecessor, which told them.
    mutating func adopt(_ handed: [Told]) {
        for one in handed where known.insert(one.handle).inserted { note(one) }
    }

    /// At the end, except after a change of the time that clients have.
    private mutating func note(_ one: Told) {
        queue.insert(one, at: queue.lastIndex { $0.due <= one.due }.map { $0 + 1 } ?? queue.startIndex)
        told.insert(one.handle)
    }

    var allTold: [Told] { queue.filter { told.contains($0.handle) } }

    /// The socket is gone, or closing. One that was told has moved, also after a stop, and where a successor has its sockets
    /// and not yet its order.
    mutating func left(_ handle: UInt64) {
        guard known.remove(handle) != nil, told.remove(handle) != nil else { return }
        counters.moved += 1
    }

    /// The steps that are due now; each socket has one of each kind at most.
    mutating func due(at now: Int64) -> [Step] {
        var steps = overdue(at: now)
        guard let order else { return steps }
        credit = min(credit + Int(clamping: max(0, min(now - last, 1000))) * order.rate, max(1000 * order.rate, cost))
        last = now
        while credit >= cost, let next = waiting.popLast() {
            // It has left before its turn.
            guard known.contains(next.handle) else { continue }
            credit -= cost
            if next.understands {
                note(Told(handle: next.handle, due: now + Int64(order.within) * 1000))
                steps.append(.tell(next.handle))
            } else {
                counters.closed += 1
                known.remove(next.handle)
                steps.append(.close(next.handle))
            }
        }
        // A herd that comes later has no turns of before.
        if waiting.isEmpty { credit = min(credit, cost) }
        return steps
    }

    private mutating func overdue(at now: Int64) -> [Step] {
        var steps: [Step] = []
        while let first = queue.first, first.due <= now || !told.contains(first.handle) {
            queue.removeFirst()
            guard told.remove(first.handle) != nil else { continue }
            known.remove(first.handle)
            guard order != nil else { continue }
            counters.closed += 1
            steps.append(.close(first.handle))
        }
        if queue.isEmpty { queue = [] }
        return steps
    }
}
