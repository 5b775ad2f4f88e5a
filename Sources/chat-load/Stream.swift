/// One member's view of one room: which Seqs came on it, in which order. Every Seq is one of ``Ledger/seqs``, so that
/// no arithmetic on them can trap.
struct Stream {
    enum Step: Equatable {
        /// The next Seq, or the first after a hole.
        case new
        /// A Seq that should have come before a later one.
        case late
        /// It came before, which is allowed: the socket resumes.
        case again
        /// It came before.
        case twice
        /// The answer to a repeated request: its frame came before.
        case answer
        /// An answer ahead of the order, for example to a repeated request: its frame may follow in order.
        case early
    }

    /// The index of the room.
    let room: Int
    /// Every Seq up to this one came, except those in the holes.
    private(set) var last: Int64
    private(set) var holes: [ClosedRange<Int64>] = []
    /// Seqs of answers that came ahead of the order.
    private var early: Set<Int64> = []
    /// Running REST requests for a `resync`.
    var fetches = 0
    static let maxFetches = 16
    /// Between `resume` and its answer frames may come again, and newer ones before older ones.
    var isResuming = false

    /// More holes than this are joined: the count of missing Seqs is too high then, and the run has failed anyway.
    private static let maxHoles = 256

    init(room: Int, last: Int64) { (self.room, self.last) = (room, last) }

    /// - Parameter seq: one of ``Ledger/seqs``.
    mutating func take(_ seq: Int64, isResponse: Bool) -> Step {
        if isResponse, seq > last, seq - 1 > last {
            guard early.count < Self.maxHoles else { return .answer }
            return early.insert(seq).inserted ? .early : .answer
        }
        if seq > last {
            let wasEarly = early.remove(seq) != nil
            leap(to: seq)
            return wasEarly ? .again : .new
        }
        guard let place = holes.firstIndex(where: { $0.contains(seq) }) else {
            return isResponse ? .answer : isResuming ? .again : .twice
        }
        let hole = holes.remove(at: place)
        if seq < hole.upperBound { holes.insert(seq + 1...hole.upperBound, at: place) }
        if seq > hole.lowerBound { holes.insert(hole.lowerBound...seq - 1, at: place) }
        return isResuming ? .new : .late
    }

    /// Every Seq in between is missing, except the early answers.
    private mutating func leap(to seq: Int64) {
        for answered in early.sorted() where answered < seq {
            if answered > last + 1 { open(last + 1...answered - 1) }
            last = max(last, answered)
            early.remove(answered)
        }
        if seq - 1 > last { open(last + 1...seq - 1) }
        last = seq
    }

    private mutating func open(_ hole: ClosedRange<Int64>) {
        if holes.count == Self.maxHoles {
            holes[holes.count - 1] = holes[holes.count - 1].lowerBound...hole.upperBound
        } else {
            holes.append(hole)
        }
    }

    /// For `resync`: the missing Seqs up to this one are fetched over REST.
    ///
    /// - Returns: the missing Seqs.
    mutating func skip(to seq: Int64) -> [ClosedRange<Int64>] {
        let wanted = holes + (seq > last ? [last + 1...seq] : [])
        holes = []
        last = max(last, seq)
        early = early.filter { $0 > last }
        return wanted
    }

    /// The Seq from which `resume` continues. Holes of a live socket are not filled: that would hide the loss.
    var resumePoint: Int64 { isResuming ? holes.first.map { $0.lowerBound - 1 } ?? last : last }
    var missing: Int { holes.reduce(0) { $0 + Int($1.upperBound - $1.lowerBound + 1) } }
    func lacks(_ seq: Int64) -> Bool { seq > last && !early.contains(seq) || holes.contains { $0.contains(seq) } }
}
