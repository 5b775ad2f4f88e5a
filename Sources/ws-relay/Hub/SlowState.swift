import ChatCore

/// The state of a connection that is greeting, half-read or slow; an idle one has none.
final class SlowState {
    /// The request's head, until it is complete.
    var head: HeadReader?
    /// The request, while its ticket is looked up.
    var wish: Wish?
    /// Bytes that the client sent before its `welcome`: read only after it. At most a head's length and one chunk.
    var early: [UInt8] = []
    var parser: FrameParser?
    var outbox = Outbox()
    /// The rooms' positions at `welcome`, while their frames are held (``Hub/hold(_:)``).
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
