import ChatCore

/// What a connection needs only while it is greeting, half-read or slow; an idle one has none.
final class SlowState {
    /// The head of the request, until it is whole.
    var head: HeadReader?
    /// What it asks for, while its ticket is looked up.
    var upgrade: Upgrade?
    /// What the client sent before its `welcome`: read only after it. At most a head's length and one chunk.
    var early: [UInt8] = []
    var parser: FrameParser?
    var outbox = Outbox()
    /// Where rooms stood at `welcome`, while their frames are held (``Hub/hold(_:)``).
    var held: [Held] = []

    /// Of a hold that began at a relay that is dead: the first frame of each room that went by.
    var passed: [UUID128: UInt64] = [:]

    /// Most users are in few rooms: looked through from the beginning.
    struct Held {
        var room: UUID128
        var last: UInt64
    }

    var isNeeded: Bool {
        head != nil || upgrade != nil || !early.isEmpty || parser != nil || !outbox.isEmpty || !held.isEmpty
            || !passed.isEmpty
    }
}
