import Logging

/// Sends pushes to devices. The first try is part of the job; later ones wait in memory, outside of the queue.
final class PushDelivery {
    /// Tries of one push.
    private static let maxTries = 5
    /// The longest wait: the broker requeues a message that stays unacknowledged for half an hour.
    private static let longestWait = Duration.seconds(300)
    /// Pushes that are tried again in one turn, and the time after which no further one begins, so that new pushes are
    /// not delayed.
    private static let maxRetries = 20
    /// Due pushes that are examined in one turn; many of them may have to wait longer.
    private static let maxTaken = 500
    private static let turn = Duration.seconds(1)
    /// The time between two lines of the log about pushes that found no room to wait.
    private static let saying = Duration.seconds(10)

    private let audience: any PushAudience
    private let sender: any PushSender
    private let clock: Clock
    private let ticks: Clock
    private let log: Logger
    private let pause: (Int) -> Bool
    private let goesOn: () -> Bool
    /// Told of each push that was sent, or given up for a reason.
    private let told: (Push, PushDevice, String?) -> Void
    private var retries = PushRetries()
    private var rests = PushRests()
    private var saidFullAt: Int64
    var counts = PushOffline.Counts()

    init(
        audience: any PushAudience, sender: any PushSender, clock: @escaping Clock, ticks: @escaping Clock, log: Logger,
        pause: @escaping (Int) -> Bool, goesOn: @escaping () -> Bool,
        told: @escaping (Push, PushDevice, String?) -> Void = { _, _, _ in }
    ) {
        self.audience = audience
        self.sender = sender
        self.clock = clock
        self.ticks = ticks
        self.log = log
        self.pause = pause
        self.goesOn = goesOn
        self.told = told
        saidFullAt = ticks() - Self.saying.milliseconds
    }

    /// A wait that FCM asks for holds up every push. A wait that another service asks for delays only the refused push.
    func deliver(_ push: Push, to device: PushDevice) throws {
        if device.kind == .fcm { return try deliverInTurn(push, to: device) }
        if let waiting = retries.waiting(push, device) { return replace(waiting, by: push) }
        guard push.isMessage || device.takesSilent else { return }
        try attempt(PushRetries.WaitingPush(push: push, device: device, dueAt: ticks()))
    }

    private func replace(_ waiting: PushRetries.WaitingPush, by push: Push) {
        let device = waiting.device
        guard push.supersedes(waiting.push) else { return }
        // The waiting push replaced an older message, which must be pushed now: the next try finds it.
        if case .deleted(_, let seq) = push.content, waiting.push.isMessage, waiting.first < seq { return }
        if !push.isMessage, !device.takesSilent { return retries.cancel(push, to: device) }
        retries.replace(by: push, to: device, first: push.isMessage && waiting.push.isMessage ? waiting.first : nil)
    }

    // MARK: Further tries

    func retryDue() throws {
        let begun = ticks()
        let due = retries.take(Self.maxTaken, at: begun)
        var left = Self.maxRetries
        for (index, entry) in due.enumerated() {
            guard left > 0, ticks() < begun + Self.turn.milliseconds else {
                return due[index...].forEach { keep($0, "its turn did not come") }
            }
            if isResting(entry) { continue }
            left -= 1
            do {
                if let entry = try renewed(entry) { try attempt(entry) }
            } catch let error as StoreError where !error.isTransient {
                giveUp(entry.push, entry.device, "the store refuses it: \(error)")
            } catch {
                // The store is unavailable, or this worker ends: the pushes keep waiting.
                for entry in due[index...] { keep(entry, "\(error)") }
                throw error
            }
        }
    }

    /// The push as it is right by now: the user may have left, read, blocked, silenced or logged out meanwhile, and the
    /// text may be another one. Nil: it is not wanted any more.
    private func renewed(_ entry: PushRetries.WaitingPush) throws -> PushRetries.WaitingPush? {
        var entry = entry
        let (user, room) = (entry.device.user, entry.push.room)
        guard let old = entry.push.message else {
            guard try audience.devices(of: user).contains(entry.device) else { return nil }
            entry.push.badge = try audience.badges(of: [user])[user, default: 0]
            return entry
        }
        let recipient = try audience.recipients(of: room, at: clock()).first { $0.user == user }
        guard let recipient, recipient.devices.contains(entry.device),
            let choice = try PushChoice(
                room: room, recipients: [recipient], since: .min, at: clock(),
                messages: { try audience.newestMessages(of: room, through: old.seq, limit: $0) }, audience,
                maxMessages: PushOffline.maxMessages),
            let message = choice.message(for: recipient, after: max(recipient.lastSeenSeq, entry.first - 1))
        else { return nil }
        let unread = max(1, recipient.unread)
        entry.push.content = .message(message, unread: unread)
        entry.push.badge = max(unread, try audience.badges(of: [user])[user, default: 0])
        return entry
    }

    /// Also records a sign of life of the worker.
    func mayGoOn() throws { guard goesOn() else { throw PushOffline.Stopped() } }

    private func attempt(_ entry: PushRetries.WaitingPush) throws {
        try mayGoOn()
        if isResting(entry) { return }
        var entry = entry
        let begun = ticks()
        let outcome = try send(entry.push, to: entry.device)
        let now = ticks()
        rests.tried(entry.device, took: now - begun, outcome, at: now)
        switch outcome {
        case .sent: sent(entry.push, entry.device)
        case .unregistered: try forget(entry.device, entry.push)
        case .rejected(let reason): giveUp(entry.push, entry.device, reason)
        case .later(let seconds): again(entry, after: seconds, "told to wait", now)
        case .failed(let reason): again(entry, after: 1 << entry.tries, reason, now)
        case .tooLarge:
            guard !entry.push.isLean else { return giveUp(entry.push, entry.device, "it is too large") }
            entry.push.isLean = true
            try attempt(entry)
        }
    }

    /// Whether its turn has not come; then it waits.
    private func isResting(_ entry: PushRetries.WaitingPush) -> Bool {
        guard let end = rests.end(of: entry.device, at: ticks()) else { return false }
        var entry = entry
        entry.dueAt = end
        keep(entry, "its turn did not come")
        return true
    }

    /// A request that was cancelled by a stop has no result.
    private func send(_ push: Push, to device: PushDevice) throws -> PushOutcome {
        let outcome = sender.send(push, to: device)
        if case .failed = outcome, !goesOn() { throw PushOffline.Stopped() }
        return outcome
    }

    private func again(
        _ entry: PushRetries.WaitingPush, after seconds: Int, _ reason: String, _ now: Int64
    ) {
        var entry = entry
        entry.tries += 1
        guard entry.tries < Self.maxTries else { return giveUp(entry.push, entry.device, reason) }
        entry.dueAt = now + Int64(min(max(seconds, 1), Int(Self.longestWait.seconds))) * 1000
        keep(entry, reason)
    }

    private func keep(_ entry: PushRetries.WaitingPush, _ reason: String) {
        guard !retries.add(entry) else { return }
        let now = ticks()
        guard now >= saidFullAt + Self.saying.milliseconds else { return counts.failed += 1 }
        saidFullAt = now
        giveUp(entry.push, entry.device, "too many wait for another try, of all users or of this one; \(reason)")
    }

    // MARK: Handing over

    /// Keeps a push for another worker, because this one ends before the first try.
    func handOn(_ push: Push, to device: PushDevice) {
        if let waiting = retries.waiting(push, device) { return replace(waiting, by: push) }
        keep(PushRetries.WaitingPush(push: push, device: device, dueAt: ticks()), "this worker ends")
    }

    func handOver() -> [PushJob] {
        retries.all.compactMap { entry in
            guard let message = entry.push.message else { return nil }
            return .again(
                room: entry.push.room, user: entry.device.user, device: entry.device.id, first: entry.first,
                seq: message.seq)
        }
    }

    /// The text and the user's choices are read at the next try.
    func resume(_ job: PushJob) throws {
        guard case .again(let room, let user, let id, let first, let seq) = job,
            let device = try audience.devices(of: user).first(where: { areSameBytes($0.id, id) }), device.kind != .fcm
        else { return }
        let unknown = PushMessage(id: .zero, sender: .zero, seq: seq, contentType: .text, content: "", roomName: "")
        let push = Push(room: room, content: .message(unknown, unread: 1))
        guard let waiting = retries.waiting(push, device) else {
            return keep(
                PushRetries.WaitingPush(push: push, device: device, dueAt: ticks(), first: first), "handed over")
        }
        guard let newer = waiting.push.message else { return }
        retries.replace(
            by: newer.seq < seq ? push : waiting.push, to: device, first: min(first, waiting.first))
    }

    // MARK: FCM

    private func deliverInTurn(_ push: Push, to device: PushDevice) throws {
        var problem = ""
        for attempt in 0..<Self.maxTries {
            try mayGoOn()
            switch try send(push, to: device) {
            case .sent: return sent(push, device)
            case .unregistered: return try forget(device, push)
            case .rejected(let reason): return giveUp(push, device, reason)
            case .tooLarge: return giveUp(push, device, "it is too large")
            case .later(let seconds):
                problem = "told to wait"
                try wait(seconds)
            case .failed(let reason):
                problem = reason
                try wait(1 << attempt)
            }
        }
        giveUp(push, device, problem)
    }

    private func wait(_ seconds: Int) throws {
        guard pause(min(max(seconds, 1), Int(Self.longestWait.seconds)) * 1000) else { throw PushOffline.Stopped() }
    }

    // MARK: Ends

    private func sent(_ push: Push, _ device: PushDevice) {
        counts.sent += 1
        told(push, device, nil)
    }

    private func forget(_ device: PushDevice, _ push: Push) throws {
        try audience.forget(device)
        counts.devicesForgotten += 1
        told(push, device, "the device is not registered any more")
    }

    private func giveUp(_ push: Push, _ device: PushDevice, _ reason: String) {
        counts.failed += 1
        told(push, device, reason)
        log.warning("a push is given up", metadata: ["room": "\(push.room)", "reason": "\(reason)"])
    }
}
