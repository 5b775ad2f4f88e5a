public import ChatCore

public final class PostgresPushAudience: PushAudience {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func recipients(of room: UUID128, at now: Int64) throws(StoreError) -> [PushRecipient] {
        let rows = try query(
            """
            SELECT p.user_id, d.token, p.last_seen_seq,
                r.message_count - p.seen_count - (p.sent_count - p.seen_sent_count) - \(unsafeSQL: Member.nothingToRead)
            FROM members p JOIN rooms r ON r.id = p.room_id JOIN user_devices d ON d.user_id = p.user_id
            LEFT JOIN push_mutes s ON s.user_id = p.user_id AND s.room_id = p.room_id AND s.until > \(.time(now))
            WHERE p.room_id = \(room) AND p.left_at IS NULL AND p.banned_at IS NULL AND r.deleted_at IS NULL
                AND s.user_id IS NULL
            ORDER BY p.user_id, d.token
            """)
        var recipients: [PushRecipient] = []
        for index in 0..<rows.count {
            let row = rows[index]
            if recipients.last?.user == row.uuid(0) {
                recipients[recipients.count - 1].devices.append(row.text(1))
            } else {
                recipients.append(
                    PushRecipient(
                        user: row.uuid(0), devices: [row.text(1)], lastSeenSeq: row.int8(2), unread: row.int8(3)))
            }
        }
        return recipients
    }

    public func newestMessage(of room: UUID128, through seq: Int64) throws(StoreError) -> PushMessage? {
        let system = MessageType.system.rawValue
        let sent = MessageStatus.sent.rawValue
        return try query(
            """
            SELECT m.id, m.sender_id, m.seq, m.content_type, m.content, r.name, coalesce(u.name, '')
            FROM messages m JOIN rooms r ON r.id = m.room_id LEFT JOIN users u ON u.id = m.sender_id
            WHERE m.room_id = \(room) AND m.seq <= \(seq) AND m.message_type <> \(.int2(system))
                AND m.status = \(.int2(sent)) AND m.deleted_at IS NULL
            ORDER BY m.seq DESC LIMIT 1
            """
        ).first.map { row in
            PushMessage(
                id: row.uuid(0), sender: row.uuid(1), senderName: row.text(6), seq: row.int8(2),
                contentType: ContentType(rawValue: row.int2(3)) ?? .text, content: row.text(4), roomName: row.text(5))
        }
    }

    public func devices(of user: UUID128) throws(StoreError) -> [String] {
        try query("SELECT token FROM user_devices WHERE user_id = \(user) ORDER BY token").map { $0.text(0) }
    }

    public func forget(device: String) throws(StoreError) {
        _ = try query("DELETE FROM user_devices WHERE token = \(device)")
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
