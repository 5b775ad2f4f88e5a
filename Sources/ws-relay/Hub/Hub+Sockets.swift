import ChatAdapters
import ChatCore
import Glibc

/// Accepts, reads and closes sockets.
extension Hub {
    /// Seconds that a request's head may take.
    static let greetingLimit: UInt32 = 10
    /// Seconds in which a client must read the close frame and close its side.
    static let closingLimit: UInt32 = 5

    // MARK: Coming

    func accepted(_ descriptor: Int32) {
        guard !isEnding, let slot = connections.open(descriptor) else {
            counters.refused += 1
            let answer = HTTPRefusal.unavailable(retryAfter: 5).answer(requestID: newID().description)
            _ = answer.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, sendFlags)
            }
            Glibc.close(descriptor)
            return
        }
        counters.accepted += 1
        connections[slot].flags.insert(.greeting)
        connections[slot].heard = now
        connections[slot].deadline = now &+ Self.greetingLimit
        slowState(slot).head = HeadReader()
        if !epoll.add(descriptor, .read, ticket: connections.ticket(slot)) { destroy(slot) }
    }

    func newID() -> UUID128 { UUID128.v7(at: unixMilliseconds) }

    // MARK: Reading

    func readable(_ slot: UInt32) {
        let ticket = connections.ticket(slot)
        connections[slot].flags.insert(.reading)
        take(slot)
        if connections.slot(ticket) == slot { connections[slot].flags.remove(.reading) }
    }

    private func take(_ slot: UInt32) {
        let got = recv(connections[slot].descriptor, input.baseAddress, input.count, sendFlags)
        guard got > 0 else {
            if got == 0 || (errno != EAGAIN && errno != EINTR) { destroy(slot) }
            return
        }
        connections[slot].heard = now
        if connections[slot].flags.contains(.probed) { showLife(slot) }
        connections[slot].flags.remove([.pinged, .probed])
        let chunk = UnsafeMutableRawBufferPointer(rebasing: input[..<got])
        if connections[slot].flags.contains(.closing) { return }
        if connections[slot].flags.contains(.greeting) { return greet(slot, UnsafeRawBufferPointer(chunk)) }
        if connections[slot].getsEvents { return close(slot, .policyViolation, "nothing is taken here: send by REST") }
        read(chunk, from: slot)
    }

    /// Reads frames of a welcomed client. A half-read one stays in the slot's state until more arrives.
    func read(_ chunk: UnsafeMutableRawBufferPointer, from slot: UInt32) {
        let ticket = connections.ticket(slot)
        var rest = chunk
        let inflates = connections[slot].flags.contains(.deflated)
        var parser = slowIfAny(slot)?.parser ?? FrameParser(maxMessage: settings.maxFrame, inflates: inflates)
        slowIfAny(slot)?.parser = nil
        while let event = parser.next(&rest) {
            handle(event, slot)
            guard connections.slot(ticket) == slot, !connections[slot].flags.contains(.closing) else { return }
        }
        guard !parser.isIdle else { return dropSlowStateIfIdle(slot) }
        slowState(slot).parser = parser
        connections[slot].heldSince = 0
    }

    private func handle(_ event: FrameParser.Event, _ slot: UInt32) {
        switch event {
        case .message(let isText, false, let payload): request(payload.withBytes(Array.init), isText: isText, slot)
        case .message(let isText, true, let payload): inflate(payload.withBytes(Array.init), isText: isText, slot)
        // Counted like requests; pings above the limit are not answered.
        case .ping(let payload):
            if isAdmitted(slot) { send(SharedFrame(.pong, payload.withBytes(Array.init)), to: slot) }
        case .pong: break
        case .close(let code):
            let echo = code.flatMap(CloseCode.init(rawValue:)) ?? .normal
            close(slot, echo, "")
        case .violation(let code): close(slot, code, "these frames break RFC 6455, or a limit")
        }
    }

    private func inflate(_ payload: [UInt8], isText: Bool, _ slot: UInt32) {
        switch deflate?.inflate(payload, most: settings.maxFrame) {
        case .message(let bytes):
            guard !isText || UTF8Check.isValid(bytes) else { return close(slot, .invalidText, "this is no UTF-8") }
            request(bytes, isText: isText, slot)
        case .tooBig: close(slot, .messageTooBig, "the message is larger than it may be once it is inflated")
        // Also unreadable: a message after a hand-over to a relay without compression.
        case .damaged, nil: close(slot, .invalidText, "the message cannot be inflated")
        }
    }

    // MARK: Going

    /// Ends a WebSocket: first the frames pushed before, then the close frame, then our half of the connection. From
    /// now on the socket does not count for its user.
    func close(_ slot: UInt32, _ code: CloseCode, _ reason: String) {
        guard !connections[slot].flags.contains(.closing) else { return }
        if connections[slot].getsEvents { return endEvents(slot, code, reason) }
        end(slot, with: SharedFrame(whole: FrameHeader.close(code, reason)))
    }

    /// Ends a connection that never became a WebSocket.
    func answer(_ slot: UInt32, _ bytes: [UInt8]) {
        slowIfAny(slot)?.head = nil
        end(slot, with: SharedFrame(whole: bytes))
    }

    func end(_ slot: UInt32, with last: SharedFrame) {
        guard !connections[slot].flags.contains(.closing) else { return }
        if let state = slowIfAny(slot) {
            (state.early, state.parser) = ([], nil)
            if !state.outbox.isEmpty {
                state.outbox.finish(with: last, now: now)
                // Frames of this tick would follow the close frame.
                writes.clear(slot, connections)
            } else {
                send(last, to: slot)
            }
        } else {
            send(last, to: slot)
        }
        connections[slot].flags.insert(.closing)
        connections[slot].flags.remove([.greeting, .welcomed, .readPaused])
        connections[slot].deadline = now &+ Self.closingLimit
        watchWrite(slot)
        watch(slot)
        leaving.append(slot)
        dropSlowStateIfIdle(slot)
    }

    /// Once everything is written, closes our half; the client then closes its half, which destroys the slot. (Closing
    /// at once, with unread bytes of the client, would make the kernel discard the close frame.)
    func finishIfClosing(_ slot: UInt32) {
        guard connections[slot].flags.contains(.closing), slowIfAny(slot)?.outbox.isEmpty ?? true else { return }
        if connections[slot].descriptor >= 0 { shutdown(connections[slot].descriptor, Int32(SHUT_WR)) }
    }

    /// The connection is gone, or gets no more time. It is only marked: its slot and its descriptor are freed at the
    /// end of the tick. A second call does nothing.
    func destroy(_ slot: UInt32) {
        writes.clear(slot, connections)
        guard connections.bury(slot) else { return }
        leaving.append(slot)
    }

    /// The end of a tick: the only place where sockets leave their users, and where slots and descriptors are freed.
    func reap() {
        for slot in leaving { leave(slot) }
        leaving.removeAll(keepingCapacity: leaving.count < 1024)
        connections.reap { slot, descriptor in
            slow[slot] = nil
            streams[slot] = nil
            // Another process may have a copy of the descriptor, and epoll would keep watching that.
            epoll.remove(descriptor)
            Glibc.close(descriptor)
        }
    }

    // MARK: epoll

    func watch(_ slot: UInt32) {
        guard connections[slot].descriptor >= 0 else { return }
        var interest: Epoll.Interest = connections[slot].flags.contains(.readPaused) ? [] : .read
        if connections[slot].flags.contains(.watchesWrite) { interest.insert(.write) }
        epoll.change(connections[slot].descriptor, interest, ticket: connections.ticket(slot))
    }

    /// Watches for writability only while something waits.
    func watchWrite(_ slot: UInt32) {
        let isNeeded = !(slowIfAny(slot)?.outbox.isEmpty ?? true)
        guard isNeeded != connections[slot].flags.contains(.watchesWrite) else { return }
        if isNeeded {
            connections[slot].flags.insert(.watchesWrite)
        } else {
            connections[slot].flags.remove(.watchesWrite)
        }
        watch(slot)
    }

    /// Handles an epoll event; a late one of an earlier connection finds no slot.
    func handle(_ event: Epoll.Event) {
        guard let slot = connections.slot(event.ticket) else { return }
        if event.isReadable, !connections[slot].flags.contains(.readPaused) {
            readable(slot)
        } else if event.isBroken {
            return destroy(slot)
        }
        if event.isWritable, connections.slot(event.ticket) == slot { writable(slot) }
    }
}
