public import Logging

/// Pushes a room's news to members whose sockets did not receive it.
///
/// A probe follows the frames on each socket. Any byte that the client sends afterwards proves that the probe, and so
/// the frames before it, arrived. The push marks stop duplicates (a job may be delivered again).
public final class PushOffline {
    public struct Counts: Sendable, Equatable {
        public var sent = 0
        /// Members without a push: they saw it, were pushed to already, wrote it, or do not want it.
        public var spared = 0
        public var failed = 0
        public var devicesForgotten = 0
    }

    /// A stop was requested during a wait; the next worker does the rest.
    public struct Stopped: Error, Sendable {}

    /// Tries of one push.
    private static let maxTries = 5
    /// Seconds of the longest wait: the broker takes back a message that stays unacknowledged for half an hour.
    private static let longestWait = 300
    /// Messages among which those are found that a user with wishes of their own gets.
    private static let maxMessages = 50
    /// Milliseconds that a message may have waited before it was stored.
    private static let slack: Int64 = 60_000
    /// Pushes that are tried again at a time: new ones need their turn too.
    private static let maxRetries = 20

    private let audience: any PushAudience
    private let marks: any PushMarks
    private let sender: any PushSender
    private let clock: Clock
    private let log: Logger
    /// Waits this many milliseconds; returns false to stop.
    private let pause: (Int) -> Bool
    private var retries = PushRetries()
    private var rests = PushRests()
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
        for room in rooms {
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
            room: room, recipients: recipients, since: since - Self.slack, at: clock(),
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
            for device in recipient.devices { try deliver(push, to: device) }
            try marks.note(pushed: message.seq, in: room, to: recipient.user)
            told[message.seq, default: 0] += Int64(counts.sent - sentBefore)
        }
        for (seq, devices) in told.sorted(by: { $0.key < $1.key }) where devices > 0 {
            try marks.note(.pushed(room: room, seq: seq, devices: devices, at: clock()))
        }
    }

    /// Removes notifications from the user's devices, if there can be any.
    public func clear(_ room: UUID128, of user: UUID128, through seq: Int64) throws {
        guard let last = try marks.pushed(in: room, to: [user])[user], last <= seq else { return }
        try marks.clear(room, of: user)
        let devices = try audience.devices(of: user)
        guard !devices.isEmpty else { return }
        let badge = try audience.badges(of: [user])[user, default: 0]
        for device in devices { try deliver(Push(room: room, content: .seen(seq: seq), badge: badge), to: device) }
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
            for device in recipient.devices { try deliver(push, to: device) }
        }
    }

    // MARK: Delivery

    /// FCM's wait is a wait for every push. A wait that another service asks for delays only the push that it refused.
    private func deliver(_ push: Push, to device: PushDevice) throws {
        if device.kind == .fcm { return try deliverInTurn(push, to: device) }
        if let waiting = retries.waiting(push, device) {
            guard push.supersedes(waiting) else { return }
            if !push.isMessage, !device.takesSilent { return retries.cancel(push, to: device) }
            return retries.replace(by: push, to: device)
        }
        guard push.isMessage || device.takesSilent else { return }
        try attempt(PushRetries.Entry(push: push, device: device, dueAt: clock(), tries: 0))
    }

    /// Tries those again whose time has come. Call this often.
    public func retryDue() throws {
        let due = retries.take(Self.maxRetries, at: clock())
        for (index, entry) in due.enumerated() {
            do {
                if let entry = try renewed(entry) { try attempt(entry) }
            } catch {
                // The store is away: they wait on.
                for entry in due[index...] { keep(entry, "\(error)") }
                throw error
            }
        }
    }

    /// The push as it is right by now: the user may have left, read, or logged out meanwhile, and the text may be
    /// another one. Nil: it is not wanted any more.
    private func renewed(_ entry: PushRetries.Entry) throws -> PushRetries.Entry? {
        var entry = entry
        guard case .message(let old, _) = entry.push.content else {
            return try audience.devices(of: entry.device.user).contains(entry.device) ? entry : nil
        }
        let room = entry.push.room
        let recipient = try audience.recipients(of: room, at: clock()).first { $0.user == entry.device.user }
        guard let recipient, recipient.wish != .nothing, recipient.lastSeenSeq < old.seq,
            recipient.devices.contains(entry.device),
            let message = try audience.newestMessages(of: room, through: old.seq, limit: 1).first, message.id == old.id
        else { return nil }
        let unread = max(1, recipient.unread)
        entry.push.content = .message(message, unread: unread)
        entry.push.badge = max(unread, entry.push.badge)
        return entry
    }

    private func attempt(_ entry: PushRetries.Entry) throws {
        var entry = entry
        let begun = clock()
        if let end = rests.end(of: entry.device, at: begun) {
            entry.dueAt = end
            return keep(entry, "its turn did not come")
        }
        let outcome = sender.send(entry.push, to: entry.device)
        let now = clock()
        rests.tried(entry.device, took: now - begun, outcome, at: now)
        switch outcome {
        case .sent: counts.sent += 1
        case .unregistered: try forget(entry.device)
        case .rejected(let reason): giveUp(entry.push, reason)
        case .later(let seconds): again(entry, after: seconds, "told to wait", now)
        case .failed(let reason): again(entry, after: 1 << entry.tries, reason, now)
        }
    }

    private func again(
        _ entry: PushRetries.Entry, after seconds: Int, _ reason: String, _ now: Int64
    ) {
        var entry = entry
        entry.tries += 1
        guard entry.tries < Self.maxTries else { return giveUp(entry.push, reason) }
        entry.dueAt = now + Int64(min(max(seconds, 1), Self.longestWait)) * 1000
        keep(entry, reason)
    }

    private func keep(_ entry: PushRetries.Entry, _ reason: String) {
        if !retries.add(entry) { giveUp(entry.push, "too many wait for another try; \(reason)") }
    }

    private func deliverInTurn(_ push: Push, to device: PushDevice) throws {
        var problem = ""
        for attempt in 0..<Self.maxTries {
            switch sender.send(push, to: device) {
            case .sent:
                counts.sent += 1
                return
            case .unregistered: return try forget(device)
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

    private func forget(_ device: PushDevice) throws {
        try audience.forget(device)
        counts.devicesForgotten += 1
    }

    private func wait(_ seconds: Int) throws {
        guard pause(min(max(seconds, 1), Self.longestWait) * 1000) else { throw Stopped() }
    }

    private func giveUp(_ push: Push, _ reason: String) {
        counts.failed += 1
        log.warning("a push is given up", metadata: ["room": "\(push.room)", "reason": "\(reason)"])
    }
}
