import ChatCore

/// The hold after `welcome`. A reconnected client now sends its positions (`resume`), and nothing newer of a room may
/// reach it before what it missed. So a fresh socket's frames are held until its first request, or for
/// `WS_RESUME_GRACE_MS`; then they are sent in order, as in a resume.
extension Hub {
    struct Hold {
        var ticket: UInt64
        /// Monotonic milliseconds.
        var until: Int64
    }

    func hold(_ slot: UInt32) {
        guard settings.resumeGrace > 0 else { return }
        let places = users[connections[slot].user].rooms.map { SlowState.Held(room: $0.id, last: $0.sequencer.last) }
        guard !places.isEmpty else { return }
        let state = slowState(slot)
        state.held = places
        if state.early.isEmpty { connections[slot].heldSince = memory.mark }
        holds.append(Hold(ticket: connections.ticket(slot), until: milliseconds + Int64(settings.resumeGrace)))
    }

    /// Continues a hold of a dead relay, which held these frames (the first of each room) and all later ones.
    func holdAgain(_ slot: UInt32, _ passed: [UUID128: UInt64]) {
        let state = slowState(slot)
        state.passed = passed
        state.held = users[connections[slot].user].rooms.map { room in
            .init(room: room.id, last: passed[room.id].map { $0 - 1 } ?? room.sequencer.last)
        }
        holds.append(Hold(ticket: connections.ticket(slot), until: milliseconds + Int64(settings.resumeGrace)))
        dropSlowStateIfIdle(slot)
    }

    /// Whether the room's frames wait for the end of the hold. (Nothing was missed in a room that was joined during
    /// it.)
    func isHeld(_ slot: UInt32, in room: TrackedRoom) -> Bool {
        slowIfAny(slot)?.held.contains { $0.room == room.id } == true
    }

    /// Ends the hold, if there is one, and returns each room's position at `welcome`.
    func takeHeld(_ slot: UInt32) -> [SlowState.Held] {
        guard let state = slowIfAny(slot), !state.held.isEmpty || !state.passed.isEmpty else { return [] }
        connections[slot].heldSince = 0
        defer { dropSlowStateIfIdle(slot) }
        defer { (state.held, state.passed) = ([], [:]) }
        return state.held
    }

    /// Ends the hold of one room.
    func takeHeld(_ room: UUID128, of slot: UInt32) -> UInt64? {
        guard let state = slowIfAny(slot), let place = state.held.firstIndex(where: { $0.room == room }) else {
            return nil
        }
        connections[slot].heldSince = 0
        defer { dropSlowStateIfIdle(slot) }
        return state.held.remove(at: place).last
    }

    func endHold(_ slot: UInt32) { deliver(held: takeHeld(slot), to: slot) }

    func deliver(held: [SlowState.Held], to slot: UInt32) {
        for place in held {
            guard let room = rooms[place.room], room.sequencer.last > place.last,
                room.members.contains(connections[slot].user)
            else { continue }
            beginResume(of: slot, in: room, after: place.last)
        }
    }

    /// Called every tick. All holds have the same length, so the oldest are due first.
    func endHolds() {
        let due = holds.prefix { $0.until <= milliseconds }
        holds.removeFirst(due.count)
        for hold in due { if let slot = connections.slot(hold.ticket) { endHold(slot) } }
    }

    /// Before the sockets go to a successor, which does not know about holds.
    func endAllHolds() {
        for hold in holds { if let slot = connections.slot(hold.ticket) { endHold(slot) } }
        holds = []
    }
}
