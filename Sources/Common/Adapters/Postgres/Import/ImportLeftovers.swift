import ChatCore

/// Rooms that an import has begun and not finished: nobody has seen them.
struct ImportLeftovers {
    /// The lock of the import that runs, for `hashtextextended`.
    static let lock = "import"
    /// Rows that one statement removes.
    private static let part: Int64 = 1000

    let connection: PostgresConnection

    /// Removes a part of one, unless an import runs that is not this session's.
    ///
    /// - Returns: false: there is none, or an import runs.
    func removePart() throws(PostgresError) -> Bool {
        let begun: SQL = "SELECT id FROM rooms WHERE deleted_at = 'infinity' LIMIT 1"
        guard let room = try connection.repeatable([begun])[0].first?.uuid(0) else { return false }
        for table in ["messages", "room_events"] {
            let removed = try remove(
                """
                DELETE FROM \(unsafeSQL: table) WHERE room_id = \(room) AND (SELECT free.is_free FROM free) AND seq IN (
                    SELECT seq FROM \(unsafeSQL: table) WHERE room_id = \(room) ORDER BY seq LIMIT \(Self.part))
                """)
            guard let removed else { return false }
            if removed == Self.part { return true }
        }
        return try remove(
            "DELETE FROM rooms WHERE id = \(room) AND deleted_at = 'infinity' AND (SELECT free.is_free FROM free)")
            != nil
    }

    /// nil: an import runs.
    private func remove(_ statement: SQL) throws(PostgresError) -> Int64? {
        let row = try connection.query(
            """
            WITH free AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended(\(Self.lock), 0)) AS is_free),
                gone AS (\(statement) RETURNING 1)
            SELECT (SELECT count(*) FROM gone), (SELECT is_free FROM free)
            """)[0]
        return row.bool(1) ? row.int8(0) : nil
    }
}
