import ChatCore

/// The state of a connection that is greeting, half-read or slow; an idle one has none.
final class SlowState {
    /// The request's head, until it is complete.
    var head: HeadReader?
    /// The request, while its ticket is looked up.
    var wish: Wish?
    /// Bytes that the client sent before its `welcome`; they are read only after it. At most a head's length and one
    /// chunk.
    var early: [UInt8] = []
    var parser: FrameParser?
    var outbox = Outbox()
    /// The rooms' positions at `welcome`, while their frames are held (``Holds``).
    var held: [Held] = []

    /// For a hold that began at a dead relay: the first held frame of each room.
    var passed: [UUID128: UInt64] = [:]

    /// Searched from the beginning: most users are in few rooms.
    struct Held {
        var room: UUID128
        var last: UInt64
    }

    var isNeeded: Bool {
        head != nil || wish != nil || !early.isEmpty || parser != nil || !outbox.isEmpty || !held.isEmpty
            || !passed.isEmpty
    }
}

/// The `SlowState` of each socket that has one.
final class SlowStates {
    private var states: [UInt32: SlowState] = [:]
    private let connections: ConnectionTable

    init(_ connections: ConnectionTable) { self.connections = connections }

    var count: Int { states.count }
    var slots: some Collection<UInt32> { states.keys }
    /// Waiting bytes of all sockets.
    var bytes: Int { states.values.reduce(0) { $0 + $1.outbox.bytes } }

    /// Nil: the socket is idle. The flag saves most sockets the look-up.
    @inline(__always)
    subscript(slot: UInt32) -> SlowState? { connections[slot].flags.contains(.slow) ? states[slot] : nil }

    /// The state of the socket; makes it if there is none.
    func state(_ slot: UInt32) -> SlowState {
        if let state = self[slot] { return state }
        let state = SlowState()
        set(state, slot)
        return state
    }

    func set(_ state: SlowState, _ slot: UInt32) {
        states[slot] = state
        connections.insert(.slow, slot)
    }

    func dropIfIdle(_ slot: UInt32) {
        guard let state = self[slot], !state.isNeeded else { return }
        states[slot] = nil
        connections.remove(.slow, slot)
    }

    /// Removes the state of a socket that is gone, with its flags.
    func forget(_ slot: UInt32) { states[slot] = nil }

    func hasUnwritten(_ slot: UInt32) -> Bool { !(self[slot]?.outbox.isEmpty ?? true) }

    /// Sockets whose first frame has waited too long.
    func overdue(now: UInt32, limits: Outbox.OutboxLimits) -> [UInt32] {
        states.filter { $0.value.outbox.isOverdue(now: now, limits: limits) }.map(\.key)
    }
}
