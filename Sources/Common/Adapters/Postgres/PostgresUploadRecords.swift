public import ChatCore

public final class PostgresUploadRecords: UploadRecords {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func find(_ message: UUID128) throws(StoreError) -> UploadRecord? {
        try query(
            """
            SELECT upload_id, total, media_type, completed_at IS NOT NULL FROM uploads WHERE message_id = \(message)
            """
        ).first.map { row in
            UploadRecord(
                message: message, upload: row.text(0), total: row.int4(1), mediaType: row.optionalText(2),
                isCompleted: row.bool(3))
        }
    }

    public func begin(_ record: UploadRecord) throws(StoreError) -> UploadRecord? {
        _ = try query(
            """
            INSERT INTO uploads (message_id, upload_id, total, media_type)
            SELECT id, \(record.upload), \(.int4(Int32(record.total))), \(.text(record.mediaType))
            FROM messages WHERE id = \(record.message) ON CONFLICT DO NOTHING
            """)
        return try find(record.message)
    }

    public func note(mediaType: String, of message: UUID128) throws(StoreError) {
        _ = try query("UPDATE uploads SET media_type = \(mediaType) WHERE message_id = \(message)")
    }

    public func complete(_ message: UUID128) throws(StoreError) {
        _ = try query(
            "UPDATE uploads SET completed_at = now() WHERE message_id = \(message) AND completed_at IS NULL")
    }

    public func remove(_ message: UUID128, upload: String) throws(StoreError) {
        _ = try query("DELETE FROM uploads WHERE message_id = \(message) AND upload_id = \(upload)")
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.query(sql) } catch { throw StoreError(error) }
    }
}
