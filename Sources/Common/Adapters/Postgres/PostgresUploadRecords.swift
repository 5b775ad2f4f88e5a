public import ChatCore

public final class PostgresUploadRecords: UploadRecords {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func find(_ message: UUID128) throws(StoreError) -> UploadRecord? {
        try query(
            """
            SELECT upload_id, total, media_type, completed_at IS NOT NULL, length, metadata,
                CASE WHEN looked_at IS NULL THEN completed_at END FROM uploads
            WHERE message_id = \(message)
            """
        ).first.map { row in
            UploadRecord(
                message: message, upload: row.text(0), total: row.int4(1), mediaType: row.optionalText(2),
                isCompleted: row.bool(3), length: row.optionalInt8(4),
                unseenSince: row.optionalTime(6), metadata: row.optionalText(5))
        }
    }

    public func link(of message: UUID128) throws(StoreError) -> String? {
        try query("SELECT url FROM file_links WHERE message_id = \(message)").first?.text(0)
    }

    public func begin(_ record: UploadRecord, fence: Int64) throws(StoreError) -> UploadRecord? {
        // A deleted message no longer takes a file.
        _ = try query(
            """
            INSERT INTO uploads (message_id, upload_id, total, media_type, owner, fence)
            SELECT id, \(record.upload), \(.int4(Int32(record.total))), \(.text(record.mediaType)), sender_id, \(fence)
            FROM messages m WHERE m.id = \(record.message) AND \(unsafeSQL: Message.isUploading())
            ON CONFLICT DO NOTHING
            """)
        return try find(record.message)
    }

    public func note(mediaType: String, of message: UUID128) throws(StoreError) {
        _ = try query("UPDATE uploads SET media_type = \(mediaType) WHERE message_id = \(message)")
    }

    public func note(length: Int64, metadata: String?, of message: UUID128) throws(StoreError) {
        _ = try query(
            "UPDATE uploads SET length = \(length), metadata = \(.text(metadata)) WHERE message_id = \(message)")
    }

    public func complete(_ message: UUID128) throws(StoreError) {
        _ = try query(
            "UPDATE uploads SET completed_at = now() WHERE message_id = \(message) AND completed_at IS NULL")
    }

    public func reserve(_ size: Int64, for message: UUID128, quota: Int64) throws(StoreError) -> Bool {
        // Serialised for each owner; the second statement sees the first one's commit.
        try queries([
            """
            SELECT pg_advisory_xact_lock(hashtextextended('quota ' || owner::text, 0))
            FROM uploads WHERE message_id = \(message)
            """,
            """
            UPDATE uploads u SET size = greatest(\(size), length) WHERE message_id = \(message) AND (\(quota) = 0 OR \(size) + (
                SELECT coalesce(sum(o.size), 0) FROM uploads o WHERE o.owner = u.owner AND o.message_id <> u.message_id
            ) <= \(quota)) RETURNING 1
            """,
        ])[1].count == 1
    }

    public func remove(_ message: UUID128, upload: String, fence: Int64) throws(StoreError) {
        _ = try query(
            "DELETE FROM uploads WHERE message_id = \(message) AND upload_id = \(upload) AND fence <= \(fence)")
    }

    private func queries(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.repeatable(statements) } catch { throw StoreError(error) }
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows { try queries([sql])[0] }
}
