/// What a slow socket has not taken yet. Bounded in bytes and in time; what overflows costs that client its socket
/// and nobody else anything. It exists only while something waits.
struct Outbox {
    struct Limits: Sendable {
        var bytes: Int
        var seconds: UInt32
    }

    enum Verdict: Equatable {
        case queued
        /// Typing and presence are worth nothing late.
        case dropped
        case overflow
    }

    private struct Waiting {
        let frame: SharedFrame
        let since: UInt32
    }

    private var waiting: [Waiting] = []
    private var head = 0
    /// Bytes of the first frame that the socket has taken: it must be finished, whatever happens.
    private(set) var taken = 0
    private(set) var bytes = 0

    var isEmpty: Bool { head == waiting.count }
    var count: Int { waiting.count - head }

    /// The oldest frame that the socket has not begun to take, and would lose now.
    var firstUntouched: SharedFrame? {
        let at = taken > 0 ? head + 1 : head
        return at < waiting.count ? waiting[at].frame : nil
    }

    /// Takes the first frame of a write that stopped `taken` bytes into it: it counts, but is never refused.
    mutating func begin(_ frame: SharedFrame, taken: Int, now: UInt32) {
        precondition(isEmpty && taken < frame.count, "a write stops once")
        self.taken = taken
        append(frame, now)
        bytes -= taken
    }

    mutating func enqueue(_ frame: SharedFrame, now: UInt32, limits: Limits) -> Verdict {
        if frame.isEphemeral, !isEmpty { return .dropped }
        guard bytes + frame.count <= limits.bytes else { return .overflow }
        append(frame, now)
        return .queued
    }

    private mutating func append(_ frame: SharedFrame, _ now: UInt32) {
        waiting.append(Waiting(frame: frame, since: now))
        bytes += frame.count
    }

    /// Whether the first frame has waited too long.
    func isOverdue(now: UInt32, limits: Limits) -> Bool {
        !isEmpty && now &- waiting[head].since > limits.seconds
    }

    /// Keeps what the socket has begun to take, drops the rest, and ends with `frame`: a close.
    mutating func finish(with frame: SharedFrame, now: UInt32) {
        let begun = taken > 0 && !isEmpty ? waiting[head] : nil
        (waiting, head, bytes) = ([], 0, 0)
        if let begun {
            waiting.append(begun)
            bytes = begun.frame.count - taken
        } else {
            taken = 0
        }
        append(frame, now)
    }

    /// The frames that wait, in order, with the second since when.
    func forEachWaiting(_ body: (SharedFrame, UInt32) -> Void) {
        for item in waiting[head...] { body(item.frame, item.since) }
    }

    /// As another process had it; `taken` bytes of the first are gone.
    mutating func restore(_ frame: SharedFrame, since: UInt32, taken: Int) {
        if taken > 0 { self.taken = min(taken, frame.count) }
        append(frame, since)
        bytes -= taken
    }

    /// Calls `body` with what waits, piece by piece in order, until it returns false.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) -> Bool) {
        var skip = taken
        for item in waiting[head...] {
            let goesOn = item.frame.withBytes { body(UnsafeRawBufferPointer(rebasing: $0[skip...])) }
            skip = 0
            guard goesOn else { return }
        }
    }

    /// The socket took the first `count` bytes of the pieces.
    mutating func took(_ count: Int) {
        bytes -= count
        var left = count + taken
        while head < waiting.count, left >= waiting[head].frame.count {
            left -= waiting[head].frame.count
            head += 1
        }
        taken = left
        if head > 64, head * 2 > waiting.count {
            waiting.removeFirst(head)
            head = 0
        }
    }
}
