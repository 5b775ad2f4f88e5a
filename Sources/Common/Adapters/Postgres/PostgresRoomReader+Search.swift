public import ChatCore

extension PostgresRoomReader {
    public func search(
        _ words: SearchWords, in room: UUID128?, for user: UUID128, after: SearchCursor?, limit: Int
    ) throws(StoreError) -> [SearchHit]? {
        let rows = try pipeline([
            // Over all rooms there is nothing to be refused.
            room.map { Self.membership($0, user) } ?? "SELECT 1", Self.hits(words, room, user, after, limit),
        ])
        guard rows[0].first != nil else { return nil }
        return rows[1].map { row in
            SearchHit(
                message: Message(row), rank: row.int8(Message.columnCount),
                marks: SearchHit.marks(in: row.text(Message.columnCount + 1)))
        }
    }

    /// All that match are ranked, which the statement's time limit bounds; then the page alone is read and marked.
    static func hits(
        _ words: SearchWords, _ room: UUID128?, _ user: UUID128, _ after: SearchCursor?, _ limit: Int
    ) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns), h.rank, chat_marked(m.content, \(words.query))
        FROM (
            SELECT * FROM (
                SELECT m.id, (ts_rank(chat_words(m.content), chat_query(\(words.query))) * 1000000)::int8 AS rank
                FROM members p JOIN rooms r ON r.id = p.room_id JOIN messages m ON m.room_id = p.room_id
                WHERE p.user_id = \(user) AND (\(room)::uuid IS NULL OR p.room_id = \(room))
                    AND p.left_at IS NULL AND p.banned_at IS NULL AND r.deleted_at IS NULL
                    AND chat_words(m.content) @@ chat_query(\(words.query)) AND m.message_type <> 4
                    AND m.seq > 0
            ) a
            WHERE (a.rank, a.id) < (\(after?.rank ?? Int64.max), \(after?.message ?? UUID128(high: .max, low: .max)))
            ORDER BY a.rank DESC, a.id DESC LIMIT \(Int64(limit))
        ) h JOIN messages m ON m.id = h.id
        ORDER BY h.rank DESC, h.id DESC
        """
    }
}
