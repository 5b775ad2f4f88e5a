public import ChatCore

public final class PostgresHostStore: HostStore {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func owner(of room: UUID128) throws(StoreError) -> UUID128? {
        try read("SELECT owner_id FROM rooms WHERE id = \(room) AND deleted_at IS NULL").first?.uuid(0)
    }

    public func roomsEver(of user: UUID128) throws(StoreError) -> [UUID128] {
        // No index serves this query: it runs once in a user's life.
        try read("SELECT room_id FROM members WHERE user_id = \(user) ORDER BY room_id").map { $0.uuid(0) }
    }

    public func noteErasure(of user: UUID128) throws(StoreError) {
        _ = try all([
            "SELECT pg_advisory_xact_lock(hashtextextended(\(ImportErased.lock), 0))",
            """
            INSERT INTO erased_users (user_id) VALUES (\(user))
            ON CONFLICT (user_id) DO UPDATE SET erased_at = EXCLUDED.erased_at
            """,
        ])
    }

    public func forget(_ user: UUID128) throws(StoreError) {
        _ = try all([
            "DELETE FROM user_devices WHERE user_id = \(user)",
            "DELETE FROM user_endpoints WHERE user_id = \(user)",
            "DELETE FROM push_mutes WHERE user_id = \(user)",
            "DELETE FROM thread_mutes WHERE user_id = \(user)",
            "DELETE FROM blocks WHERE blocker = \(user)",
            "DELETE FROM blocks WHERE blocked = \(user)",
            "DELETE FROM accounts WHERE user_id = \(user)",
            "DELETE FROM signed_requests WHERE user_id = \(user)",
            // The reports stay, with the users' ids: without their texts, and without copies of the user's messages.
            "UPDATE reports SET text = '', version = version + 1 WHERE reporter_id = \(user) AND text <> ''",
            """
            UPDATE reports SET content = NULL, file_name = NULL, version = version + 1
            WHERE reported_id = \(user) AND message_id IS NOT NULL AND content IS NOT NULL
            """,
            "DELETE FROM users WHERE id = \(user)",
        ])
    }

    public func room(_ room: UUID128) throws(StoreError) -> (room: Room, members: [Member])? {
        let rows = try all([
            "SELECT \(unsafeSQL: Room.columns) FROM rooms r WHERE r.id = \(room) AND \(unsafeSQL: Room.isComplete())",
            "SELECT \(unsafeSQL: Member.columns) FROM members p WHERE p.room_id = \(room) ORDER BY p.user_id",
        ])
        return rows[0].first.map { (Room($0), rows[1].map { Member($0) }) }
    }

    public func messages(of room: UUID128, after: Int64, limit: Int) throws(StoreError) -> [ExportedMessage] {
        let rows = try all([
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.seq > \(max(0, after))
            ORDER BY m.seq LIMIT \(Int64(limit))
            """,
            """
            SELECT e.message_id, e.content, e.edited_at, e.change_seq FROM (
                SELECT m.id FROM messages m WHERE m.room_id = \(room) AND m.seq > \(max(0, after))
                ORDER BY m.seq LIMIT \(Int64(limit))
            ) m JOIN message_edits e ON e.message_id = m.id ORDER BY e.change_seq
            """,
        ])
        let edits = Dictionary(
            grouping: rows[1].map {
                (
                    id: $0.uuid(0),
                    edit: EarlierContent(content: $0.text(1), replacedAt: $0.time(2), changeSeq: $0.int8(3))
                )
            }, by: \.id)
        return rows[0].map { Message($0) }.map { message in
            ExportedMessage(message: message, edits: edits[message.id, default: []].map(\.edit))
        }
    }

    public func rooms(
        _ type: RoomType, withMessagesBefore time: Int64, after: UUID128, limit: Int
    ) throws(StoreError) -> [UUID128] {
        try read(
            """
            SELECT r.id FROM rooms r CROSS JOIN LATERAL (
                SELECT m.created_at FROM messages m WHERE m.room_id = r.id AND m.seq > 0 ORDER BY m.seq LIMIT 1
            ) m
            WHERE r.id > \(after) AND r.type = \(.int2(type.rawValue)) AND m.created_at < \(.time(time))
                AND \(unsafeSQL: Room.isComplete())
            ORDER BY r.id LIMIT \(Int64(limit))
            """
        ).map { $0.uuid(0) }
    }

    /// Rows that one statement removes, together with their dependent rows.
    private static let part: Int64 = 1000

    public func removeDeletedRoom(before time: Int64) throws(StoreError) -> Bool {
        let oldest: SQL = "SELECT id FROM rooms WHERE deleted_at < \(.time(time)) ORDER BY deleted_at LIMIT 1"
        guard let room = try read(oldest).first?.uuid(0) else { return false }
        for table in ["messages", "room_events"] {
            let removed = try read(
                """
                WITH gone AS (DELETE FROM \(unsafeSQL: table) WHERE room_id = \(room) AND seq IN (
                    SELECT seq FROM \(unsafeSQL: table) WHERE room_id = \(room) ORDER BY seq LIMIT \(Self.part)) RETURNING 1)
                SELECT count(*) FROM gone
                """)
            if removed[0].int8(0) == Self.part { return true }
        }
        _ = try read("DELETE FROM rooms WHERE id = \(room)")
        return true
    }

    public func removeBegunRoom() throws(StoreError) -> Bool {
        do { return try ImportLeftovers(connection: connection).removePart() } catch { throw StoreError(error) }
    }

    private func read(_ sql: SQL) throws(StoreError) -> PGRows { try all([sql])[0] }

    private func all(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.repeatable(statements) } catch { throw StoreError(error) }
    }
}
