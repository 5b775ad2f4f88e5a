import ChatCore
import ChatProcess

extension Hub {
    /// Ends this relay for good. It closes all sockets in any order over `WS_DRAIN_SECONDS`, so that not all clients
    /// reconnect to other relays at once.
    func endAll() {
        isEnding = true
        var open: [UInt64] = []
        connections.forEach { slot in
            let flags = connections[slot].flags
            if flags.contains(.greeting) { return destroy(slot) }
            if !flags.contains(.closing) { open.append(connections.ticket(slot)) }
        }
        drain = Drain(tickets: open.shuffled(), begun: milliseconds, lasts: Int64(settings.drainSeconds) * 1000)
        goOnEnding()
    }

    /// Call this often, until no socket is left.
    func goOnEnding() {
        for ticket in drain.due(at: milliseconds) {
            guard let slot = connections.slot(ticket) else { continue }
            close(slot, .goingAway, "this relay goes away; reconnect in \(Int.random(in: 1...5)) s")
        }
    }

    /// Once a second, for `status` and `/metrics`.
    func report(to row: ScoreboardRow) {
        let values = [
            connections.count, users.count, rooms.count, slow.count, counters.accepted, counters.refused,
            counters.requests, counters.deliveries, counters.writes, counters.bytesWritten, counters.slowClosed,
            counters.fetches, counters.typingDropped, counters.resumesRefused, counters.resumes, counters.reconnects,
            counters.resyncs, slow.values.reduce(0) { $0 + $1.outbox.bytes }, streams.count,
        ]
        for (index, value) in values.enumerated() { row.set(index, to: value) }
        row[.requests] = counters.requests
        row[.bytesOut] = counters.bytesWritten
        row.heartbeat()
    }

    /// In the order of `report`; the last two are not part of it.
    static let counterNames = [
        "connections", "users", "rooms", "slow_connections", "accepted_total", "refused_total", "requests_total",
        "deliveries_total", "writes_total", "bytes_written_total", "slow_closed_total", "fetches_total",
        "typing_dropped_total", "resumes_refused_total", "resumes_total", "reconnects_total", "resyncs_total",
        "outbox_bytes", "event_streams", "spans_exported_total", "spans_dropped_total",
    ]
    /// The exporter of traces reports these two itself.
    static let spansExported = counterNames.count - 2
    static let spansDropped = counterNames.count - 1
}
