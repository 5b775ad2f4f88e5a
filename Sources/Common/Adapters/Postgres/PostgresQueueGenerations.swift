public import ChatCore

public final class PostgresQueueGenerations: QueueGenerations {
    /// For one statement. It is short because consumers wait for it.
    public static let timeout = Duration.seconds(2)
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Reads the newest generation on a connection of its own. Senders need it once for each broker connection and must
    /// not wait long for it. Nil when it cannot be read.
    public static func lookUp(_ settings: DatabaseSettings) -> QueueLayout? {
        let connection = PostgresConnection(
            settings, applicationName: "queues", statementTimeout: Self.timeout)
        return try? PostgresQueueGenerations(connection).newest()
    }

    public func newest() throws(StoreError) -> QueueLayout? {
        try query(
            "SELECT generation, total, by_user FROM queue_generations ORDER BY generation DESC LIMIT 1"
        ).first.map(QueueLayout.init)
    }

    public func all() throws(StoreError) -> [QueueGeneration] {
        try query(
            """
            SELECT generation, total, by_user, setting, closed_at IS NOT NULL, drained_at IS NOT NULL,
                coalesce(drained_at < now() - interval '1 minute', false)
            FROM queue_generations WHERE removed_at IS NULL ORDER BY generation
            """
        ).map { row in
            QueueGeneration(
                layout: QueueLayout(row), setting: row.text(3), isClosed: row.bool(4), isDrained: row.bool(5),
                isForgotten: row.bool(6))
        }
    }

    public func begin(_ layout: QueueLayout, setting: String) throws(StoreError) {
        _ = try query(
            """
            INSERT INTO queue_generations (generation, total, by_user, setting)
            VALUES (\(.int4(Int32(layout.generation))), \(.int4(Int32(layout.total))), \(.bool(layout.byUser)),
                \(setting))
            ON CONFLICT DO NOTHING
            """)
    }

    public func adopt(_ setting: String, for generation: Int) throws(StoreError) {
        _ = try query(
            "UPDATE queue_generations SET setting = \(setting) WHERE generation = \(.int4(Int32(generation)))")
    }

    public func close(_ generation: Int) throws(StoreError) {
        _ = try query(
            """
            UPDATE queue_generations SET closed_at = now()
            WHERE generation = \(.int4(Int32(generation))) AND closed_at IS NULL
            """)
    }

    /// Two statements: when two queues end at once, each sees its own end, and the later one sees both.
    public func end(queue: Int, of generation: Int) throws(StoreError) {
        let number = PGValue.int4(Int32(generation))
        _ = try query(
            """
            INSERT INTO queue_ends (generation, queue) VALUES (\(number), \(.int4(Int32(queue))))
            ON CONFLICT DO NOTHING
            """)
        _ = try query(
            """
            UPDATE queue_generations g SET drained_at = now() WHERE g.generation = \(number) AND g.drained_at IS NULL
                AND g.total = (SELECT count(*) FROM queue_ends e WHERE e.generation = g.generation)
            """)
    }

    public func remove(_ generation: Int) throws(StoreError) {
        _ = try query(
            "UPDATE queue_generations SET removed_at = now() WHERE generation = \(.int4(Int32(generation)))")
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}

extension QueueLayout {
    fileprivate init(_ row: PGRow) {
        self.init(generation: row.int4(0), total: row.int4(1), byUser: row.bool(2))
    }
}
