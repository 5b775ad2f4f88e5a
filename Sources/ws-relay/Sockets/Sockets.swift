import ChatAdapters
import ChatCore
import Glibc

/// The sockets of this relay: accepts, writes to and closes them, and knows nothing of users and rooms. Data from a
/// client is returned to the caller; data for a client leaves at the end of the tick, in one write (`flush`).
///
/// A socket's stages (flags of its `Connection`):
///
///     accepted ──> greeting ──> joining ──> welcomed ──> closing ──> buried ──> free
///                  `greeting`   `readPaused` `welcomed`  `closing`   at the end of the tick
///
/// - greeting → joining: its head is complete and its token is valid (`open`). Before, a ticket may be looked up.
/// - joining → welcomed: its user is ready (`welcome`). From now on it gets every frame of its rooms.
/// - welcomed → closing: a close frame is queued (`close`). It no longer counts for its user, and gets five seconds.
/// - Any → closing: `close` or `answer`. Any → buried: `destroy`, when the connection is gone or its time is over.
/// - buried → free: `reap`, at the end of the tick, after it has left its user.
final class Sockets {
    /// The time in which a request's head must arrive.
    private static let greetingLimit: Duration = .seconds(10)
    /// The time in which a client must read the close frame and close its side.
    private static let closingLimit: Duration = .seconds(5)
    /// Bytes of one read.
    static let readSize = 65_536

    struct Counters {
        var accepted = 0
        var refused = 0
        var deliveries = 0
        var slowClosed = 0
    }

    let settings: RelaySettings
    let admission: Admission
    let clock: TickClock
    let memory: RelayMemory
    let epoll = Epoll()
    let connections: ConnectionTable
    let slow: SlowStates
    let streams: EventStreams
    let writes: TickWrites
    private let writer: SocketWriter
    /// nil: compression is not offered.
    private let deflate: Deflate?
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: readSize, alignment: 64)
    private let limits: Outbox.OutboxLimits
    private var serials: [UInt64: UInt32] = [:]
    /// Sockets that were closed or lost in this tick: they leave their users at its end.
    private var leaving: [UInt32] = []
    /// Descriptors that a successor has; they still have to be closed here.
    private var lettingGo: [Int32] = []
    private var drain = Drain()
    private(set) var counters = Counters()

    init(
        _ settings: RelaySettings, _ admission: Admission, _ clock: TickClock, _ memory: RelayMemory,
        writesPerTick: Int?
    ) {
        self.settings = settings
        self.admission = admission
        self.clock = clock
        self.memory = memory
        limits = Outbox.OutboxLimits(bytes: settings.outboxBytes, seconds: UInt32(settings.outboxTimeout.seconds))
        connections = ConnectionTable(memory)
        slow = SlowStates(connections)
        streams = EventStreams(memory)
        writes = TickWrites(connections: connections.capacity, capacity: writesPerTick)
        writer = SocketWriter(connections, slow, writes, clock, limits: limits)
        deflate = settings.deflate ? Deflate() : nil
    }

    deinit {
        connections.forEach { connections.bury($0) }
        connections.reap { _, descriptor in Glibc.close(descriptor) }
        input.deallocate()
    }

    subscript(slot: UInt32) -> Connection {
        @inline(__always) unsafeAddress { UnsafePointer(connections.row(slot)) }
    }

    var deflates: Bool { deflate != nil }
    /// Calls of `send`, and the bytes that they took.
    var written: (sends: Int, bytes: Int) { (writer.sends, writer.bytes) }

    // MARK: Serials

    /// The serial of the next socket; with the relay's id it is never reused.
    var serial: UInt64 {
        get { memory.header.pointee.serial }
        set { memory.header.pointee.serial = newValue }
    }

    func slot(ofSerial serial: UInt64) -> UInt32? { serials[serial] }
    func register(_ slot: UInt32) { serials[connections[slot].serial] = slot }
    func reserveSerials(_ count: Int) { serials.reserveCapacity(count) }
    var allSerials: [UInt64: UInt32] { serials }

    // MARK: Coming

    /// Closes the descriptor, with an answer, when the table is full or the relay is ending.
    func accepted(_ descriptor: Int32, isEnding: Bool) {
        guard !isEnding, let slot = connections.open(descriptor) else {
            counters.refused += 1
            let answer = HTTPRefusal.unavailable(retryAfter: 5).answer(requestID: clock.newID().description)
            _ = answer.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, sendFlags)
            }
            Glibc.close(descriptor)
            return
        }
        counters.accepted += 1
        let row = connections.row(slot)
        row.pointee.flags.insert(.greeting)
        row.pointee.heard = clock.second
        row.pointee.deadline = clock.second &+ UInt32(seconds: Self.greetingLimit)
        slow.state(slot).head = HeadReader()
        if !epoll.add(descriptor, .read, handle: connections.handle(slot)) { destroy(slot) }
    }

    /// Reads some bytes, and gives them to `body` unless the socket is closing.
    ///
    /// - Parameter body: its second argument is true if the first byte was an awaited sign of life.
    func receive(_ slot: UInt32, _ body: (UnsafeMutableRawBufferPointer, Bool) -> Void) {
        let handle = connections.handle(slot)
        connections.insert(.reading, slot)
        defer { if connections.slot(handle) == slot { connections.remove(.reading, slot) } }
        let got = recv(connections[slot].descriptor, input.baseAddress, input.count, sendFlags)
        guard got > 0 else {
            if got == 0 || (errno != EAGAIN && errno != EINTR) { destroy(slot) }
            return
        }
        let isAwaited = connections[slot].flags.contains(.probed)
        connections.row(slot).pointee.heard = clock.second
        connections.remove([.pinged, .probed], slot)
        body(UnsafeMutableRawBufferPointer(rebasing: input[..<got]), isAwaited)
    }

    // MARK: Sending

    /// The format of a socket's frames.
    func frames(for flags: Connection.Flags) -> ClientFrames {
        ClientFrames(isJSON: flags.contains(.json), deflate: flags.contains(.deflated) ? deflate : nil)
    }

    /// Sends a frame to one socket; does nothing when that is closing or gone.
    func send(_ frame: SharedFrame, to slot: UInt32) {
        guard !connections[slot].flags.contains(.closing) else { return }
        writes.push(writes.add(frame), to: slot, connections)
        counters.deliveries += 1
    }

    /// Deliveries that were pushed to `writes`.
    func count(deliveries: Int) { counters.deliveries += deliveries }

    func reply(_ body: FrameBody, _ kind: FrameKind = .response, sign: String? = nil, to slot: UInt32) {
        tell(body, kind, sign: sign, place: nil, to: slot)
    }

    /// The frame in the socket's own form.
    ///
    /// - Parameter epoch: the epoch of the place's room.
    func tell(
        _ body: FrameBody, _ kind: FrameKind, sign: String?, place: SharedFrame.Place?, epoch: Int64 = 1,
        to slot: UInt32
    ) {
        if connections[slot].getsEvents {
            tell(.event(body, kind, place: place), kind, epoch: epoch, to: slot)
        } else {
            send(frames(for: connections[slot].flags).make(body, kind, sign: sign, place: place), to: slot)
        }
    }

    func refuse(_ refusal: Refusal, sign: String?, to slot: UInt32) {
        reply(FrameBody(refusal), sign: sign, to: slot)
    }

    /// Ends a request that does not become a socket.
    func refuse(_ refusal: HTTPRefusal, _ slot: UInt32, _ headers: [String] = []) {
        counters.refused += 1
        answer(slot, refusal.answer(requestID: clock.newID().description, headers))
    }

    /// Sends a ping after everything that was written to the socket: an answer proves that all of it arrived.
    func probe(_ slot: UInt32) {
        guard connections[slot].flags.contains(.welcomed), !connections[slot].getsEvents else { return }
        connections.insert(.probed, slot)
        send(SharedFrame(.ping, []), to: slot)
    }

    func inflate(_ payload: [UInt8]) -> Deflate.Inflated? { deflate?.inflate(payload, most: settings.maxFrame) }

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
        slow[slot]?.head = nil
        end(slot, with: SharedFrame(whole: bytes))
    }

    func end(_ slot: UInt32, with last: SharedFrame) {
        guard !connections[slot].flags.contains(.closing) else { return }
        let state = slow[slot]
        state?.early = []
        state?.parser = nil
        if let state, !state.outbox.isEmpty {
            state.outbox.finish(with: last, now: clock.second)
            // Frames of this tick would follow the close frame.
            writes.clear(slot, connections)
        } else {
            send(last, to: slot)
        }
        connections.insert(.closing, slot)
        connections.remove([.greeting, .welcomed, .readPaused], slot)
        connections.row(slot).pointee.deadline = clock.second &+ UInt32(seconds: Self.closingLimit)
        watchWrite(slot)
        watch(slot)
        leaving.append(slot)
        slow.dropIfIdle(slot)
    }

    /// Once everything is written, closes our half; the client then closes its half, which destroys the slot. (Closing
    /// at once, with unread bytes of the client, would make the kernel discard the close frame.)
    private func finishIfClosing(_ slot: UInt32) {
        guard connections[slot].flags.contains(.closing), !slow.hasUnwritten(slot) else { return }
        if connections[slot].descriptor >= 0 { shutdown(connections[slot].descriptor, Int32(SHUT_WR)) }
    }

    /// The connection is lost, or its time is over. It is only marked: its slot and its descriptor are freed at the
    /// end of the tick. A second call does nothing.
    func destroy(_ slot: UInt32) {
        writes.clear(slot, connections)
        guard connections.bury(slot) else { return }
        leaving.append(slot)
    }

    /// The client did not read for too long. Its socket is closed, with the Seq from which to resume.
    func closeSlow(_ slot: UInt32, lost: SharedFrame?) {
        counters.slowClosed += 1
        let first = slow[slot]?.outbox.firstUntouched ?? lost
        let place = first?.place.map { " \($0.room) \($0.seq - 1)" } ?? ""
        close(slot, .slowConsumer, "slow consumer; resume" + place)
    }

    /// The end of a tick: the only place where sockets leave their users, and where slots and descriptors are freed.
    ///
    /// - Parameter leave: gets each socket that was closed or lost in this tick.
    func reap(_ leave: (UInt32) -> Void) {
        for slot in leaving {
            leave(slot)
            serials[connections[slot].serial] = nil
        }
        leaving.removeAll(keepingCapacity: leaving.count < 1024)
        connections.reap { slot, descriptor in
            forget(slot)
            // Another process may have a copy of the descriptor, and epoll would keep watching that.
            epoll.remove(descriptor)
            Glibc.close(descriptor)
        }
    }

    private func forget(_ slot: UInt32) {
        slow.forget(slot)
        streams.forget(slot)
    }

    // MARK: The end of a tick

    /// Changes only sockets and their outboxes: no user, no room, no list. A socket that is lost or closed here is
    /// removed at the end of the tick.
    func flush() {
        let number = memory.beginFlush()
        // A loop, because closing a slow socket pushes a close frame.
        while !writes.dirty.isEmpty {
            for slot in writes.takeDirty() where connections[slot].flags.contains(.dirty) {
                connections.insert(.writing, slot)
                guard finish(writer.write(slot), slot) else { continue }
                let row = connections.row(slot)
                row.pointee.flushed = number
                row.pointee.flags.remove(row.pointee.resumes == 0 ? [.fresh, .resuming] : .fresh)
                row.pointee.flags.remove(.writing)
            }
        }
        writes.endTick()
        memory.endFlush()
    }

    /// - Returns: false when the socket is gone.
    private func finish(_ outcome: SocketWriter.WriteOutcome, _ slot: UInt32) -> Bool {
        switch outcome {
        case .written: finishIfClosing(slot)
        case .waits: watchWrite(slot)
        case .overflow(let lost): closeSlow(slot, lost: lost)
        case .gone:
            destroy(slot)
            return false
        }
        return true
    }

    /// The socket accepts bytes again.
    ///
    /// - Returns: whether everything is written now.
    func writable(_ slot: UInt32) -> Bool {
        guard slow[slot] != nil else { return false }
        switch writer.writeWaiting(slot) {
        case .waits, .overflow: return false
        case .gone:
            destroy(slot)
            return false
        case .written:
            slow.dropIfIdle(slot)
            watchWrite(slot)
            finishIfClosing(slot)
            return true
        }
    }

    // MARK: epoll

    func watch(_ slot: UInt32) {
        guard connections[slot].descriptor >= 0 else { return }
        var interest: Epoll.Interest = connections[slot].flags.contains(.readPaused) ? [] : .read
        if connections[slot].flags.contains(.watchesWrite) { interest.insert(.write) }
        epoll.change(connections[slot].descriptor, interest, handle: connections.handle(slot))
    }

    /// Watches for writability only while something waits.
    func watchWrite(_ slot: UInt32) {
        let isNeeded = slow.hasUnwritten(slot)
        guard isNeeded != connections[slot].flags.contains(.watchesWrite) else { return }
        if isNeeded { connections.insert(.watchesWrite, slot) } else { connections.remove(.watchesWrite, slot) }
        watch(slot)
    }

    // MARK: The end

    /// Closes all sockets in any order over `WS_DRAIN_SECONDS`, so that not all clients reconnect to other relays at
    /// once.
    func endAll() {
        var open: [UInt64] = []
        connections.forEach { slot in
            let flags = connections[slot].flags
            if flags.contains(.greeting) { return destroy(slot) }
            if !flags.contains(.closing) { open.append(connections.handle(slot)) }
        }
        drain = Drain(
            handles: open.shuffled(), begun: clock.milliseconds, lasts: settings.drainTime.milliseconds)
        goOnEnding()
    }

    /// Call this often, until no socket is left.
    func goOnEnding() {
        for handle in drain.due(at: clock.milliseconds) {
            guard let slot = connections.slot(handle) else { continue }
            close(slot, .goingAway, "this relay goes away; reconnect in \(Int.random(in: 1...5)) s")
        }
    }

    /// A successor has these sockets. `goOnLettingGo` closes our copies, which clients do not notice.
    func letGo(_ slots: [UInt32]) {
        for slot in slots { connections.bury(slot) }
        connections.reap { slot, descriptor in
            forget(slot)
            lettingGo.append(descriptor)
        }
        serials = [:]
    }

    var isLettingGo: Bool { !lettingGo.isEmpty }

    /// Closes a few in each tick, because the successor needs the CPU.
    func goOnLettingGo() {
        for descriptor in lettingGo.suffix(256) {
            // The successor's copy keeps the file open, and epoll would keep watching it.
            epoll.remove(descriptor)
            Glibc.close(descriptor)
        }
        lettingGo.removeLast(min(256, lettingGo.count))
    }

    // MARK: Time

    /// Once a second: pings, expired tokens, and the limit of every wait.
    func everySecond() {
        for slot in 0..<UInt32(connections.used)
        where connections[slot].descriptor >= 0 && connections[slot].deadline.hasPassed(at: clock.second) { due(slot) }
        for slot in slow.overdue(now: clock.second, limits: limits)
        where !connections[slot].flags.contains(.closing) { closeSlow(slot, lost: nil) }
    }
}
