public import ChatCore
import Logging

/// The users, their devices, the push marks and the push services in memory, with a clock. Used by one thread at a time;
/// the clock must be Sendable.
public final class PushWorld: PushAudience, PushMarks, PushSender, @unchecked Sendable {
    public var recipients: [PushRecipient] = []
    public var messages: [PushMessage] = []
    public var silenced: [SilencedMessage] = []
    public var answers: [String: [PushOutcome]] = [:]
    /// Milliseconds that a try takes, by the beginning of the device's id.
    public var slow: [String: Int64] = [:]
    public var sent: [String] = []
    public var told: [String] = []
    /// How each push ended.
    public var reported: [String] = []
    public var badges: [Int64] = []
    public var isAway = false
    public var isRefusing = false
    /// The store never answers for these.
    public var refusedRooms: Set<UUID128> = []
    /// The master says quit; in the middle of the next request.
    public var isStopped = false
    public var stopsInside = false
    /// In the middle of the request to this device.
    public var stopsAt: String?
    public var badge: Int64 = 9
    public var forgotten: [String] = []
    public var paused: [Int] = []
    public var now: Int64 = 1_000_000
    /// Called in the middle of each request.
    public var whileSending: () -> Void = {}
    /// The users of each probe.
    public private(set) var probed: [[UUID128]] = []
    /// By room.
    private var pushedTo: [UUID128: [UUID128: Int64]] = [:]
    /// Of the newest `offline`.
    public var counted: PushOffline.Counts { counts!() }
    private var counts: (() -> PushOffline.Counts)?

    public init() {}

    public func offline() -> PushOffline {
        offline { [self] in
            paused.append($0)
            return true
        }
    }

    /// - Parameter pause: waits this many milliseconds; false to stop.
    public func offline(pause: @escaping (Int) -> Bool) -> PushOffline {
        let offline = PushOffline(
            audience: self, marks: self, sender: self, clock: { [self] in now }, ticks: { [self] in now },
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, pause: pause,
            goesOn: { [self] in !isStopped },
            told: { [self] push, device, reason in reported.append("\(device.id) \(reason ?? "sent")") })
        counts = { offline.counts }
        return offline
    }

    public func recipients(of room: UUID128, at now: Int64) throws(StoreError) -> [PushRecipient] {
        if isAway { throw StoreError("away", isTransient: !isRefusing) }
        if refusedRooms.contains(room) { throw StoreError("refused", isTransient: false) }
        return recipients
    }
    public func newestMessages(of room: UUID128, through seq: Int64, limit: Int) throws(StoreError) -> [PushMessage] {
        Array(messages.filter { $0.seq <= seq }.prefix(limit))
    }
    public func silencedThreads(
        of users: [UUID128], in room: UUID128, among messages: [UUID128], at now: Int64
    ) throws(StoreError) -> [SilencedMessage] { silenced.filter { users.contains($0.user) } }
    public func badges(of users: [UUID128]) throws(StoreError) -> [UUID128: Int64] {
        Dictionary(uniqueKeysWithValues: users.map { ($0, badge) })
    }
    public func devices(of user: UUID128) throws(StoreError) -> [PushDevice] {
        recipients.filter { $0.user == user }.flatMap(\.devices)
    }
    public func forget(_ device: PushDevice) throws(StoreError) { forgotten.append(device.id) }

    public func probe(_ users: [UUID128]) throws(BusError) { probed.append(users) }
    public func signsOfLife(of users: [UUID128]) throws(BusError) -> [UUID128: Int64] { [:] }
    public func pushed(in room: UUID128, to users: [UUID128]) throws(BusError) -> [UUID128: Int64] {
        pushedTo[room, default: [:]]
    }
    public func note(pushed seq: Int64, in room: UUID128, to user: UUID128) throws(BusError) {
        pushedTo[room, default: [:]][user] = seq
    }
    public func clear(_ room: UUID128, of user: UUID128) throws(BusError) { pushedTo[room]?[user] = nil }
    public func note(_ step: TrailStep) throws(BusError) {}

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        badges.append(push.badge)
        whileSending()
        if stopsInside || stopsAt == device.id {
            isStopped = true
            return .failed("ended by the stop")
        }
        switch push.content {
        case .message(let message, _):
            sent.append("\(device.id) message \(message.seq)\(push.isLean ? " lean" : "") badge \(push.badge)")
            told.append(message.content)
        case .seen(let seq): sent.append("\(device.id) seen \(seq)")
        case .deleted(_, let seq): sent.append("\(device.id) deleted \(seq)")
        }
        now += slow[String(device.id.prefix(1))] ?? 0
        guard answers[device.id]?.isEmpty == false else { return .sent }
        return answers[device.id]!.removeFirst()
    }
}
