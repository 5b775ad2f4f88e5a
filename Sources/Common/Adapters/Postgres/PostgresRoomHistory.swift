public import ChatCore

extension RoomFrame {
    static let eventColumns = """
        e.seq, e.kind, e.sign, e.message_id, e.joined, e.departed, e.fields, e.body, e.room_id, \(Message.columns)
        """

    /// A change as it was announced; a change of a message shows the message as it is today.
    init(event row: PGRow, at first: Int) {
        let seq = row.int8(first)
        let kind = FrameKind(rawValue: UInt8(row.int2(first + 1))) ?? .roomUpdated
        var body = FrameBody(fieldCount: UInt8(row.int2(first + 6)), bytes: row.bytes(first + 7) ?? [])
        if row.optionalUUID(first + 3) != nil, !row.isNull(first + 9) {
            body = Message(row, at: first + 9).body(at: seq)
        } else if body.fieldCount == 0 {
            // The message was removed for good, or a file of the previous version is incomplete.
            self = .skipped(seq, in: row.uuid(first + 8))
            return
        }
        self.init(seq: UInt64(seq), kind: kind, joined: row.uuids(first + 4), left: row.uuids(first + 5), body: body)
    }
}

/// The relay's reads: memberships, and frames that Redis no longer holds.
public final class PostgresRoomHistory: RoomHistory {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func memberships(of users: [UUID128]) throws(StoreError) -> [Membership] {
        let rooms = try read(
            """
            SELECT p.user_id, r.id, r.last_seq, coalesce(a.hides_presence, false),
                r.type = \(.int2(RoomType.privateRoom.rawValue)) AND EXISTS (
                    SELECT FROM members o JOIN blocks b ON b.blocker = p.user_id AND b.blocked = o.user_id
                        OR b.blocker = o.user_id AND b.blocked = p.user_id
                    WHERE o.room_id = r.id AND o.user_id <> p.user_id),
                (r.type <> \(.int2(RoomType.channel.rawValue)) OR p.role > \(.int2(Role.member.rawValue)))
                    AND coalesce(p.muted_until <= now(), true),
                r.epoch
            FROM members p JOIN rooms r ON r.id = p.room_id LEFT JOIN accounts a ON a.user_id = p.user_id
            WHERE p.user_id = ANY(\(users)) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
            """
        ).map {
            Membership(
                user: $0.uuid(0), room: $0.uuid(1), lastSeq: UInt64($0.int8(2)), hidesPresence: $0.bool(3),
                isBlocked: $0.bool(4), mayPost: $0.bool(5), epoch: $0.int8(6))
        }
        let known = Set(rooms.filter(\.isBlocked).map(\.room))
        return rooms + (try blockedPairs(of: users)).filter { !known.contains($0.room) }
    }

    /// A block hides presence in a shared GROUP too.
    private func blockedPairs(of users: [UUID128]) throws(StoreError) -> [Membership] {
        try read(
            """
            SELECT blocker, blocked FROM blocks WHERE blocker = ANY(\(users))
            UNION ALL SELECT blocked, blocker FROM blocks WHERE blocked = ANY(\(users))
            """
        ).map { (one: $0.uuid(0), other: $0.uuid(1)) }.compactMap { pair in
            privateRoomID(pair.one, pair.other).map {
                Membership(user: pair.one, room: $0, lastSeq: 0, isBlocked: true, isRoom: false)
            }
        }
    }

    public func lastSeqs(of rooms: [UUID128]) throws(StoreError) -> [UUID128: UInt64] {
        let rows = try read("SELECT id, last_seq FROM rooms WHERE id = ANY(\(rooms))")
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.uuid(0), UInt64($0.int8(1))) })
    }

    public func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128? {
        try read("SELECT room_id FROM messages WHERE id = \(message)").first?.uuid(0)
    }

    public func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(StoreError) -> [RoomFrame] {
        let after = Int64(clamping: seq)
        let through = after.addingReportingOverflow(Int64(limit)).partialValue
        let messages = try read(
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m
            WHERE m.room_id = \(room) AND m.seq > \(after) AND m.seq <= \(through)
            """
        ).map { row -> RoomFrame in
            let message = Message(row)
            // The previous version gave an incomplete file a Seq.
            guard message.status != .uploading else { return .skipped(message.seq, in: room) }
            var frame = RoomFrame(
                seq: UInt64(message.seq), kind: .newMessage, sign: message.sign, body: message.body(at: message.seq))
            frame.asker = message.senderID
            return frame
        }
        let events = try read(
            """
            SELECT \(unsafeSQL: RoomFrame.eventColumns), e.actor_id
            FROM room_events e LEFT JOIN messages m ON m.id = e.message_id
            WHERE e.room_id = \(room) AND e.seq > \(after) AND e.seq <= \(through)
            """
        ).map { row -> RoomFrame in
            var frame = RoomFrame(event: row, at: 0)
            frame.sign = row.optionalText(2)
            frame.asker = row.uuid(9 + Message.columnCount)
            return frame
        }
        return (messages + events).sorted { $0.seq < $1.seq }
    }

    private func read(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
