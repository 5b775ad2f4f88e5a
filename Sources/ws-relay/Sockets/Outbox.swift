/// The unsent frames of a slow socket. It is bounded in bytes and in time; an overflow closes that client's socket and
/// affects nobody else. It exists only while something waits.
struct Outbox {
    struct OutboxLimits: Sendable {
        var bytes: Int
        var seconds: UInt32
    }

    enum Acceptance: Equatable {
        case queued
        /// Typing and presence are useless when late.
        case dropped
        case overflow
    }

    private struct Waiting {
        let frame: SharedFrame
        let since: UInt32
    }

    private var waiting: [Waiting] = []
    private var head = 0
    /// Bytes of the first frame that were sent: that frame must be completed in any case.
    private(set) var taken = 0
    private(set) var bytes = 0

    var isEmpty: Bool { head == waiting.count }
    var count: Int { waiting.count - head }

    /// The oldest frame of which no byte was sent: closing the socket now would lose it.
    var firstUntouched: SharedFrame? {
        let at = taken > 0 ? head + 1 : head
        return at < waiting.count ? waiting[at].frame : nil
    }

    /// Adds the first frame of a write that stopped after `taken` bytes: it counts, but is never refused.
    mutating func begin(_ frame: SharedFrame, taken: Int, now: UInt32) {
        precondition(isEmpty && taken < frame.count, "a write stops once")
        self.taken = taken
        append(frame, now)
        bytes -= taken
    }

    mutating func enqueue(_ frame: SharedFrame, now: UInt32, limits: OutboxLimits) -> Acceptance {
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
    func isOverdue(now: UInt32, limits: OutboxLimits) -> Bool {
        !isEmpty && now &- waiting[head].since > limits.seconds
    }

    /// Keeps the partly sent frame, drops the rest, and appends the close frame.
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

    /// Visits the waiting frames in order, each with the second since which it waits.
    func forEachWaiting(_ body: (SharedFrame, UInt32) -> Void) {
        for item in waiting[head...] { body(item.frame, item.since) }
    }

    /// Restores a frame from another process; `taken` bytes of the first one were sent.
    mutating func restore(_ frame: SharedFrame, since: UInt32, taken: Int) {
        if taken > 0 { self.taken = min(taken, frame.count) }
        append(frame, since)
        bytes -= taken
    }

    /// Calls `body` with the waiting bytes, piece by piece in order, until it returns false.
    func forEachPiece(_ body: (UnsafeRawBufferPointer) -> Bool) {
        var skip = taken
        for item in waiting[head...] {
            let goesOn = item.frame.withBytes { body(UnsafeRawBufferPointer(rebasing: $0[skip...])) }
            skip = 0
            guard goesOn else { return }
        }
    }

    /// The socket accepted the first `count` bytes of the pieces.
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
