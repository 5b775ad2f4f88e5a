public import ChatCore

public final class PostgresFileJobs: FileJobs {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func next(limit: Int) throws(StoreError) -> [Message] {
        try query(
            """
            SELECT \(unsafeSQL: Message.columns) FROM uploads u JOIN messages m ON m.id = u.message_id
            WHERE u.completed_at IS NOT NULL AND u.looked_at IS NULL
            ORDER BY u.completed_at LIMIT \(Int64(limit))
            """
        ).map { Message($0) }
    }

    public func done(_ message: UUID128) throws(StoreError) {
        _ = try query("UPDATE uploads SET looked_at = now() WHERE message_id = \(message)")
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
