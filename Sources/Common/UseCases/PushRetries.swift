/// Pushes that wait for another try, beside the queue: a push service that is slow or refuses costs only its own pushes
/// their time. They are in memory; those of a worker that ends are given up.
///
/// A newer push of the same room takes the place of the one that waits, as it does in the push service and on the screen.
struct PushRetries {
    struct Entry: Equatable {
        var push: Push
        let device: PushDevice
        /// Unix milliseconds.
        var dueAt: Int64
        var tries: Int
    }

    /// Of all users, and of one user: one user cannot take all the room.
    static let most = 2000
    static let maxOfUser = 40

    private struct Place: Hashable {
        let user: UUID128
        let device: String
        let room: UUID128
    }

    private var entries: [Place: Entry] = [:]
    private var counts: [UUID128: Int] = [:]

    var count: Int { entries.count }

    /// False: there is no room for it.
    mutating func add(_ entry: Entry) -> Bool {
        let place = Self.place(of: entry.push, entry.device)
        let known = entries[place] != nil
        guard known || entries.count < Self.most && counts[entry.device.user, default: 0] < Self.maxOfUser else {
            return false
        }
        if !known { counts[entry.device.user, default: 0] += 1 }
        entries[place] = entry
        return true
    }

    /// The push that waits for the same device and room.
    func waiting(_ push: Push, _ device: PushDevice) -> Push? { entries[Self.place(of: push, device)]?.push }

    /// Puts a push in the place of the one that waits.
    mutating func replace(by push: Push, to device: PushDevice) {
        let place = Self.place(of: push, device)
        entries[place]?.push = push
        entries[place]?.tries = 0
    }

    mutating func cancel(_ push: Push, to device: PushDevice) { remove(Self.place(of: push, device)) }

    /// Takes out those that are due, the oldest first.
    mutating func take(_ limit: Int, at now: Int64) -> [Entry] {
        let due = entries.filter { $0.value.dueAt <= now }.sorted { $0.value.dueAt < $1.value.dueAt }.prefix(limit)
        for (place, _) in due { remove(place) }
        return due.map(\.value)
    }

    private mutating func remove(_ place: Place) {
        guard let entry = entries.removeValue(forKey: place) else { return }
        let left = counts[entry.device.user, default: 1] - 1
        counts[entry.device.user] = left > 0 ? left : nil
    }

    private static func place(of push: Push, _ device: PushDevice) -> Place {
        Place(user: device.user, device: device.id, room: push.room)
    }
}

/// Users, servers and services that take too much of a worker's time, and until when nothing is sent to them.
///
/// A user's own addresses get a tenth of the worker's time, beyond two seconds at once: many that are each a little slow
/// count as one that is very slow. A server that takes its time to fail rests for all of its users.
struct PushRests {
    enum Lane: Hashable {
        case service(PushKind)
        /// A user's own Web Push addresses.
        case user(UUID128)
        /// `https://host` of Web Push addresses.
        case server(String)
    }

    /// Milliseconds of a user's addresses at once, and the share of the time after it: one part of so many.
    private static let burst: Int64 = 2000
    private static let share: Int64 = 10
    /// Milliseconds after which a failure is a slow one, and of the longest rest after it.
    private static let slow: Int64 = 1000
    private static let longest: Int64 = 60_000
    /// Users of one service that it refuses one after the other, until it rests as a whole.
    private static let maxRefused = 3
    private static let maxLanes = 10_000

    private var ends: [Lane: Int64] = [:]
    /// Milliseconds of each user's addresses, as of a time.
    private var spent: [UUID128: (milliseconds: Int64, at: Int64)] = [:]
    private var refused: [PushKind: Set<UUID128>] = [:]

    /// Unix milliseconds; nil: nothing of the device rests.
    func end(of device: PushDevice, at now: Int64) -> Int64? {
        Self.lanes(of: device).compactMap { ends[$0] }.filter { $0 > now }.max()
    }

    /// After each try.
    mutating func tried(_ device: PushDevice, took milliseconds: Int64, _ outcome: PushOutcome, at now: Int64) {
        let took = max(0, milliseconds)
        guard device.kind == .webPush else { return note(outcome, of: device, took, at: now) }
        if case .failed = outcome, took >= Self.slow {
            for case .server(let origin) in Self.lanes(of: device) {
                rest(.server(origin), until: now + min(took * Self.share, Self.longest), at: now)
            }
        }
        makeRoom(at: now)
        let before = spent[device.user] ?? (0, now)
        let total = max(0, before.milliseconds - max(0, now - before.at) / Self.share) + took
        guard total > 0, spent.count < Self.maxLanes || spent[device.user] != nil else { return }
        spent[device.user] = (total, now)
        if total > Self.burst {
            rest(.user(device.user), until: now + min((total - Self.burst) * Self.share, Self.longest), at: now)
        }
    }

    /// A refusal is of one device. Only a service that refuses several users, and serves none between, rests.
    private mutating func note(_ outcome: PushOutcome, of device: PushDevice, _ took: Int64, at now: Int64) {
        var wait = took >= Self.slow ? min(took * Self.share, Self.longest) : 1000
        switch outcome {
        case .later(let seconds): wait = max(wait, min(Int64(max(seconds, 1)) * 1000, Self.longest))
        case .failed: break
        case .sent, .unregistered, .rejected:
            refused[device.kind] = nil
            return
        }
        refused[device.kind, default: []].insert(device.user)
        let isAway = refused[device.kind, default: []].count >= Self.maxRefused
        guard isAway || took >= Self.slow else { return }
        if isAway { refused[device.kind] = nil }
        rest(.service(device.kind), until: now + wait, at: now)
    }

    private mutating func rest(_ lane: Lane, until end: Int64, at now: Int64) {
        makeRoom(at: now)
        guard ends.count < Self.maxLanes else { return }
        ends[lane] = max(ends[lane] ?? 0, end)
    }

    private mutating func makeRoom(at now: Int64) {
        if ends.count >= Self.maxLanes { ends = ends.filter { $0.value > now } }
        if spent.count >= Self.maxLanes {
            spent = spent.filter { $0.value.milliseconds > max(0, now - $0.value.at) / Self.share }
        }
    }

    private static func lanes(of device: PushDevice) -> [Lane] {
        guard device.kind == .webPush else { return [.service(device.kind)] }
        let origin = (try? PushEndpoint(device.address, allowsLoopback: true))?.origin
        return [.user(device.user)] + (origin.map { [.server($0)] } ?? [])
    }
}
