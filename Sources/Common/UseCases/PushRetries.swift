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
    static let mostOfUser = 40

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
        guard known || entries.count < Self.most && counts[entry.device.user, default: 0] < Self.mostOfUser else {
            return false
        }
        if !known { counts[entry.device.user, default: 0] += 1 }
        entries[place] = entry
        return true
    }

    /// Puts a push in the place of the one that waits for the same device and room; false: none waits.
    mutating func replace(by push: Push, to device: PushDevice) -> Bool {
        let place = Self.place(of: push, device)
        guard entries[place] != nil else { return false }
        entries[place]?.push = push
        entries[place]?.tries = 0
        return true
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

/// Senders and users that take too much of a worker's time, and until when nothing is sent to them.
///
/// A user who registers slow addresses gets a tenth of the worker's time at most.
struct PushRests {
    /// The service of a kind, or one user's own addresses.
    enum Lane: Hashable {
        case service(PushKind)
        case user(UUID128)

        init(of device: PushDevice) {
            self = device.kind == .webPush ? .user(device.user) : .service(device.kind)
        }
    }

    /// Milliseconds that a try may take without consequence, and the longest rest after one.
    private static let free: Int64 = 1000
    private static let longest: Int64 = 60_000
    private static let mostLanes = 10_000

    private var ends: [Lane: Int64] = [:]

    /// Unix milliseconds; nil: it does not rest.
    func end(of lane: Lane, at now: Int64) -> Int64? { ends[lane].flatMap { $0 > now ? $0 : nil } }

    mutating func tried(_ lane: Lane, took milliseconds: Int64, at now: Int64) {
        guard milliseconds >= Self.free else { return }
        rest(lane, until: now + min(milliseconds * 10, Self.longest), at: now)
    }

    mutating func rest(_ lane: Lane, until end: Int64, at now: Int64) {
        if ends.count >= Self.mostLanes { ends = ends.filter { $0.value > now } }
        guard ends.count < Self.mostLanes else { return }
        ends[lane] = max(ends[lane] ?? 0, end)
    }
}
