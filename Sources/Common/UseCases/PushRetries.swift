/// Pushes that wait for another try, outside of the queue, so that a slow or refusing push service delays only its own
/// pushes. They are in memory: a worker that ends hands them on, a killed worker loses them.
///
/// A newer push of the same room replaces the waiting one, as it does in the push service and on the screen.
struct PushRetries {
    struct WaitingPush: Equatable {
        var push: Push
        let device: PushDevice
        /// Monotonic milliseconds.
        var dueAt: Int64
        var tries: Int
        /// The Seq of the oldest message that it represents: newer messages replaced that one, and may be deleted.
        var first: Int64

        init(push: Push, device: PushDevice, dueAt: Int64, tries: Int = 0, first: Int64? = nil) {
            self.push = push
            self.device = device
            self.dueAt = dueAt
            self.tries = tries
            self.first = first ?? push.message?.seq ?? 0
        }
    }

    /// For all users, and for one user, so that one user cannot fill the list.
    static let maxEntries = 2000
    static let maxOfUser = 40

    private struct Place: Hashable {
        let user: UUID128
        let device: String
        let room: UUID128
    }

    private var entries: [Place: WaitingPush] = [:]
    private var counts: [UUID128: Int] = [:]

    var count: Int { entries.count }

    /// False: there is no room for it.
    mutating func add(_ entry: WaitingPush) -> Bool {
        let place = Self.place(of: entry.push, entry.device)
        let known = entries[place] != nil
        guard known || entries.count < Self.maxEntries && counts[entry.device.user, default: 0] < Self.maxOfUser else {
            return false
        }
        if !known { counts[entry.device.user, default: 0] += 1 }
        entries[place] = entry
        return true
    }

    /// The one that waits for the same device and room.
    func waiting(_ push: Push, _ device: PushDevice) -> WaitingPush? { entries[Self.place(of: push, device)] }

    /// Replaces the waiting push.
    ///
    /// - Parameter first: the oldest message that the push represents, if it is not the push's own.
    mutating func replace(by push: Push, to device: PushDevice, first: Int64? = nil) {
        let place = Self.place(of: push, device)
        guard let entry = entries[place] else { return }
        entries[place] = WaitingPush(push: push, device: device, dueAt: entry.dueAt, first: first)
    }

    mutating func cancel(_ push: Push, to device: PushDevice) { remove(Self.place(of: push, device)) }

    /// Takes out those that are due: one of each user in turn, the oldest first; of the same age those of users for whom
    /// fewer wait, and those that were tried less. A user of many delays nobody else by them.
    mutating func take(_ limit: Int, at now: Int64) -> [WaitingPush] {
        let due = entries.filter { $0.value.dueAt <= now }
            .sorted { ($0.value.dueAt, $0.value.tries) < ($1.value.dueAt, $1.value.tries) }
        var taken: [UUID128: Int] = [:]
        let inTurns = due.map { place, entry -> (turn: Int, place: Place, entry: WaitingPush) in
            defer { taken[place.user, default: 0] += 1 }
            return (taken[place.user, default: 0], place, entry)
        }
        let first = inTurns.sorted { one, other in
            (one.turn, one.entry.dueAt, counts[one.place.user, default: 0], one.entry.tries)
                < (other.turn, other.entry.dueAt, counts[other.place.user, default: 0], other.entry.tries)
        }.prefix(limit)
        for (_, place, _) in first { remove(place) }
        return first.map(\.entry)
    }

    /// All of them.
    var all: [WaitingPush] { Array(entries.values) }

    private mutating func remove(_ place: Place) {
        guard let entry = entries.removeValue(forKey: place) else { return }
        let left = counts[entry.device.user, default: 1] - 1
        counts[entry.device.user] = left > 0 ? left : nil
    }

    private static func place(of push: Push, _ device: PushDevice) -> Place {
        Place(user: device.user, device: device.id, room: push.room)
    }
}
