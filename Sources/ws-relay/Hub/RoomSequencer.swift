/// A frame with its place in a room's order.
protocol Sequenced {
    var seq: UInt64 { get }
}

/// Puts one room's frames in order and finds what is missing: no gaps, no duplicates, whatever Redis lost or repeated.
///
/// Frames that come early are held, bounded; the gap before them is fetched. What a fetch brings may be sparse: an
/// edit that a later one replaced is stored nowhere.
struct RoomSequencer<Frame: Sequenced> {
    enum Verdict: Equatable {
        /// It is next: `last` has moved on to it. Ask `nextHeld` afterwards.
        case deliver
        case duplicate
        case held
    }

    /// Early frames kept; beyond it they are dropped and fetched again with the rest of the gap.
    static var maxHeld: Int { 1024 }

    /// The newest frame delivered.
    private(set) var last: UInt64
    /// Early frames in order, without duplicates; there is a gap before the first.
    private(set) var held: [Frame] = []
    private(set) var isFetching = false

    init(last: UInt64) { self.last = last }

    /// Where the fetch that is due begins; nil when none is, or one is under way.
    var due: UInt64? { isFetching || held.isEmpty ? nil : last + 1 }

    mutating func receive(_ frame: Frame) -> Verdict {
        guard frame.seq > last else { return .duplicate }
        guard frame.seq > last + 1 else {
            last = frame.seq
            return .deliver
        }
        return hold(frame)
    }

    private mutating func hold(_ frame: Frame) -> Verdict {
        let place = held.lastIndex { $0.seq <= frame.seq }
        if let place, held[place].seq == frame.seq { return .duplicate }
        if held.count >= Self.maxHeld {
            // The one that proves the gap stays: without it nothing would ask for the others.
            held = [frame]
        } else {
            held.insert(frame, at: place.map { $0 + 1 } ?? 0)
        }
        return .held
    }

    /// The held frame that has become next, if one has.
    mutating func nextHeld() -> Frame? {
        while let first = held.first, first.seq <= last + 1 {
            held.removeFirst()
            guard first.seq > last else { continue }
            last = first.seq
            return first
        }
        return nil
    }

    /// A fetch from `last + 1` has been asked for.
    mutating func beginFetch() -> UInt64 {
        isFetching = true
        return last + 1
    }

    /// What a fetch brought, in order: the frames to deliver now. `through` says how far it looked, so that places
    /// that nothing is stored for are passed over.
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

    /// The fetch brought nothing: it is due again, when the caller thinks fit.
    mutating func fetchFailed() { isFetching = false }
}
