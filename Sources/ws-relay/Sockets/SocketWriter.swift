import Glibc

/// No signal when the peer is gone, and no blocking.
let sendFlags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)

/// Writes the frames that a tick gathered: one write per socket, as long as the socket accepts the bytes. The rest
/// waits in its outbox. `Sockets` acts on the returned outcome, such as closing the socket.
final class SocketWriter {
    /// Bytes of one joined write.
    private static let size = 262_144

    enum WriteOutcome {
        /// Nothing is left.
        case written
        /// Bytes wait until the socket accepts more.
        case waits
        case gone
        /// Its outbox is full: this frame is lost.
        case overflow(SharedFrame)
    }

    private let connections: ConnectionTable
    private let slow: SlowStates
    private let writes: TickWrites
    private let clock: TickClock
    private let limits: Outbox.OutboxLimits
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 64)
    /// Calls of `send`, and the bytes that they took.
    private(set) var sends = 0
    private(set) var bytes = 0

    init(
        _ connections: ConnectionTable, _ slow: SlowStates, _ writes: TickWrites, _ clock: TickClock,
        limits: Outbox.OutboxLimits
    ) {
        self.connections = connections
        self.slow = slow
        self.writes = writes
        self.clock = clock
        self.limits = limits
    }

    deinit { output.deallocate() }

    /// Writes the tick's list of this socket.
    func write(_ slot: UInt32) -> WriteOutcome {
        var at = connections[slot].firstWrite
        writes.clear(slot, connections)
        if slow.hasUnwritten(slot) { return queue(from: at, taken: 0, slot) }
        while at != noIndex {
            let first = at
            let (sent, count) = writeNext(&at, to: slot)
            guard let sent else { return .gone }
            guard sent == count else { return queue(from: first, taken: sent, slot) }
        }
        return .written
    }

    /// Writes as many frames as the buffer takes, joined; a larger one is written from where it is.
    private func writeNext(_ at: inout UInt32, to slot: UInt32) -> (sent: Int?, of: Int) {
        let filled = join(&at)
        if filled > 0 { return (send(output.baseAddress!, filled, to: slot), filled) }
        let frame = writes.frame(at: at)
        at = writes.next(after: at)
        return (frame.withBytes { send($0.baseAddress!, $0.count, to: slot) }, frame.count)
    }

    /// Joins frames until the buffer is full or the list ends.
    private func join(_ at: inout UInt32) -> Int {
        var filled = 0
        while at != noIndex {
            let frame = writes.frame(at: at)
            guard filled + frame.count <= Self.size else { break }
            frame.withBytes { (output.baseAddress! + filled).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            filled += frame.count
            at = writes.next(after: at)
        }
        return filled
    }

    /// The number of bytes that the socket accepted; nil: it is gone.
    private func send(_ start: UnsafeRawPointer, _ count: Int, to slot: UInt32) -> Int? {
        while true {
            let sent = Glibc.send(connections[slot].descriptor, start, count, sendFlags)
            sends += 1
            if sent >= 0 {
                bytes += sent
                return sent
            }
            if errno == EINTR { continue }
            return errno == EAGAIN ? 0 : nil
        }
    }

    /// Queues what the socket did not accept: the frames from the entry on, of which `taken` bytes were written.
    private func queue(from entry: UInt32, taken: Int, _ slot: UInt32) -> WriteOutcome {
        let state = slow.state(slot)
        var at = entry
        var skip = taken
        while at != noIndex {
            let frame = writes.frame(at: at)
            at = writes.next(after: at)
            if skip >= frame.count {
                skip -= frame.count
            } else if skip > 0 {
                state.outbox.begin(frame, taken: skip, now: clock.second)
                skip = 0
            } else if state.outbox.enqueue(frame, now: clock.second, limits: limits) == .overflow {
                return .overflow(frame)
            }
        }
        return .waits
    }

    /// The socket accepts bytes again: writes what waits.
    func writeWaiting(_ slot: UInt32) -> WriteOutcome {
        guard let state = slow[slot] else { return .written }
        while !state.outbox.isEmpty {
            var filled = 0
            state.outbox.forEachPiece { piece in
                let count = min(piece.count, Self.size - filled)
                (output.baseAddress! + filled).copyMemory(from: piece.baseAddress!, byteCount: count)
                filled += count
                return filled < Self.size
            }
            guard let sent = send(output.baseAddress!, filled, to: slot) else { return .gone }
            state.outbox.took(sent)
            guard sent == filled else { return .waits }
        }
        return .written
    }
}
