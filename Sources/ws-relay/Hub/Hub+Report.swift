import ChatProcess

extension Hub {
    /// Once a second, for `status` and `/metrics`.
    func report(to row: ScoreboardRow) {
        let (sent, asked, resumed) = (sockets.counters, requests.counters, resumes.counters)
        let values = [
            sockets.connections.count, users.count, table.count, sockets.slow.count, sent.accepted, sent.refused,
            asked.all, sent.deliveries, sockets.written.sends, sockets.written.bytes, sent.slowClosed,
            rooms.fetches, asked.typingDropped, resumed.refused, resumed.rooms, resumed.reconnects,
            resumed.resyncs, sockets.slow.bytes, sockets.streams.count,
            isDraining ? sockets.clients : 0, isDraining ? 1 : 0, moves.counters.moved, moves.counters.closed,
        ]
        for (index, value) in values.enumerated() { row.set(index, to: value) }
        row[.requests] = asked.all
        row[.bytesOut] = sockets.written.bytes
        row.heartbeat()
    }

    /// In the order of `report`; the last two are not part of it. `drain_left` is written before `draining`: the master
    /// believes it only then.
    static let counterNames = [
        "connections", "users", "rooms", "slow_connections", "accepted_total", "refused_total", "requests_total",
        "deliveries_total", "writes_total", "bytes_written_total", "slow_closed_total", "fetches_total",
        "typing_dropped_total", "resumes_refused_total", "resumes_total", "reconnects_total", "resyncs_total",
        "outbox_bytes", "event_streams", "drain_left", "draining", "moved_total", "drain_closed_total",
        "spans_exported_total", "spans_dropped_total",
    ]
    /// The exporter of traces reports these two itself.
    static let spansExported = counterNames.count - 2
    static let spansDropped = counterNames.count - 1
}
