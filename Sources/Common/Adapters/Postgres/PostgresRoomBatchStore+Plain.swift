import ChatCore

/// Stores a batch of plain messages to cached rooms: one statement, which is its own transaction.
extension PostgresRoomBatchStore {
    func storePlain(_ batch: RoomBatch) throws(StoreError) {
        // The statement does not check a room in which nothing is stored, so a refusal for it may come from stale data.
        guard batch.changedRooms.count == batch.rooms.count else {
            throw Self.conflict("a refusal needs newly loaded data")
        }
        do throws(PostgresError) {
            _ = try connection.query(plain(batch))
        } catch {
            throw error.state == Self.divisionByZero
                ? Self.conflict("another writer has changed a room") : StoreError(error)
        }
    }

    private static let divisionByZero = "22012"

    private static func conflict(_ what: String) -> StoreError {
        StoreError(what, isTransient: true, isConflict: true)
    }

    /// Divides by zero, which rolls back, when a room differs from its cached state, when a member of a PRIVATE room
    /// has blocked the other, or when a sender's profile has changed.
    private func plain(_ batch: RoomBatch) -> SQL {
        // Ordered by id to prevent deadlocks between two writers.
        let rooms = batch.changedRooms.sorted().map { batch.rooms[$0]! }
        let members = batch.changedMembers.map { batch.members[$0]! }
        let messages = batch.newMessages.map { batch.messages[$0]! }
        return """
            WITH room AS (
                UPDATE rooms r SET last_seq = n.last_seq, message_count = n.message_count,
                    last_message_seq = n.last_message_seq, last_activity_at = \(.time(batch.now))
                FROM unnest(\(rooms.map(\.id)), \(.int8s(rooms.map { known.lastSeq(of: $0.id) })),
                    \(.int8s(rooms.map(\.lastSeq))), \(.int8s(rooms.map(\.messageCount))), \(.int8s(rooms.map(\.lastMessageSeq))))
                    n (id, known_seq, last_seq, message_count, last_message_seq)
                WHERE r.id = n.id AND r.last_seq = n.known_seq
                RETURNING 1
            ), sender AS (
                UPDATE members p SET sent_count = n.sent_count, last_sent_at = n.last_sent_at
                FROM unnest(\(members.map(\.roomID)), \(members.map(\.userID)), \(.int8s(members.map(\.sentCount))),
                    \(.times(members.map(\.lastSentAt))))
                    n (room_id, user_id, sent_count, last_sent_at)
                WHERE p.room_id = n.room_id AND p.user_id = n.user_id
            ), message AS (
                INSERT INTO messages (id, room_id, sender_id, seq, change_seq, content, content_type, message_type, sign,
                    status, created_at, metadata)
                SELECT id, room_id, sender_id, seq, seq, content, \(.int2(ContentType.text.rawValue)),
                    \(.int2(MessageType.direct.rawValue)), sign, \(.int2(MessageStatus.sent.rawValue)),
                    \(.time(batch.now)), metadata
                FROM unnest(\(messages.map(\.id)), \(messages.map(\.roomID)), \(messages.map(\.senderID)),
                    \(.int8s(messages.map(\.seq))), \(.texts(messages.map(\.content))), \(.texts(messages.map(\.sign))),
                    \(.jsons(messages.map(\.metadata?.text))))
                    n (id, room_id, sender_id, seq, content, sign, metadata)
            )
            SELECT 1 / CASE WHEN (SELECT count(*) FROM room) = \(Int64(rooms.count)) AND NOT EXISTS (
                SELECT FROM members a JOIN members o ON o.room_id = a.room_id
                JOIN blocks b ON b.blocker = a.user_id AND b.blocked = o.user_id
                WHERE a.room_id = ANY(\(rooms.filter { $0.type == .privateRoom }.map(\.id)))) AND NOT EXISTS (
                SELECT FROM unnest(\(members.map(\.userID)), \(.int8s(members.map { $0.profile?.version ?? 0 })))
                    n (id, known_version)
                LEFT JOIN users u ON u.id = n.id WHERE coalesce(u.version, 0) <> n.known_version) THEN 1 ELSE 0 END
            """
    }
}
