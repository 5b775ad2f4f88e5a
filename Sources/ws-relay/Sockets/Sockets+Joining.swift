import ChatCore

/// A socket's steps from its greeting to `welcome`.
extension Sockets {
    /// From the upgrade to `welcome`.
    private static let joiningLimit: Duration = .seconds(10)

    /// Counts the socket for its client's address; false when that has reached its limit.
    func count(_ slot: UInt32, from forwarded: String?) -> Bool {
        guard let address = admission.count(peer: connections[slot].descriptor, forwarded: forwarded) else {
            return false
        }
        connections.row(slot).pointee.address = address
        return true
    }

    func uncount(_ slot: UInt32) {
        admission.uncount(address: connections[slot].address)
        connections.row(slot).pointee.address = 0
    }

    /// The request's ticket is being looked up; the client's bytes are not read until the answer.
    func awaitTicket(_ slot: UInt32, _ wish: Wish, early: [UInt8]) {
        let state = slow.state(slot)
        (state.head, state.early, state.wish) = (nil, early, wish)
        connections.insert(.readPaused, slot)
        watch(slot)
    }

    /// The request whose ticket was looked up; nil: its socket is gone.
    func takeWish(of handle: UInt64) -> (slot: UInt32, Wish, early: [UInt8])? {
        guard let slot = connections.slot(handle), let state = slow[slot], let wish = state.wish else { return nil }
        state.wish = nil
        return (slot, wish, state.early)
    }

    /// The request is granted: the socket gets its serial and the answer, and is not read until `welcome`.
    func open(_ slot: UInt32, _ wish: Wish, _ identity: Identity, early: [UInt8]) {
        let row = connections.row(slot)
        row.pointee.flags.remove(.greeting)
        row.pointee.flags.insert(.readPaused)
        row.pointee.serial = serial
        row.pointee.deadline = clock.second &+ UInt32(seconds: Self.joiningLimit)
        serial += 1
        note(identity, slot)
        switch wish {
        case .socket(let upgrade):
            if upgrade.subprotocol == .json { row.pointee.flags.insert(.json) }
            if upgrade.isDeflated { row.pointee.flags.insert(.deflated) }
            if upgrade.understandsMove { row.pointee.serial |= Connection.movesBit }
            send(SharedFrame(whole: upgrade.answer), to: slot)
        case .events(let request): beginEvents(request, slot)
        }
        register(slot)
        let state = slow.state(slot)
        (state.head, state.early) = (nil, early)
        slow.dropIfIdle(slot)
        watch(slot)
    }

    /// Keeps the token's end and the fields that a revocation names.
    func note(_ identity: Identity, _ slot: UInt32) {
        let row = connections.row(slot)
        row.pointee.expires = UInt32(clamping: identity.expiresAt)
        row.pointee.issued = identity.issuedAt ?? 0
        row.pointee.tokenID = identity.tokenID.map { fnv1a64($0.utf8) } ?? 0
    }

    /// Makes the timer check the socket in the next second, because one of its time limits has changed.
    func checkSoon(_ slot: UInt32) { connections.row(slot).pointee.deadline = clock.second }

    /// From now on the socket gets every frame of its rooms. False when it is closing, or welcomed already.
    func welcome(_ slot: UInt32) -> Bool {
        guard connections[slot].flags.isDisjoint(with: [.closing, .welcomed]) else { return false }
        connections.insert([.welcomed, .fresh], slot)
        connections.remove(.readPaused, slot)
        connections.row(slot).pointee.heard = clock.second
        checkSoon(slot)
        watch(slot)
        return true
    }

    /// The bytes that the client sent before its `welcome`.
    func takeEarly(_ slot: UInt32) -> [UInt8] {
        guard let state = slow[slot] else { return [] }
        defer { state.early = [] }
        return state.early
    }

    // MARK: Marks for a successor after a crash

    /// Frames of its rooms are held, since this mark of `RelayMemory`.
    func hold(_ slot: UInt32, since mark: UInt32) { connections.row(slot).pointee.heldSince = mark }

    /// Clears the mark: its `SlowState` has more than a hold, or frames of some room are not held.
    func unmarkHold(_ slot: UInt32) { connections.row(slot).pointee.heldSince = 0 }

    func beginResume(_ slot: UInt32) {
        connections.row(slot).pointee.resumes += 1
        connections.insert(.resuming, slot)
    }

    func endResume(_ slot: UInt32) { connections.row(slot).pointee.resumes -= 1 }
}
