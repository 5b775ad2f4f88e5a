/// The channel from the writer to the relays.
public protocol FrameBus: AnyObject {
    /// Records the marks of writes, then logs and publishes in this order: rooms' logs, events of users, frames of
    /// rooms, answers to sockets.
    ///
    /// Guarantee: a connected relay receives each frame at most once. A relay that was not connected finds it in the
    /// room's log or, if the log has gaps, in the store. Publishing the same again is harmless.
    func publish(_ notice: Notice) throws(BusError)
    /// Whether it would be published.
    func check() throws(BusError)
}

/// Everything that one batch publishes.
public struct Notice: Sendable {
    public var frames: [FrameChunk]
    public var userEvents: [(user: UUID128, event: UserEvent)]
    public var answers: [(relay: UInt64, answer: RelayAnswer)]
    /// Rooms whose logs contain content that must be removed.
    public var wiped: Set<UUID128>
    /// For readers of a replica; nil without a replica.
    public var written: Written?
    /// A step for the trail; nil when the trail is off.
    public var trail: TrailStep?

    public init(
        frames: [FrameChunk] = [], userEvents: [(user: UUID128, event: UserEvent)] = [],
        answers: [(relay: UInt64, answer: RelayAnswer)] = [], wiped: Set<UUID128> = []
    ) {
        self.frames = frames
        self.userEvents = userEvents
        self.answers = answers
        self.wiped = wiped
    }

    public var isEmpty: Bool {
        frames.isEmpty && userEvents.isEmpty && answers.isEmpty && wiped.isEmpty && written == nil
    }
}

public struct BusError: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
