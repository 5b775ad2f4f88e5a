/// A generation of command queues: their number and the hash key. All programs agree on the newest one through
/// PostgreSQL.
public struct QueueLayout: Sendable, Hashable {
    /// From 1.
    public var generation: Int
    public var total: Int
    /// Hashes by sender instead of by room.
    public var byUser: Bool

    public init(generation: Int, total: Int, byUser: Bool) {
        self.generation = generation
        self.total = total
        self.byUser = byUser
    }

    /// The layout in the form of the settings, without the generation.
    public var setting: String { "\(total) by \(byUser ? "user" : "room")" }

    public func index(_ command: Command) -> Int {
        queueIndex(of: byUser ? command.actor : command.room, queues: total)
    }

    /// Packed into one word, so that a thread can read it while another changes it.
    public var packed: UInt64 { UInt64(generation) << 32 | UInt64(total) << 1 | (byUser ? 1 : 0) }

    public init(packed: UInt64) {
        self.init(
            generation: Int(packed >> 32), total: Int(packed & 0xffff_ffff) >> 1, byUser: packed & 1 == 1)
    }
}
