import ChatCore
import ChatProcess

extension Hub {
    /// This relay goes away for good: everybody is told, in this tick.
    func endAll() {
        isEnding = true
        connections.forEach { slot in
            let flags = connections[slot].flags
            if flags.contains(.greeting) { return destroy(slot) }
            if !flags.contains(.closing) { close(slot, .goingAway, "this relay goes away; connect again") }
        }
    }

    /// Once a second, for `status` and `/metrics`.
    func report(to row: ScoreboardRow) {
        let values = [
            connections.count, users.count, rooms.count, slow.count, counters.accepted, counters.refused,
            counters.requests, counters.deliveries, counters.writes, counters.bytesWritten, counters.slowClosed,
            counters.fetches,
        ]
        for (index, value) in values.enumerated() { row.set(index, to: value) }
        row[.requests] = counters.requests
        row[.bytesOut] = counters.bytesWritten
        row.heartbeat()
    }

    /// In the order of `report`.
    static let counterNames = [
        "connections", "users", "rooms", "slow_connections", "accepted_total", "refused_total", "requests_total",
        "deliveries_total", "writes_total", "bytes_written_total", "slow_closed_total", "fetches_total",
    ]
}
