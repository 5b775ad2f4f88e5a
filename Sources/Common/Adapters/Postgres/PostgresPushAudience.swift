public import ChatCore

public final class PostgresPushAudience: PushAudience {
    private let connection: PostgresConnection
    /// Only devices of these kinds get pushes here; devices of other kinds are ignored.
    private let kinds: [Int16]

    public init(_ connection: PostgresConnection, kinds: [PushKind]) {
        self.connection = connection
        self.kinds = kinds.map(\.rawValue)
    }

    /// Quiet hours that pass midnight are those outside of the hours from their end to their beginning.
    private static let isQuiet = """
        a.quiet_zone IS NOT NULL AND coalesce(CASE WHEN a.quiet_from < a.quiet_to
            THEN q.minute >= a.quiet_from AND q.minute < a.quiet_to
            ELSE q.minute >= a.quiet_from OR q.minute < a.quiet_to END, false)
        """

    public func recipients(of room: UUID128, at now: Int64) throws(StoreError) -> [PushRecipient] {
        let rows = try query(
            """
            SELECT \(unsafeSQL: PushDevice.columns), p.last_seen_seq,
                r.message_count - p.seen_count - (p.sent_count - p.seen_sent_count) - \(unsafeSQL: Member.nothingToRead),
                s.user_id IS NOT NULL AND NOT s.mentions OR \(unsafeSQL: Self.isQuiet)
                    OR r.type = \(.int2(RoomType.privateRoom.rawValue)) AND EXISTS (
                        SELECT FROM members o JOIN blocks b ON b.blocker = p.user_id AND b.blocked = o.user_id
                        WHERE o.room_id = p.room_id),
                coalesce(s.mentions, false)
                    OR coalesce(a.push_mentions, false) AND r.type <> \(.int2(RoomType.privateRoom.rawValue)),
                EXISTS (SELECT FROM thread_mutes t
                    WHERE t.room_id = p.room_id AND t.user_id = p.user_id AND t.until > \(.time(now)))
            FROM members p JOIN rooms r ON r.id = p.room_id JOIN \(unsafeSQL: PushDevice.table) ON d.user_id = p.user_id
            LEFT JOIN push_mutes s ON s.user_id = p.user_id AND s.room_id = p.room_id AND s.until > \(.time(now))
            LEFT JOIN accounts a ON a.user_id = p.user_id
            LEFT JOIN LATERAL (SELECT chat_minute_of_day(a.quiet_zone, \(.time(now))) AS minute) q
                ON a.quiet_zone IS NOT NULL
            WHERE p.room_id = \(room) AND \(unsafeSQL: Member.active()) AND r.deleted_at IS NULL
                AND d.kind = ANY (\(.int2s(kinds)))
            ORDER BY p.user_id, d.device
            """)
        var recipients: [PushRecipient] = []
        for index in 0..<rows.count {
            let row = rows[index]
            guard let device = PushDevice(row) else { continue }
            if recipients.last?.user == device.user {
                recipients[recipients.count - 1].devices.append(device)
                continue
            }
            let at = PushDevice.columnCount
            recipients.append(
                PushRecipient(
                    user: device.user, devices: [device], lastSeenSeq: row.int8(at), unread: row.int8(at + 1),
                    wish: row.bool(at + 2) ? .nothing : row.bool(at + 3) ? .mentions : .everything,
                    silencesThreads: row.bool(at + 4)))
        }
        return recipients
    }

    public func newestMessages(of room: UUID128, through seq: Int64, limit: Int) throws(StoreError) -> [PushMessage] {
        let system = MessageType.system.rawValue
        let sent = MessageStatus.sent.rawValue
        return try query(
            """
            SELECT m.id, m.sender_id, m.seq, m.content_type, m.content, r.name, coalesce(u.name, ''), m.created_at
            FROM messages m JOIN rooms r ON r.id = m.room_id LEFT JOIN users u ON u.id = m.sender_id
            WHERE m.room_id = \(room) AND m.seq <= \(seq) AND m.message_type <> \(.int2(system))
                AND m.status = \(.int2(sent)) AND m.deleted_at IS NULL
            ORDER BY m.seq DESC LIMIT \(Int64(limit))
            """
        ).map { row in
            PushMessage(
                id: row.uuid(0), sender: row.uuid(1), senderName: row.text(6), seq: row.int8(2),
                contentType: ContentType(rawValue: row.int2(3)) ?? .text, content: row.text(4), roomName: row.text(5),
                createdAt: row.time(7))
        }
    }

    /// The longest chain of answers that is followed.
    private static let deepest: Int64 = 100

    public func silencedThreads(
        of users: [UUID128], in room: UUID128, among messages: [UUID128], at now: Int64
    ) throws(StoreError) -> [SilencedMessage] {
        try query(
            """
            WITH RECURSIVE above (id, parent, depth) AS (
                SELECT m.id, m.parent_message_id, 1 FROM messages m
                WHERE m.id = ANY (\(messages)) AND m.parent_message_id IS NOT NULL
                UNION ALL
                SELECT above.id, m.parent_message_id, above.depth + 1 FROM above JOIN messages m ON m.id = above.parent
                WHERE m.parent_message_id IS NOT NULL AND above.depth < \(Self.deepest)
            )
            SELECT t.user_id, above.id, bool_and(t.mentions)
            FROM above JOIN thread_mutes t ON t.message_id = above.parent
            WHERE t.room_id = \(room) AND t.user_id = ANY (\(users)) AND t.until > \(.time(now))
            GROUP BY t.user_id, above.id
            """
        ).map { SilencedMessage(user: $0.uuid(0), message: $0.uuid(1), exceptMentions: $0.bool(2)) }
    }

    public func badges(of users: [UUID128]) throws(StoreError) -> [UUID128: Int64] {
        let rows = try query(
            """
            SELECT p.user_id, sum(greatest(0, r.message_count - p.seen_count - (p.sent_count - p.seen_sent_count)
                - \(unsafeSQL: Member.nothingToRead)))::bigint
            FROM members p JOIN rooms r ON r.id = p.room_id
            WHERE p.user_id = ANY (\(users)) AND \(unsafeSQL: Member.active()) AND r.deleted_at IS NULL
                AND r.last_message_seq > p.last_seen_seq
            GROUP BY p.user_id
            """)
        return Dictionary(rows.map { ($0.uuid(0), $0.int8(1)) }) { first, _ in first }
    }

    public func devices(of user: UUID128) throws(StoreError) -> [PushDevice] {
        try query(
            """
            SELECT \(unsafeSQL: PushDevice.columns) FROM \(unsafeSQL: PushDevice.table)
            WHERE d.user_id = \(user) AND d.kind = ANY (\(.int2s(kinds))) ORDER BY d.device
            """
        ).map { PushDevice($0) }.compactMap { $0 }
    }

    public func forget(_ device: PushDevice) throws(StoreError) {
        if device.kind == .fcm {
            _ = try query("DELETE FROM user_devices WHERE token = \(device.id)")
        } else {
            _ = try query(
                """
                DELETE FROM user_endpoints WHERE device = \(device.id) AND kind = \(.int2(device.kind.rawValue))
                    AND (user_id = \(device.user) OR kind <> \(.int2(PushKind.webhook.rawValue)))
                """)
        }
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
