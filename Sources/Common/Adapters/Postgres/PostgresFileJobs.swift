public import ChatCore

public final class PostgresFileJobs: FileJobs {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func next(after owner: UUID128, limit: Int) throws(StoreError) -> [Message] {
        // Jumps from owner to owner by the index, however many files one of them has waiting.
        try query(
            """
            WITH RECURSIVE owners AS (
                (SELECT owner, 1 AS turn FROM uploads
                    WHERE completed_at IS NOT NULL AND looked_at IS NULL AND owner > \(owner) ORDER BY owner LIMIT 1)
                UNION ALL
                SELECT (SELECT u.owner FROM uploads u
                    WHERE u.completed_at IS NOT NULL AND u.looked_at IS NULL AND u.owner > o.owner
                    ORDER BY u.owner LIMIT 1), o.turn + 1
                FROM owners o WHERE o.owner IS NOT NULL AND o.turn < \(Int64(limit))::integer
            )
            SELECT \(unsafeSQL: Message.columns) FROM owners o CROSS JOIN LATERAL (
                SELECT m.* FROM uploads u JOIN messages m ON m.id = u.message_id
                WHERE u.owner = o.owner AND u.completed_at IS NOT NULL AND u.looked_at IS NULL
                ORDER BY u.completed_at LIMIT 1
            ) m ORDER BY o.owner
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
