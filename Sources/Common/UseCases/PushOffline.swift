public import Logging

/// Pushes a room's news to members whose sockets did not receive it.
///
/// A probe follows the frames on each socket. Any byte that the client sends afterwards proves that the probe, and so
/// the frames before it, arrived. The push marks stop duplicates (a job may be delivered again).
public final class PushOffline {
    public struct Counts: Sendable, Equatable {
        public var sent = 0
        /// Members without a push: they saw the message, have a push already, wrote it, or do not want one.
        public var spared = 0
        public var failed = 0
        public var devicesForgotten = 0
    }

    /// A stop was requested; the next worker does the rest.
    public struct Stopped: Error, Sendable {}

    /// The newest messages of a room that are read to find one for a user with choices of their own.
    static let maxMessages = 50
    /// How long a message may have waited before it was stored.
    private static let slack = Duration.seconds(60)

    private let audience: any PushAudience
    private let marks: any PushMarks
    private let clock: Clock
    private let delivery: PushDelivery
    public private(set) var counts: Counts {
        get { delivery.counts }
        set { delivery.counts = newValue }
    }

    /// - Parameters:
    ///   - clock: Unix milliseconds; `ticks`: those of a clock that never jumps.
    ///   - pause: waits this many milliseconds; returns false to stop.
    ///   - goesOn: called before each request and about once a second; false to stop.
    public init(
        audience: any PushAudience, marks: any PushMarks, sender: any PushSender, clock: @escaping Clock,
        ticks: @escaping Clock = { monotonicMilliseconds() }, log: Logger, pause: @escaping (Int) -> Bool,
        goesOn: @escaping () -> Bool = { true },
        told: @escaping (Push, PushDevice, String?) -> Void = { _, _, _ in }
    ) {
        self.audience = audience
        self.marks = marks
        self.clock = clock
        delivery = PushDelivery(
            audience: audience, sender: sender, clock: clock, ticks: ticks, log: log, pause: pause, goesOn: goesOn,
            told: told)
    }

    /// Call this right after the messages were published: it asks for signs of life.
    public func probe(_ rooms: Set<UUID128>) throws {
        var users: Set<UUID128> = []
        for room in rooms {
            try delivery.mayGoOn()
            users.formUnion(try audience.recipients(of: room, at: clock()).filter { $0.wish != .nothing }.map(\.user))
        }
        if !users.isEmpty { try marks.probe(users.sorted()) }
    }

    /// Call this once the time for signs of life is over.
    ///
    /// - Parameters:
    ///   - since: the time at which the oldest of the messages was stored; `at`: the newest.
    public func push(_ room: UUID128, through seq: Int64, since: Int64, at: Int64) throws {
        let recipients = try audience.recipients(of: room, at: clock())
        let choice = try PushChoice(
            room: room, recipients: recipients, since: since - Self.slack.milliseconds, at: clock(),
            messages: { limit in try audience.newestMessages(of: room, through: seq, limit: limit) }, audience,
            maxMessages: Self.maxMessages)
        guard let choice else { return }
        let users = recipients.map(\.user)
        let alive = try marks.signsOfLife(of: users)
        let pushed = try marks.pushed(in: room, to: users)
        let wanted = recipients.compactMap { recipient -> (PushRecipient, PushMessage)? in
            guard alive[recipient.user, default: 0] < at else { return nil }
            let seen = max(recipient.lastSeenSeq, pushed[recipient.user, default: 0])
            return choice.message(for: recipient, after: seen).map { (recipient, $0) }
        }
        counts.spared += recipients.count - wanted.count
        guard !wanted.isEmpty else { return }
        let badges = try audience.badges(of: wanted.map(\.0.user))
        // Devices by message, for the trail.
        var told: [Int64: Int64] = [:]
        for (recipient, message) in wanted {
            let unread = max(1, recipient.unread)
            let push = Push(
                room: room, content: .message(message, unread: unread),
                badge: max(unread, badges[recipient.user, default: 0]))
            let sentBefore = counts.sent
            let stop = try deliver(push, to: recipient.devices)
            try marks.note(pushed: message.seq, in: room, to: recipient.user)
            if let stop { throw stop }
            told[message.seq, default: 0] += Int64(counts.sent - sentBefore)
        }
        for (seq, devices) in told.sorted(by: { $0.key < $1.key }) where devices > 0 {
            try marks.note(.pushed(room: room, seq: seq, devices: devices, at: clock()))
        }
    }

    /// When a stop comes after the first device, the other devices are handed on, since the repeated job leaves this
    /// user out.
    ///
    /// FCM's devices come first: their pushes are not handed on.
    ///
    /// - Returns: the stop, if the user has the push.
    private func deliver(_ push: Push, to devices: [PushDevice]) throws -> Stopped? {
        let devices = devices.filter { $0.kind == .fcm } + devices.filter { $0.kind != .fcm }
        for (index, device) in devices.enumerated() {
            do { try delivery.deliver(push, to: device) } catch let stop as Stopped {
                guard index > 0, device.kind != .fcm else { throw stop }
                devices[index...].forEach { delivery.handOn(push, to: $0) }
                return stop
            }
        }
        return nil
    }

    /// Removes notifications from the user's devices, if there can be any.
    public func clear(_ room: UUID128, of user: UUID128, through seq: Int64) throws {
        guard let last = try marks.pushed(in: room, to: [user])[user], last <= seq else { return }
        try marks.clear(room, of: user)
        let devices = try audience.devices(of: user)
        guard !devices.isEmpty else { return }
        let badge = try audience.badges(of: [user])[user, default: 0]
        for device in devices {
            try delivery.deliver(Push(room: room, content: .seen(seq: seq), badge: badge), to: device)
        }
    }

    /// Removes a deleted message from the devices of users who were pushed to since it was sent and have not seen it.
    /// Other users get nothing.
    public func takeBack(_ message: UUID128, in room: UUID128, at seq: Int64) throws {
        let recipients = try audience.recipients(of: room, at: clock()).filter { $0.lastSeenSeq < seq }
        guard !recipients.isEmpty else { return }
        let pushed = try marks.pushed(in: room, to: recipients.map(\.user))
        // The screen shows the newest message of a room; FCM's data may be shown one by one.
        let affected = recipients.compactMap { recipient -> PushRecipient? in
            var recipient = recipient
            let last = pushed[recipient.user, default: 0]
            guard last >= seq else { return nil }
            if last > seq { recipient.devices.removeAll { $0.kind != .fcm } }
            return recipient.devices.isEmpty ? nil : recipient
        }
        guard !affected.isEmpty else { return }
        let badges = try audience.badges(of: affected.map(\.user))
        for recipient in affected {
            let push = Push(
                room: room, content: .deleted(message: message, seq: seq), badge: badges[recipient.user, default: 0])
            for device in recipient.devices { try delivery.deliver(push, to: device) }
        }
    }

    // MARK: What waits

    /// Tries those again whose time has come, for a second. Call this often.
    public func retryDue() throws { try delivery.retryDue() }

    /// The messages that wait for another try, for another worker. Pushes that only remove a notification are left out.
    public func handOver() -> [PushJob] { delivery.handOver() }

    /// Takes over a push from another worker. Other jobs are ignored.
    public func resume(_ job: PushJob) throws { try delivery.resume(job) }
}
