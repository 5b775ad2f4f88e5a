/// A frame with its position in a room's order.
protocol Sequenced {
    var seq: UInt64 { get }
}

/// Orders one room's frames and finds gaps: no gaps, no duplicates, whatever Redis lost or repeated.
///
/// A bounded number of early frames is held while the gap before them is fetched. A fetch may return fewer frames than
/// Seqs: an edit that a later one replaced is stored nowhere.
struct RoomSequencer<Frame: Sequenced> {
    enum Arrival: Equatable {
        /// It is next: `last` now points to it. Call `nextHeld` afterwards.
        case deliver
        case duplicate
        case held
    }

    /// The most early frames; further ones are dropped and fetched again with the rest of the gap.
    static var maxHeld: Int { 1024 }

    /// The newest frame delivered.
    private(set) var last: UInt64
    /// Early frames in order, without duplicates; before the first there is a gap.
    private(set) var held: [Frame] = []
    private(set) var isFetching = false

    init(last: UInt64) { self.last = last }

    /// The beginning of the next fetch; nil when none is needed, or one is in progress.
    var due: UInt64? { isFetching || held.isEmpty ? nil : last + 1 }

    mutating func receive(_ frame: Frame) -> Arrival {
        guard frame.seq > last else { return .duplicate }
        guard frame.seq > last + 1 else {
            last = frame.seq
            return .deliver
        }
        return hold(frame)
    }

    private mutating func hold(_ frame: Frame) -> Arrival {
        let place = held.lastIndex { $0.seq <= frame.seq }
        if let place, held[place].seq == frame.seq { return .duplicate }
        if held.count >= Self.maxHeld {
            // Keep the frame that proves the gap: without it nothing would trigger a fetch.
            held = [frame]
        } else {
            held.insert(frame, at: place.map { $0 + 1 } ?? 0)
        }
        return .held
    }

    /// The held frame that is next now, if there is one.
    mutating func nextHeld() -> Frame? {
        while let first = held.first, first.seq <= last + 1 {
            held.removeFirst()
            guard first.seq > last else { continue }
            last = first.seq
            return first
        }
        return nil
    }

    /// A fetch from `last + 1` has started.
    mutating func beginFetch() -> UInt64 {
        isFetching = true
        return last + 1
    }

    /// Takes the result of a fetch, in order, and returns the frames to deliver now. `through` is the last Seq that the
    /// fetch covered, so that Seqs without a stored frame are skipped.
    mutating func fetched(_ frames: [Frame], through: UInt64) -> [Frame] {
        isFetching = false
        var next: [Frame] = []
        for frame in frames where frame.seq > last {
            last = frame.seq
            next.append(frame)
        }
        last = max(last, through)
        return next
    }

    /// The fetch failed: it is due again, when the caller decides.
    mutating func fetchFailed() { isFetching = false }
}
