public import ChatCore

public final class PostgresUploadSweepRecords: UploadSweepRecords {
    private let connection: PostgresConnection
    /// The host is told of deleted files.
    private let hasHooks: Bool

    public init(_ connection: PostgresConnection, hasHooks: Bool = false) {
        self.connection = connection
        self.hasHooks = hasHooks
    }

    public func stale(before time: Int64, limit: Int) throws(StoreError) -> [Message] {
        try query(
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m
            WHERE \(unsafeSQL: Message.isUploading()) AND m.created_at < \(.time(time)) ORDER BY m.created_at LIMIT \(Int64(limit))
            """
        ).map { Message($0) }
    }

    public func removeEnded(before time: Int64) throws(StoreError) {
        _ = try query(
            """
            DELETE FROM messages m
            WHERE m.seq < 0 AND \(unsafeSQL: Message.isDeleted()) AND m.deleted_at < \(.time(time))
            """)
    }

    public func released(limit: Int) throws(StoreError) -> [UploadRecord] {
        // A file that another message still shows is released again together with that message.
        _ = try query(
            """
            UPDATE uploads u SET released_at = NULL WHERE u.released_at IS NOT NULL AND EXISTS (
                SELECT FROM messages m WHERE (m.id = u.message_id OR m.forwarded_from = u.message_id)
                AND m.deleted_at IS NULL)
            """)
        return try query(
            """
            SELECT u.message_id, u.upload_id, u.total, u.completed_at IS NOT NULL FROM uploads u
            WHERE u.released_at IS NOT NULL ORDER BY u.released_at LIMIT \(Int64(limit))
            """
        ).map { row in
            UploadRecord(
                message: row.uuid(0), upload: row.text(1), total: row.int4(2), isCompleted: row.bool(3))
        }
    }

    public func known(_ uploads: [String]) throws(StoreError) -> Set<String> {
        Set(try query("SELECT upload_id FROM uploads WHERE upload_id = ANY(\(.texts(uploads)))").map { $0.text(0) })
    }

    public func removeReleased(_ message: UUID128) throws(StoreError) {
        guard hasHooks else {
            _ = try query("DELETE FROM uploads WHERE message_id = \(message) AND released_at IS NOT NULL")
            return
        }
        let room = try query("SELECT room_id FROM messages WHERE id = \(message)").first?.uuid(0)
        let event = HookEvent.fileDeleted(message, room: room, at: systemClock())
        // A file that never was complete was never told of.
        _ = try query(
            """
            WITH gone AS (
                DELETE FROM uploads WHERE message_id = \(message) AND released_at IS NOT NULL
                RETURNING completed_at IS NOT NULL AS was_complete)
            INSERT INTO hook_events (room_id, seq, name, body)
            SELECT \(event.key.room), \(event.key.seq), \(event.name), \(.bytes(event.body)) FROM gone WHERE was_complete
            ON CONFLICT DO NOTHING
            """)
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
