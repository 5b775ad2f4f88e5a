/// Users, servers and services that take too much of a worker's time, and until when nothing is sent to them.
///
/// Each lane is a leaky bucket: the time of its tries fills it, and it drains at its share of the passing time. Above
/// its mark it rests. The lanes are checked before each request. So in any period a lane gets at most its share of that
/// period, its mark, and the one request that began below the mark.
struct PushRests {
    enum Lane: Hashable {
        case service(PushKind)
        /// A user's own devices: many that are each a little slow count as one that is very slow.
        case user(UUID128)
        /// `https://host` of Web Push addresses. Only its slow tries count: it may serve everybody.
        case server(String)
        /// All slow tries of Web Push, since users can have many names and servers.
        case strangers

        /// Milliseconds that may be taken at once.
        var mark: Int64 {
            switch self {
            case .user: 2000
            case .strangers: 10_000
            case .service, .server: 0
            }
        }

        /// The lane drains by one part in this many of the passing time.
        var share: Int64 { self == .strangers ? 4 : 10 }
    }

    private struct Bucket {
        var milliseconds: Int64
        var at: Int64

        func level(_ share: Int64, at now: Int64) -> Int64 { max(0, milliseconds - max(0, now - at) / share) }
    }

    /// A try that takes at least this long is slow.
    private static let slow = Duration.seconds(1)
    /// The most time that one try counts for, and the longest rest for which a service may ask.
    private static let longest = Duration.seconds(60)
    /// Refusals for this many users in a row make the whole service rest.
    private static let maxRefused = 3
    /// For this time such users cause no other rest, and this many of them are remembered.
    private static let blame = Duration.seconds(3600)
    private static let maxBlamed = 1000
    private static let maxLanes = 10_000
    private static let maxQuick = 1000

    private var buckets: [Lane: Bucket] = [:]
    /// Services that asked us to wait, and until when.
    private var asked: [PushKind: Int64] = [:]
    private var refused: [PushKind: Set<UUID128>] = [:]
    /// Users whose refusals made a service rest, and until when they cause no other rest. The service may have asked
    /// for the wait only because of their devices.
    private var blamed: [PushKind: [UUID128: Int64]] = [:]
    /// Users whose tries failed slowly since the service's last success, and the time that the last of each took.
    private var slowly: [PushKind: [UUID128: Int64]] = [:]
    /// Servers, and their number of fast answers in a row.
    private var quick: [String: Int64] = [:]

    /// When something may be sent to the device again; nil: none of its lanes rests.
    func end(of device: PushDevice, at now: Int64) -> Int64? {
        var ends = [asked[device.kind] ?? now]
        for lane in Self.lanes(of: device) {
            ends.append(end(of: lane, at: now))
            if case .server(let origin) = lane, !isKnown(origin, at: now) { ends.append(end(of: .strangers, at: now)) }
        }
        return ends.max().flatMap { $0 > now ? $0 : nil }
    }

    private func end(of lane: Lane, at now: Int64) -> Int64 {
        guard let bucket = buckets[lane] else { return now }
        let above = bucket.level(lane.share, at: now) - lane.mark
        return above > 0 ? now + above * lane.share : now
    }

    /// Whether a server has given so many fast answers that it need not wait for the lane of strangers. The fuller that
    /// lane, the more fast answers are needed.
    private func isKnown(_ origin: String, at now: Int64) -> Bool {
        let level = buckets[.strangers]?.level(Lane.strangers.share, at: now) ?? 0
        return quick[origin, default: 0] >= level / 1000
    }

    /// After each try.
    mutating func tried(_ device: PushDevice, took milliseconds: Int64, _ outcome: PushOutcome, at now: Int64) {
        let took = min(max(0, milliseconds), Self.longest.milliseconds)
        makeRoom(at: now)
        for lane in Self.lanes(of: device) {
            switch lane {
            case .server(let origin): note(origin, took, at: now)
            // The servers of APNs and the gateway are not chosen by users: only slow tries count against a user.
            case .user: if device.kind == .webPush || took >= Self.slow.milliseconds { fill(lane, took, at: now) }
            case .service, .strangers: break
            }
        }
        if device.kind != .webPush { note(outcome, of: device, took, at: now) }
    }

    private mutating func note(_ origin: String, _ took: Int64, at now: Int64) {
        guard took >= Self.slow.milliseconds else {
            if quick.count >= Self.maxQuick, quick[origin] == nil { quick = quick.filter { $0.value > 100 } }
            if quick.count < Self.maxQuick || quick[origin] != nil { quick[origin, default: 0] += 1 }
            return
        }
        quick[origin] = nil
        fill(.server(origin), took, at: now)
        fill(.strangers, took, at: now)
    }

    /// A refusal concerns one device. A service rests only when it refuses several users without a success between
    /// them.
    private mutating func note(_ outcome: PushOutcome, of device: PushDevice, _ took: Int64, at now: Int64) {
        var wait: Int64 = 1000
        switch outcome {
        case .later(let seconds): wait = Int64(min(max(seconds, 1), Int(Self.longest.seconds))) * 1000
        case .failed: break
        case .sent, .unregistered, .rejected, .tooLarge:
            (refused[device.kind], slowly[device.kind]) = (nil, nil)
            return
        }
        if took >= Self.slow.milliseconds { noteSlow(device, took, at: now) }
        guard blamed[device.kind]?[device.user].map({ $0 > now }) != true else { return }
        refused[device.kind, default: []].insert(device.user)
        guard let users = refused[device.kind], users.count >= Self.maxRefused else { return }
        refused[device.kind] = nil
        var those = blamed[device.kind, default: [:]].filter { $0.value > now }
        if those.count >= Self.maxBlamed { those = [:] }
        for user in users { those[user] = now + Self.blame.milliseconds }
        blamed[device.kind] = those
        asked[device.kind] = max(asked[device.kind] ?? 0, now + wait)
    }

    /// Slow tries of one user count in that user's lane; slow tries of several users count for the service.
    private mutating func noteSlow(_ device: PushDevice, _ took: Int64, at now: Int64) {
        slowly[device.kind, default: [:]][device.user] = took
        guard let users = slowly[device.kind], users.count >= Self.maxRefused else { return }
        slowly[device.kind] = nil
        fill(.service(device.kind), users.values.reduce(0, +), at: now)
    }

    private mutating func fill(_ lane: Lane, _ took: Int64, at now: Int64) {
        let level = buckets[lane]?.level(lane.share, at: now) ?? 0
        guard level + took > 0, buckets.count < Self.maxLanes || buckets[lane] != nil else { return }
        buckets[lane] = Bucket(milliseconds: level + took, at: now)
    }

    /// Empty lanes are removed. A worker spends at most a second per second, and each lane drains by a tenth or a
    /// quarter of that, so only few lanes are above zero at a time.
    private mutating func makeRoom(at now: Int64) {
        guard buckets.count >= Self.maxLanes - 10 else { return }
        buckets = buckets.filter { $0.value.level($0.key.share, at: now) > 0 }
    }

    private static func lanes(of device: PushDevice) -> [Lane] {
        guard device.kind == .webPush else { return [.user(device.user), .service(device.kind)] }
        let origin = (try? PushEndpoint(device.address, allowsLoopback: true))?.origin
        return [.user(device.user)] + (origin.map { [.server($0)] } ?? [])
    }
}
