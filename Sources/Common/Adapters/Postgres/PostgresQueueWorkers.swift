public import ChatCore

public final class PostgresQueueWorkers: QueueWorkers {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    private static let living: SQL = """
        SELECT host, slot, worker, generation, lines, working, setting, prefix FROM queue_workers
        WHERE seen_at > clock_timestamp() - interval '10 seconds' AND seen_at < clock_timestamp() + interval '10 seconds'
        ORDER BY host, slot
        """

    public func report(_ own: QueueWorkerReport) throws(StoreError) -> (all: [QueueWorkerReport], ticket: Int64) {
        let answers = try query([
            """
            INSERT INTO queue_workers (host, slot, worker, generation, lines, working, setting, prefix,
                seen_at)
            VALUES (\(own.seat.host), \(.int4(Int32(clamping: own.seat.slot))), \(own.worker),
                \(.int4(Int32(clamping: own.generation))), \(own.lineText), \(own.workingText), \(own.setting),
                \(own.prefix), clock_timestamp())
            ON CONFLICT (host, slot) DO UPDATE SET worker = excluded.worker, generation = excluded.generation,
                lines = excluded.lines, working = excluded.working, setting = excluded.setting,
                prefix = excluded.prefix, seen_at = excluded.seen_at
            """,
            // Containers get a new host name at each restart; their old rows must not fill the table.
            """
            DELETE FROM queue_workers WHERE seen_at < clock_timestamp() - interval '1 hour'
                OR seen_at > clock_timestamp() + interval '1 hour'
            """,
            "SELECT nextval('queue_tickets')", Self.living,
        ])
        return (answers[3].map(QueueWorkerReport.init), answers[2][0].int8(0))
    }

    public func all() throws(StoreError) -> [QueueWorkerReport] {
        try query([Self.living])[0].map(QueueWorkerReport.init)
    }

    public func end(_ own: QueueWorkerReport) throws(StoreError) {
        _ = try query([
            """
            DELETE FROM queue_workers
            WHERE host = \(own.seat.host) AND slot = \(.int4(Int32(clamping: own.seat.slot))) AND worker = \(own.worker)
            """
        ])
    }

    private func query(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.repeatable(statements) } catch { throw StoreError(error) }
    }
}

extension QueueWorkerReport {
    fileprivate init(_ row: PGRow) {
        self.init(
            seat: QueueSeat(host: row.text(0), slot: row.int4(1)), worker: row.uuid(2), generation: row.int4(3),
            setting: row.text(6), prefix: row.text(7))
        for entry in row.text(4).split(separator: " ") {
            let parts = entry.split(separator: ":").compactMap { Int64($0) }
            if parts.count == 2, let queue = Int(exactly: parts[0]) { lines[queue] = parts[1] }
        }
        working = Set(row.text(5).split(separator: " ").compactMap { Int($0) })
    }

    fileprivate var lineText: String { lines.sorted { $0.key < $1.key }.map { "\($0):\($1)" }.joined(separator: " ") }
    fileprivate var workingText: String { working.sorted().map { "\($0)" }.joined(separator: " ") }
}
