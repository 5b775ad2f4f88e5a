import ChatCore
import Glibc

/// No signal when the peer is gone, and no blocking.
let sendFlags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)

/// The end of a tick: one write per socket, as long as it accepts the bytes.
extension Hub {
    var limits: Outbox.Limits {
        Outbox.Limits(bytes: settings.outboxBytes, seconds: UInt32(settings.outboxSeconds))
    }

    /// Changes only sockets and their outboxes: no user, no room, no list. A socket that is lost or closed here is
    /// removed at the end of the tick.
    func flush() {
        let number = memory.beginFlush()
        // Closing a slow socket pushes a close frame: hence the loop.
        while !writes.dirty.isEmpty {
            for slot in writes.takeDirty() where connections[slot].flags.contains(.dirty) {
                connections[slot].flags.insert(.writing)
                guard flush(slot) else { continue }
                connections[slot].flushed = number
                connections[slot].flags.remove(connections[slot].resumes == 0 ? [.fresh, .resuming] : .fresh)
                connections[slot].flags.remove(.writing)
            }
        }
        writes.endTick()
        memory.endFlush()
    }

    /// - Returns: false when the socket is gone.
    private func flush(_ slot: UInt32) -> Bool {
        var at = connections[slot].firstWrite
        writes.clear(slot, connections)
        if let state = slowIfAny(slot), !state.outbox.isEmpty {
            queue(from: at, taken: 0, slot)
            return true
        }
        while at != noIndex {
            let first = at
            let filled = join(&at)
            let sent = write(output.baseAddress!, filled, to: slot)
            guard sent >= 0 else { return false }
            guard sent == filled else {
                queue(from: first, taken: sent, slot)
                return true
            }
        }
        finishIfClosing(slot)
        return true
    }

    /// Joins frames until the buffer is full or the list ends. A frame that is larger than the buffer goes to the
    /// outbox.
    private func join(_ at: inout UInt32) -> Int {
        var filled = 0
        while at != noIndex {
            let frame = writes.frame(at: at)
            guard filled + frame.count <= Self.writeSize else {
                if filled == 0 { return Self.writeSize }
                break
            }
            frame.withBytes { (output.baseAddress! + filled).copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            filled += frame.count
            at = writes.next(after: at)
        }
        return filled
    }

    /// The number of bytes that the socket accepted; -1 when the socket is gone and destroyed.
    private func write(_ start: UnsafeRawPointer, _ count: Int, to slot: UInt32) -> Int {
        while true {
            let sent = Glibc.send(connections[slot].descriptor, start, count, sendFlags)
            counters.writes += 1
            if sent >= 0 {
                counters.bytesWritten += sent
                return sent
            }
            if errno == EINTR { continue }
            if errno == EAGAIN { return 0 }
            destroy(slot)
            return -1
        }
    }

    /// Queues what the socket did not accept: the frames from the entry on, of which `taken` bytes were written.
    private func queue(from entry: UInt32, taken: Int, _ slot: UInt32) {
        let state = slowState(slot)
        var at = entry
        var skip = taken
        while at != noIndex {
            let frame = writes.frame(at: at)
            at = writes.next(after: at)
            if skip >= frame.count {
                skip -= frame.count
            } else if skip > 0 {
                state.outbox.begin(frame, taken: skip, now: now)
                skip = 0
            } else if state.outbox.enqueue(frame, now: now, limits: limits) == .overflow {
                return closeSlow(slot, lost: frame)
            }
        }
        watchWrite(slot)
    }

    /// The socket accepts bytes again.
    func writable(_ slot: UInt32) {
        guard let state = slowIfAny(slot) else { return }
        while !state.outbox.isEmpty {
            var filled = 0
            state.outbox.forEachPiece { piece in
                let count = min(piece.count, Self.writeSize - filled)
                (output.baseAddress! + filled).copyMemory(from: piece.baseAddress!, byteCount: count)
                filled += count
                return filled < Self.writeSize
            }
            let sent = write(output.baseAddress!, filled, to: slot)
            guard sent >= 0 else { return }
            state.outbox.took(sent)
            guard sent == filled else { return }
        }
        dropSlowStateIfIdle(slot)
        watchWrite(slot)
        finishIfClosing(slot)
        if connections[slot].resumes > 0 { resumes.goOn(connections.ticket(slot)) }
    }

    /// The client did not read for too long. Its socket is closed, with the Seq from which to resume.
    func closeSlow(_ slot: UInt32, lost: SharedFrame?) {
        counters.slowClosed += 1
        let first = slowIfAny(slot)?.outbox.firstUntouched ?? lost
        let place = first?.place.map { " \($0.room) \($0.seq - 1)" } ?? ""
        close(slot, .slowConsumer, "slow consumer; resume" + place)
    }

    // MARK: State of slow sockets

    func slowState(_ slot: UInt32) -> SlowState {
        if let state = slowIfAny(slot) { return state }
        let state = SlowState()
        connections[slot].flags.insert(.slow)
        slow[slot] = state
        return state
    }

    func dropSlowStateIfIdle(_ slot: UInt32) {
        guard let state = slowIfAny(slot), !state.isNeeded else { return }
        slow[slot] = nil
        connections[slot].flags.remove(.slow)
    }

    /// The flag saves most sockets the look-up.
    @inline(__always)
    func slowIfAny(_ slot: UInt32) -> SlowState? { connections[slot].flags.contains(.slow) ? slow[slot] : nil }
}
