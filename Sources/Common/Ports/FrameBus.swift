/// How the writer tells relays what has happened.
public protocol FrameBus: AnyObject {
    /// Logs and publishes, in this order: rooms' logs, events of users, frames of rooms, answers to sockets.
    ///
    /// Guarantee: relays that are connected get it at most once; those that were not find it in the room's log, and
    /// those that trust no log in the store. Publishing the same again is harmless.
    func publish(_ notice: Notice) throws(BusError)
}

/// What one batch has to tell.
public struct Notice: Sendable {
    public var frames: [FrameChunk]
    public var userEvents: [(user: UUID128, event: UserEvent)]
    public var answers: [(relay: UInt64, answer: RelayAnswer)]
    /// Rooms whose logs hold content that must be gone.
    public var wiped: Set<UUID128>
    /// For the trail; nil: nobody wants it.
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

    public var isEmpty: Bool { frames.isEmpty && userEvents.isEmpty && answers.isEmpty && wiped.isEmpty }
}

public struct BusError: Error, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// The newest frames of each room, as long as they are kept.
public protocol RoomLog: AnyObject {
    /// The frames after `seq`, in order and without a gap from `seq + 1` on; empty when there are none, nil when the log
    /// begins later or has a hole: then the store must be asked.
    func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(BusError) -> [RoomFrame]?
}
