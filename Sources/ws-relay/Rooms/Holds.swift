import ChatCore

/// The holds after `welcome`. A reconnected client now sends its positions (`resume`), and must get the frames that it
/// missed in a room before newer ones. So a fresh socket's frames are held until its first request, or for
/// `WS_RESUME_GRACE_MS`; then they are sent in order, as in a resume.
final class Holds {
    private struct Hold {
        var handle: UInt64
        /// Monotonic milliseconds.
        var until: Int64
    }

    private let sockets: Sockets
    private let users: Users
    private let clock: TickClock
    /// Milliseconds; 0: nothing is held.
    private let grace: Int64
    /// Oldest first; all holds have the same length.
    private var holds: [Hold] = []

    init(_ sockets: Sockets, _ users: Users) {
        (self.sockets, self.users, clock) = (sockets, users, sockets.clock)
        grace = sockets.settings.resumeGrace.milliseconds
    }

    /// Monotonic milliseconds at which the oldest ends.
    var nextDue: Int64? { holds.first?.until }

    /// Begins a hold for a socket that was just welcomed.
    func begin(_ slot: UInt32) {
        guard grace > 0 else { return }
        let places = users[sockets[slot].user].rooms.map { SlowState.Held(room: $0.id, last: $0.sequencer.last) }
        guard !places.isEmpty else { return }
        let state = sockets.slow.state(slot)
        state.held = places
        if state.early.isEmpty { sockets.hold(slot, since: sockets.memory.mark) }
        add(slot)
    }

    /// Continues a hold of a dead relay, which held these frames (the first of each room) and all later ones.
    func goOn(_ slot: UInt32, _ passed: [UUID128: UInt64]) {
        let state = sockets.slow.state(slot)
        state.passed = passed
        state.held = users[sockets[slot].user].rooms.map { room in
            .init(room: room.id, last: passed[room.id].map { $0 - 1 } ?? room.sequencer.last)
        }
        add(slot)
        sockets.slow.dropIfIdle(slot)
    }

    private func add(_ slot: UInt32) {
        holds.append(Hold(handle: sockets.connections.handle(slot), until: clock.milliseconds + grace))
    }

    /// The dead relay held frames of a room that the user has left since: the socket gets them up to the frame of
    /// leaving.
    func extend(_ slot: UInt32, to room: UUID128) {
        guard let state = sockets.slow[slot], let first = state.passed[room] else { return }
        state.held.append(.init(room: room, last: first - 1))
    }

    /// Whether the room's frames wait for the end of the hold. (Nothing was missed in a room that was joined during
    /// it.)
    func contains(_ slot: UInt32, _ room: TrackedRoom) -> Bool {
        sockets.slow[slot]?.held.contains { $0.room == room.id } == true
    }

    /// Ends the socket's hold, if there is one, and returns each room's position at `welcome`.
    func take(_ slot: UInt32) -> [SlowState.Held] {
        guard let state = sockets.slow[slot], !state.held.isEmpty || !state.passed.isEmpty else { return [] }
        sockets.unmarkHold(slot)
        defer { sockets.slow.dropIfIdle(slot) }
        defer { (state.held, state.passed) = ([], [:]) }
        return state.held
    }

    /// Ends the hold of one room.
    func take(_ room: UUID128, of slot: UInt32) -> UInt64? {
        guard let state = sockets.slow[slot], let place = state.held.firstIndex(where: { $0.room == room }) else {
            return nil
        }
        sockets.unmarkHold(slot)
        defer { sockets.slow.dropIfIdle(slot) }
        return state.held.remove(at: place).last
    }

    /// The sockets whose holds are over.
    func takeDue() -> [UInt32] {
        let due = holds.prefix { $0.until <= clock.milliseconds }
        holds.removeFirst(due.count)
        return due.compactMap { sockets.connections.slot($0.handle) }
    }

    func takeAll() -> [UInt32] {
        defer { holds = [] }
        return holds.compactMap { sockets.connections.slot($0.handle) }
    }
}
