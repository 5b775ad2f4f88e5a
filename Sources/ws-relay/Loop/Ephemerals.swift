import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import Logging

/// Publishes typing and presence, and maintains `presence:{user}`, on a thread of its own. All of it is best effort:
/// what does not fit is dropped.
///
/// `presence:{user}` is a hash: a field for each relay (its number) that holds sockets of the user, with the Unix
/// millisecond until which it is valid; and `seen`, the time at which the last socket closed. A user is online when a
/// field is in the future. Relays renew their fields every minute; the fields of a dead relay expire by themselves.
final class Ephemerals: EphemeralOutlet {
    enum Item: Sendable {
        case frame(RoomFrame, room: UUID128)
        case presence(Presence)
        case answer(RelayAnswer, relay: UInt64)
        case renewal([UUID128], at: Int64)
        /// The other inbox contains counts.
        case counts
        case life(UUID128, at: Int64)
        case connect(UUID128, at: Int64)
        case step(TrailStep)
        case beat

        var isStep: Bool { if case .step = self { true } else { false } }
    }

    private static let waiting = 10_000
    /// How long a relay's field is valid.
    static let lease: Duration = .seconds(150)
    /// How long steps of the trail gather when there is nothing else to send: no client waits for them.
    private static let gathering: Duration = .milliseconds(20)
    /// How long a sign of life is kept: longer than any push waits.
    private static let lifetime = Duration.seconds(900)

    private let inbox = BoundedInbox<Item>(limit: waiting)
    /// A separate inbox, so that typing cannot displace counts: one entry a second.
    private let counts = BoundedInbox<[RateCount]>(limit: 600)

    private let relayID: UInt64
    private let trailLength: Int
    private let hooks: Set<HookFamily>

    /// - Parameters:
    ///   - hooks: the events that the host application gets.
    ///   - answers: receives the users above a limit.
    init(
        redisURL: String, relayID: UInt64, trailLength: Int, hooks: Set<HookFamily> = [], limits: RateSettings,
        answers: BoundedInbox<Found>, log: Logger
    ) throws(RedisError) {
        self.relayID = relayID
        self.trailLength = trailLength
        self.hooks = hooks
        let (inbox, counts) = (inbox, counts)
        // From here on the thread's own.
        nonisolated(unsafe) let connection = try RedisConnection(url: redisURL)
        _ = startThread("ephemerals") {
            let publishing = Publishing(connection, relay: relayID, trailLength: trailLength, hooks: hooks)
            let limiter = RedisRateLimiter(connection, limits: limits, log: log)
            while var items = inbox.take(atMost: 256) {
                if items.allSatisfy(\.isStep) {
                    usleep(UInt32(Self.gathering.milliseconds * 1000))
                    items += inbox.drain()
                }
                for some in counts.drain() {
                    for found in Self.charge(some, limiter) { answers.putWaiting(found) }
                }
                do { try publishing.send(items) } catch {
                    log.debug("typing and presence are dropped", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    deinit { inbox.close() }

    private static func charge(_ counts: [RateCount], _ limiter: RedisRateLimiter) -> [Found] {
        let waits = limiter.charge(counts.map { ($0.kind, $0.user, $0.count) }, always: true)
        return zip(counts, waits).compactMap { count, wait in
            wait.map { .tooMany(count.kind, count.user, milliseconds: $0) }
        }
    }

    func publish(_ frame: RoomFrame, in room: UUID128) { _ = inbox.put(.frame(frame, room: room)) }
    func publish(_ answer: RelayAnswer, to relay: UInt64) { _ = inbox.put(.answer(answer, relay: relay)) }
    func note(_ presence: Presence) { _ = inbox.put(.presence(presence)) }
    func renew(_ users: [UUID128], at: Int64) { _ = inbox.put(.renewal(users, at: at)) }
    func charge(_ counts: [RateCount]) {
        _ = self.counts.put(counts)
        // When that one is full, the thread is already awake.
        _ = inbox.put(.counts)
    }
    func noteLife(of user: UUID128, at: Int64) { _ = inbox.put(.life(user, at: at)) }

    func noteConnect(of user: UUID128, at: Int64) {
        if hooks.contains(.connect) { _ = inbox.put(.connect(user, at: at)) }
    }

    func beat() { _ = inbox.put(.beat) }

    func noteDelivery(of room: UUID128, first: UInt64, last: UInt64, sockets: Int) {
        guard trailLength > 0 else { return }
        let step = TrailStep.delivered(
            relay: relayID, room: room, first: Int64(first), last: Int64(last), sockets: Int64(sockets),
            at: systemClock())
        _ = inbox.put(.step(step))
    }

    /// Publishes items and keeps `presence:{user}`; the thread's own.
    final class Publishing {
        private let connection: any RedisCommands
        private let relay: UInt64
        private let trailLength: Int
        private let hooks: Set<HookFamily>
        private var field: String { "\(relay)" }

        init(
            _ connection: any RedisCommands, relay: UInt64, trailLength: Int, hooks: Set<HookFamily> = []
        ) {
            self.connection = connection
            self.relay = relay
            self.trailLength = trailLength
            self.hooks = hooks
        }

        func send(_ items: [Item]) throws(RedisError) {
            var frames: [(RoomFrame, UUID128)] = []
            var steps: [TrailStep] = []
            var news: [UserNewsItem] = []
            for item in items {
                switch item {
                case .frame(let frame, let room): frames.append((frame, room))
                case .step(let step): steps.append(step)
                case .connect(let user, let at): news.append(UserNewsItem(user: user, kind: .connected, at: at))
                case .answer(let answer, let relay):
                    let channel = BusChannel.relay(relay)
                    try connection.command([[UInt8](word: "PUBLISH"), [UInt8](word: channel), answer.encode()])
                case .presence(let presence):
                    guard try note(presence) else { continue }
                    frames += presence.frames
                    if hooks.contains(.presence) { news.append(presence.news) }
                case .renewal(let users, let at): try renew(users, at)
                case .counts: break
                case .beat:
                    let words = ["SET", RedisKey.beat(relay), "1", "PX", "\(RedisKey.beatLifetime.milliseconds)"]
                    try connection.command(words.map { [UInt8](word: $0) })
                case .life(let user, let at):
                    let words = ["SET", RedisKey.alive(user), "\(at)", "EX", "\(Ephemerals.lifetime.seconds)"]
                    try connection.command(words.map { [UInt8](word: $0) })
                }
            }
            if !steps.isEmpty {
                _ = try connection.pipeline(steps.map { RedisTrail.words($0, length: trailLength) })
            }
            if !news.isEmpty { _ = try connection.pipeline(news.map { RedisUserNews.words($0) }) }
            guard !frames.isEmpty else { return }
            _ = try connection.pipeline(
                frames.map { frame, room in
                    [
                        [UInt8](word: "PUBLISH"), [UInt8](word: BusChannel.room(room)),
                        FrameChunk(room: room, frames: [frame]).encode(),
                    ]
                })
        }

        /// Whether the change is new: it is not while another relay has sockets of the user.
        private func note(_ presence: Presence) throws(RedisError) -> Bool {
            let key = RedisKey.presence(presence.user)
            let change =
                presence.isOnline
                ? [["HSET", key, field, "\(presence.at + lease.milliseconds)"], ["PEXPIRE", key, "2592000000"]]
                : [["HDEL", key, field], ["HSET", key, "seen", "\(presence.at)"]]
            let values = try connection.pipeline((change + [["HGETALL", key]]).map { $0.map { [UInt8](word: $0) } })
            let others = Self.pairs(values.last?.array ?? [])
                .filter { $0.key != field && $0.key != "seen" && (Int64($0.value) ?? 0) > presence.at }
            return others.isEmpty
        }

        private func renew(_ users: [UUID128], _ at: Int64) throws(RedisError) {
            _ = try connection.pipeline(
                users.map { user in
                    ["HSET", RedisKey.presence(user), field, "\(at + lease.milliseconds)"].map { [UInt8](word: $0) }
                })
        }

        private static func pairs(_ flat: [RedisValue]) -> [(key: String, value: String)] {
            let texts = flat.map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
            return stride(from: 0, to: texts.count - 1, by: 2).map { (texts[$0], texts[$0 + 1]) }
        }
    }
}

extension Presence {
    fileprivate var news: UserNewsItem { UserNewsItem(user: user, kind: isOnline ? .online : .offline, at: at) }

    fileprivate var frames: [(RoomFrame, UUID128)] {
        let mark = PresenceMark(userID: user, isOnline: isOnline, lastSeenAt: at)
        return rooms.map { (RoomFrame(mark, in: $0), $0) }
    }
}
