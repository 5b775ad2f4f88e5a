public import ChatCore

extension PostgresRoomReader {
    public func newestMessages(
        of rooms: [UUID128], for user: UUID128, count: Int
    ) throws(StoreError) -> [UUID128: [Message]] {
        let rows = try pipeline([Self.newest(rooms, user, count), Self.furthest(rooms)])
        let marks = Dictionary(
            grouping: rows[1].map { (room: $0.uuid(0), user: $0.uuid(1), seq: $0.int8(2)) }, by: \.room
        )
        .mapValues { marks in SeenMarks(marks.map { ($0.user, $0.seq) }) }
        let messages = rows[0].map { row in Message(row, marks: marks[row.uuid(1)]) }
        return Dictionary(grouping: messages, by: \.roomID)
    }

    /// Reads each room by its index. Membership is checked again: the user may have left since.
    static func newest(_ rooms: [UUID128], _ user: UUID128, _ count: Int) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns) FROM members p CROSS JOIN LATERAL (
            SELECT * FROM messages m WHERE m.room_id = p.room_id AND m.seq > 0
            ORDER BY m.seq DESC LIMIT \(Int64(count))
        ) m
        WHERE p.user_id = \(user) AND p.room_id = ANY(\(rooms)) AND \(unsafeSQL: Member.active("p"))
        ORDER BY m.room_id, m.seq DESC
        """
    }

    /// In each room, the two members who have read furthest.
    private static func furthest(_ rooms: [UUID128]) -> SQL {
        """
        SELECT n.room_id, p.user_id, p.last_seen_seq FROM unnest(\(rooms)) n (room_id) CROSS JOIN LATERAL (
            SELECT user_id, last_seen_seq FROM members
            WHERE room_id = n.room_id AND left_at IS NULL AND last_seen_seq > 0 ORDER BY last_seen_seq DESC LIMIT 2
        ) p
        ORDER BY n.room_id, p.last_seen_seq DESC
        """
    }
}
