public import Logging

/// Pushes a room's news to members whose sockets did not receive it.
///
/// A probe follows the frames on each socket. Any byte that the client sends afterwards proves that the probe, and so
/// the frames before it, arrived. The push marks stop duplicates (a job may be delivered again).
public final class PushOffline {
    public struct Counts: Sendable, Equatable {
        public var sent = 0
        /// Members without a push: they saw it, were pushed to already, or wrote it.
        public var spared = 0
        public var failed = 0
        public var devicesForgotten = 0
    }

    /// A stop was requested during a wait; the next worker does the rest.
    public struct Stopped: Error, Sendable {}

    /// Tries of one push.
    private static let mostTries = 5
    /// Seconds of the longest wait: the broker takes back a message that stays unacknowledged for half an hour.
    private static let longestWait = 300

    private let audience: any PushAudience
    private let marks: any PushMarks
    private let sender: any PushSender
    private let clock: Clock
    private let log: Logger
    /// Waits this many milliseconds; returns false to stop.
    private let pause: (Int) -> Bool
    public private(set) var counts = Counts()

    public init(
        audience: any PushAudience, marks: any PushMarks, sender: any PushSender, clock: @escaping Clock, log: Logger,
        pause: @escaping (Int) -> Bool
    ) {
        self.audience = audience
        self.marks = marks
        self.sender = sender
        self.clock = clock
        self.log = log
        self.pause = pause
    }

    /// Call this right after the messages were published: it asks for signs of life.
    public func probe(_ rooms: Set<UUID128>) throws {
        var users: Set<UUID128> = []
        for room in rooms { users.formUnion(try audience.recipients(of: room, at: clock()).map(\.user)) }
        if !users.isEmpty { try marks.probe(users.sorted()) }
    }

    /// Call this once the time for signs of life is over.
    ///
    /// - Parameter at: the time at which the newest of the messages was stored.
    public func push(_ room: UUID128, through seq: Int64, at: Int64) throws {
        let recipients = try audience.recipients(of: room, at: clock())
        guard !recipients.isEmpty, let message = try audience.newestMessage(of: room, through: seq) else { return }
        let users = recipients.map(\.user)
        let alive = try marks.signsOfLife(of: users)
        let pushed = try marks.pushed(in: room, to: users)
        let sentBefore = counts.sent
        for recipient in recipients {
            let user = recipient.user
            guard user != message.sender, recipient.lastSeenSeq < message.seq, pushed[user, default: 0] < message.seq,
                alive[user, default: 0] < at
            else {
                counts.spared += 1
                continue
            }
            let push = Push(room: room, content: .message(message, unread: max(1, recipient.unread)))
            for device in recipient.devices { try deliver(push, to: device) }
            try marks.note(pushed: message.seq, in: room, to: user)
        }
        let devices = Int64(counts.sent - sentBefore)
        if devices > 0 { try marks.note(.pushed(room: room, seq: message.seq, devices: devices, at: clock())) }
    }

    /// Removes notifications from the user's devices, if there can be any.
    public func clear(_ room: UUID128, of user: UUID128, through seq: Int64) throws {
        guard let last = try marks.pushed(in: room, to: [user])[user], last <= seq else { return }
        try marks.clear(room, of: user)
        for device in try audience.devices(of: user) {
            try deliver(Push(room: room, content: .seen(seq: seq)), to: device)
        }
    }

    /// Removes a deleted message from the devices of users who were pushed to since it was sent and have not seen it.
    /// Other users get nothing.
    public func takeBack(_ message: UUID128, in room: UUID128, at seq: Int64) throws {
        let recipients = try audience.recipients(of: room, at: clock()).filter { $0.lastSeenSeq < seq }
        guard !recipients.isEmpty else { return }
        let pushed = try marks.pushed(in: room, to: recipients.map(\.user))
        for recipient in recipients where pushed[recipient.user, default: 0] >= seq {
            for device in recipient.devices {
                try deliver(Push(room: room, content: .deleted(message: message, seq: seq)), to: device)
            }
        }
    }

    private func deliver(_ push: Push, to device: String) throws {
        var problem = ""
        for attempt in 0..<Self.mostTries {
            switch sender.send(push, to: device) {
            case .sent:
                counts.sent += 1
                return
            case .unregistered:
                try audience.forget(device: device)
                counts.devicesForgotten += 1
                return
            case .rejected(let reason): return giveUp(push, reason)
            case .later(let seconds):
                problem = "told to wait"
                try wait(seconds)
            case .failed(let reason):
                problem = reason
                try wait(1 << attempt)
            }
        }
        giveUp(push, problem)
    }

    private func wait(_ seconds: Int) throws {
        guard pause(min(max(seconds, 1), Self.longestWait) * 1000) else { throw Stopped() }
    }

    private func giveUp(_ push: Push, _ reason: String) {
        counts.failed += 1
        log.warning("a push is given up", metadata: ["room": "\(push.room)", "reason": "\(reason)"])
    }
}
