public import ChatCore

/// Reads for REST: one query for each request where possible.
public final class PostgresRoomReader: RoomReader {
    let connection: PostgresConnection
    /// PostgreSQL ends a search after this time.
    let searchTimeout: Duration

    public init(_ connection: PostgresConnection, searchTimeout: Duration = .seconds(2)) {
        self.connection = connection
        self.searchTimeout = searchTimeout
    }

    public func check() throws(StoreError) { _ = try read("SELECT 1") }

    // MARK: Rooms

    public func rooms(
        of user: UUID128, before: RoomCursor?, limit: Int, kind: String?
    ) throws(StoreError) -> [RoomView] {
        try read(Self.list(user, before, limit, kind)).map { RoomView($0) }
    }

    /// Selects the page from the rooms only, then joins the newest message of each.
    static func list(_ user: UUID128, _ before: RoomCursor?, _ limit: Int, _ kind: String? = nil) -> SQL {
        """
        WITH page AS MATERIALIZED (
            SELECT p.room_id, p.user_id FROM members p JOIN rooms r ON r.id = p.room_id
            WHERE p.user_id = \(user) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                AND (r.last_activity_at, r.id) < (\(.time(before?.lastActivityAt ?? Self.farFuture)),
                    \(before?.room ?? UUID128(high: .max, low: .max))) \(Self.of(kind, "r"))
            ORDER BY r.last_activity_at DESC, r.id DESC LIMIT \(Int64(limit))
        )
        SELECT \(unsafeSQL: Self.viewColumns) FROM page JOIN members p USING (room_id, user_id)
            JOIN rooms r ON r.id = page.room_id \(unsafeSQL: Self.newestMessage)
        ORDER BY r.last_activity_at DESC, r.id DESC
        """
    }

    public func room(_ room: UUID128, for user: UUID128) throws(StoreError) -> RoomView? {
        try read(
            """
            SELECT \(unsafeSQL: Self.viewColumns)
            FROM members p JOIN rooms r ON r.id = p.room_id \(unsafeSQL: Self.newestMessage)
            WHERE p.room_id = \(room) AND p.user_id = \(user) AND \(unsafeSQL: Member.active("p"))
                AND r.deleted_at IS NULL
            """
        ).first.map { RoomView($0) }
    }

    /// The year 9999, in Unix milliseconds.
    private static let farFuture: Int64 = 253_402_300_799_000
    private static let viewColumns = "\(Room.columns), \(Member.columns), \(Message.columns), \(Member.nothingToRead)"
    /// Looks the message up by its key.
    private static let newestMessage = """
        LEFT JOIN LATERAL (
            SELECT * FROM messages m WHERE m.room_id = r.id AND m.seq > 0
            ORDER BY m.seq DESC LIMIT 1
        ) m ON true
        """

    public func members(
        of room: UUID128, for user: UUID128, after: UUID128?, limit: Int, kind: String?
    ) throws(StoreError) -> [Member]? {
        let rows = try pipeline([
            Self.membership(room, user),
            """
            SELECT \(unsafeSQL: Member.columns) FROM members p
            WHERE p.room_id = \(room) AND \(unsafeSQL: Member.active("p"))
                AND p.user_id > \(after ?? UUID128.zero) \(Self.of(kind, "p"))
            ORDER BY p.user_id LIMIT \(Int64(limit))
            """,
        ])
        return rows[0].first == nil ? nil : rows[1].map { Member($0) }
    }

    public func banned(
        from room: UUID128, for user: UUID128, after: UUID128?, limit: Int
    ) throws(StoreError) -> [Member]? {
        let rows = try pipeline([
            Self.membership(room, user),
            """
            SELECT \(unsafeSQL: Member.columns) FROM members p
            WHERE p.room_id = \(room) AND p.banned_at IS NOT NULL AND p.user_id > \(after ?? UUID128.zero)
            ORDER BY p.user_id LIMIT \(Int64(limit))
            """,
        ])
        return Self.isAdmin(rows[0]) ? rows[1].map { Member($0) } : nil
    }

    public func invitations(to room: UUID128, for user: UUID128) throws(StoreError) -> [Invitation]? {
        let rows = try pipeline([
            Self.membership(room, user),
            """
            SELECT \(unsafeSQL: Invitation.columns) FROM invitations i
            WHERE i.room_id = \(room) AND i.revoked_at IS NULL AND (i.expires_at IS NULL OR i.expires_at > now())
                AND (i.max_uses IS NULL OR i.uses < i.max_uses)
            ORDER BY i.id DESC
            """,
        ])
        return Self.isAdmin(rows[0]) ? rows[1].map { Invitation($0) } : nil
    }

    public func invitation(token: String) throws(StoreError) -> Invitation? {
        try read("SELECT \(unsafeSQL: Invitation.columns) FROM invitations i WHERE i.token = \(token)").first
            .map { Invitation($0) }
    }

    static func isAdmin(_ membership: PGRows) -> Bool {
        membership.first.map { $0.int2(0) >= Role.admin.rawValue } ?? false
    }

    // MARK: Messages

    public func history(
        of room: UUID128, for user: UUID128, _ page: HistoryPage, limit: Int, kind: String?
    ) throws(StoreError) -> (any MessagePage)? {
        // Runs the membership check and the query in one round trip.
        let rows = try pipeline([Self.membership(room, user), Self.page(room, page, limit, kind), Self.seenBy(room)])
        return rows[0].first == nil ? nil : PostgresMessagePage(rows[1], SeenMarks(rows[2]))
    }

    public func message(_ id: UUID128, for user: UUID128) throws(StoreError) -> Message? {
        try read(
            """
            SELECT \(unsafeSQL: Message.columns), EXISTS (
                SELECT FROM members s WHERE s.room_id = m.room_id AND s.user_id <> m.sender_id
                    AND s.last_seen_seq >= m.seq AND s.left_at IS NULL)
            FROM messages m JOIN members p ON p.room_id = m.room_id AND p.user_id = \(user)
            JOIN rooms r ON r.id = m.room_id
            WHERE m.id = \(id) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                AND \(unsafeSQL: Message.isVisible())
            """
        ).first.map { row in
            var message = Message(row)
            if message.status == .sent, row.bool(Message.columnCount) { message.status = .seen }
            return message
        }
    }

    public func uploads(of user: UUID128, before: UUID128?, limit: Int) throws(StoreError) -> [Message] {
        try read(
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m
            JOIN members p ON p.room_id = m.room_id AND p.user_id = m.sender_id JOIN rooms r ON r.id = m.room_id
            WHERE m.sender_id = \(user) AND \(unsafeSQL: Message.isUploading())
                AND m.id < \(before ?? UUID128(high: .max, low: .max))
                AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
            ORDER BY m.id DESC LIMIT \(Int64(limit))
            """
        ).map { Message($0) }
    }

    public func upload(of user: UUID128, in room: UUID128, sign: String) throws(StoreError) -> Message? {
        try read(
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m
            WHERE m.sender_id = \(user) AND m.sign = \(sign) AND \(unsafeSQL: Message.isUploading())
                AND m.room_id = \(room)
            """
        ).first.map { Message($0) }
    }

    public func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128? {
        try read("SELECT room_id FROM messages WHERE id = \(message)").first?.uuid(0)
    }

    public func receipts(of message: UUID128, for user: UUID128) throws(StoreError) -> [SeenMark]? {
        guard let message = try self.message(message, for: user) else { return nil }
        guard message.hasPlace else { return [] }
        return try read(
            """
            SELECT p.user_id, p.last_seen_seq, e.created_at FROM members p
            LEFT JOIN LATERAL (
                SELECT e.created_at FROM room_events e WHERE e.room_id = p.room_id AND e.actor_id = p.user_id
                    AND e.kind = \(.int2(Int16(FrameKind.seen.rawValue))) AND e.seq > \(message.seq)
                ORDER BY e.seq LIMIT 1
            ) e ON true
            WHERE p.room_id = \(message.roomID) AND p.user_id <> \(message.senderID) AND p.left_at IS NULL
                AND p.last_seen_seq >= \(message.seq)
            ORDER BY p.user_id
            """
        ).map {
            SeenMark(
                roomID: message.roomID, userID: $0.uuid(0), seq: $0.int8(1), at: $0.optionalTime(2) ?? message.createdAt
            )
        }
    }

    public func edits(of message: UUID128, for user: UUID128) throws(StoreError) -> [EarlierContent]? {
        guard try self.message(message, for: user) != nil else { return nil }
        return try read(
            """
            SELECT content, edited_at, change_seq FROM message_edits WHERE message_id = \(message) ORDER BY change_seq
            """
        ).map { EarlierContent(content: $0.text(0), replacedAt: $0.time(1), changeSeq: $0.int8(2)) }
    }

    public func pins(of room: UUID128, for user: UUID128) throws(StoreError) -> [Message]? {
        let rows = try pipeline([
            Self.membership(room, user),
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.pinned_at IS NOT NULL
            ORDER BY m.pinned_at DESC, m.seq DESC
            """,
            Self.seenBy(room),
        ])
        guard rows[0].first != nil else { return nil }
        let marks = SeenMarks(rows[2])
        return rows[1].map { Message($0, marks: marks) }
    }

    public func account(of user: UUID128) throws(StoreError) -> Account {
        try read("SELECT \(unsafeSQL: Account.columns) FROM accounts WHERE user_id = \(user)").first.map { Account($0) }
            ?? Account()
    }

    public func presenceVisibility(
        of other: UUID128, for user: UUID128
    ) throws(StoreError) -> PresenceVisibility {
        if user == other { return .shown }
        guard try shareRoom(user, other) else { return .stranger }
        // To a user on either side of a block, the other looks like somebody who hides their presence.
        let hides = try account(of: other).hidesPresence
        let isBlocked = try areBlocked(user, other)
        return hides || isBlocked ? .hidden : .shown
    }

    private func areBlocked(_ one: UUID128, _ other: UUID128) throws(StoreError) -> Bool {
        try read(
            """
            SELECT FROM blocks
            WHERE blocker = \(one) AND blocked = \(other) OR blocker = \(other) AND blocked = \(one) LIMIT 1
            """
        ).first != nil
    }

    private func shareRoom(_ one: UUID128, _ other: UUID128) throws(StoreError) -> Bool {
        try read(
            """
            SELECT FROM members a JOIN members b USING (room_id) JOIN rooms r ON r.id = room_id
            WHERE a.user_id = \(one) AND \(unsafeSQL: Member.active("a")) AND r.deleted_at IS NULL
                AND b.user_id = \(other) AND \(unsafeSQL: Member.active("b")) LIMIT 1
            """
        ).count > 0
    }

    // MARK: Parts of queries

    static func membership(_ room: UUID128, _ user: UUID128) -> SQL {
        """
        SELECT p.role FROM members p JOIN rooms r ON r.id = p.room_id
        WHERE p.room_id = \(room) AND p.user_id = \(user) AND \(unsafeSQL: Member.active("p"))
            AND r.deleted_at IS NULL
        """
    }

    /// The two members who have read furthest: enough to tell, for any sender, whether somebody else has read that far.
    private static func seenBy(_ room: UUID128) -> SQL {
        """
        SELECT user_id, last_seen_seq FROM members WHERE room_id = \(room) AND left_at IS NULL AND last_seen_seq > 0
        ORDER BY last_seen_seq DESC LIMIT 2
        """
    }

    static func page(_ room: UUID128, _ page: HistoryPage, _ limit: Int, _ kind: String? = nil) -> SQL {
        let (limit, ofKind) = (Int64(limit), of(kind, "m"))
        switch page {
        case .newest: return before(room, Int64.max, limit, ofKind)
        case .before(let seq): return before(room, seq, limit, ofKind)
        case .after(let after):
            let seq = max(0, after)
            return """
                SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.seq > \(seq)
                    \(ofKind)
                ORDER BY m.seq LIMIT \(limit)
                """
        case .around(let around):
            let seq = max(0, around)
            return """
                (SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.seq <= \(seq)
                    AND m.seq > 0 \(ofKind) ORDER BY m.seq DESC LIMIT \((limit + 1) / 2))
                UNION ALL
                (SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.seq > \(seq)
                    \(ofKind) ORDER BY m.seq LIMIT \(limit / 2))
                ORDER BY seq
                """
        case .changedSince(let since):
            let seq = max(0, since)
            // Two index ranges, each in order; the partial index holds only messages that changed after they were sent.
            return """
                SELECT * FROM (
                    (SELECT \(unsafeSQL: Message.columns) FROM messages m
                        WHERE m.room_id = \(room) AND m.seq > \(seq) AND m.change_seq = m.seq \(ofKind)
                        ORDER BY m.seq LIMIT \(limit))
                    UNION ALL
                    (SELECT \(unsafeSQL: Message.columns) FROM messages m
                        WHERE m.room_id = \(room) AND m.change_seq > \(seq) AND m.change_seq > m.seq
                        AND m.seq > 0 \(ofKind) ORDER BY m.change_seq LIMIT \(limit))
                ) m ORDER BY change_seq LIMIT \(limit)
                """
        }
    }

    /// Uses the expression of the index `messages_of_kind`, which also holds numbers and other values as texts.
    private static func of(_ kind: String?, _ table: String) -> SQL {
        guard let kind else { return "" }
        return """
            AND \(unsafeSQL: table).metadata->>'kind' = \(kind)
            AND octet_length(\(unsafeSQL: table).metadata->>'kind') BETWEEN 1 AND 64
            AND json_typeof(\(unsafeSQL: table).metadata->'kind') = 'string'
            """
    }

    private static func before(_ room: UUID128, _ seq: Int64, _ limit: Int64, _ ofKind: SQL) -> SQL {
        """
        SELECT \(unsafeSQL: Message.columns) FROM messages m WHERE m.room_id = \(room) AND m.seq < \(seq)
            AND m.seq > 0 \(ofKind)
        ORDER BY m.seq DESC LIMIT \(limit)
        """
    }

    private func read(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }

    func pipeline(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.repeatable(statements) } catch { throw StoreError(error) }
    }
}

extension RoomView {
    /// Reads the columns of the room, of my membership and of the newest message.
    fileprivate init(_ row: PGRow) {
        let room = Room(row)
        let member = Member(row, at: Room.columnCount)
        let messageAt = Room.columnCount + Member.columnCount
        self.init(
            room: room, lastMessage: row.isNull(messageAt) ? nil : Message(row, at: messageAt),
            unread: member.unread(in: room) - row.int8(messageAt + Message.columnCount), role: member.role,
            mutedUntil: member.mutedUntil)
    }
}
