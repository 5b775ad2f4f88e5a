public import ChatCore

extension PostgresRoomReader {
    public func search(
        _ words: SearchWords, in room: UUID128?, for user: UUID128, after: SearchCursor?, limit: Int
    ) throws(StoreError) -> [SearchHit]? {
        let rows: [PGRows]
        do throws(PostgresError) {
            rows = try searched(words, room, user, after, limit)
        } catch {
            throw StoreError(
                error.description, isTransient: error.isTransient,
                trouble: error.isLockTaken ? .running : error.isTimeLimit ? .tooSlow : nil)
        }
        guard rows[1].first != nil else { return nil }
        return rows[2].map { row in
            let at = Message.columnCount
            let message = Message(row)
            let marks = SearchHit.marks(in: row.text(at + 1))
            return SearchHit(
                message: message, place: SearchCursor(at: row.int8(at), room: message.roomID, seq: message.seq),
                marks: row.optionalText(at + 2).map { SearchHit.marks(marks, asWritten: Self.runs($0)) } ?? marks)
        }
    }

    private func searched(
        _ words: SearchWords, _ room: UUID128?, _ user: UUID128, _ after: SearchCursor?, _ limit: Int
    ) throws(PostgresError) -> [PGRows] {
        try connection.repeatable([
            // Applies to this transaction of three statements.
            "SELECT set_config('statement_timeout', \("\(searchTimeout.milliseconds)"), true)",
            // A search over all rooms needs no membership check.
            room.map { Self.membership($0, user) } ?? "SELECT 1", Self.hits(words, room, user, after, limit),
        ])
    }

    /// See the migration "search_by_room".
    static func hits(
        _ words: SearchWords, _ room: UUID128?, _ user: UUID128, _ after: SearchCursor?, _ limit: Int
    ) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns), (extract(epoch FROM h.at) * 1000000)::int8,
            chat_found(m.content, \(words.query)), chat_places(m.content)
        FROM chat_search(
            \(user), \(room), \(words.query), timestamptz 'epoch' + \(.int8(after?.at)) * interval '1 microsecond',
            \(after?.room), \(.int8(after?.seq)), \(.int4(Int32(limit)))) h
        JOIN messages m ON m.id = h.id
        ORDER BY h.at DESC, h.room_id DESC, h.seq DESC
        """
    }

    /// Reads `chat_places`.
    private static func runs(_ text: String) -> [(written: Int, compared: Int)] {
        text.utf8.split(separator: UInt8(ascii: " ")).compactMap { pair in
            let numbers = pair.split(separator: UInt8(ascii: ":")).compactMap { Int(Substring($0)) }
            return numbers.count == 2 ? (numbers[0], numbers[1]) : nil
        }
    }
}
