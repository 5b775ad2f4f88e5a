import ChatCore

// Maps rows to values: the column lists stand beside the code that reads them.

extension Message {
    static let columns = """
        m.id, m.room_id, m.sender_id, m.seq, m.change_seq, m.content, m.content_type, m.message_type, \
        m.parent_message_id, m.forwarded_from, m.sign, m.status, m.file_name, m.file_size, m.file_content_type, \
        m.file_thumbnail, m.reactions, m.edited_at, m.deleted_at, m.created_at, m.file_media, m.pinned_at, \(Profile.column("m.sender_id"))
        """
    static let columnCount = 23

    init(_ row: PGRow, at first: Int = 0, marks: SeenMarks? = nil) {
        let fields = MessageRow(row, at: first, marks: marks)
        self.init(
            id: fields.id, roomID: fields.roomID, senderID: fields.senderID, seq: fields.seq,
            changeSeq: fields.changeSeq, content: row.text(first + 5), contentType: fields.contentType,
            messageType: fields.messageType, parentMessageID: fields.parentMessageID,
            forwardedFrom: fields.forwardedFrom, sign: row.optionalText(first + 10), status: fields.status,
            file: fields.file, reactions: fields.reactions, editedAt: fields.editedAt, deletedAt: fields.deletedAt,
            pinnedAt: fields.pinnedAt, createdAt: fields.createdAt, sender: fields.sender)
    }
}

/// A message in a result row, read by ``Message/columns``.
struct MessageRow: MessageFields {
    private let row: PGRow
    private let first: Int
    private let marks: SeenMarks?

    /// - Parameter marks: the room's read marks, to tell `seen` from `sent`.
    init(_ row: PGRow, at first: Int = 0, marks: SeenMarks? = nil) {
        self.row = row
        self.first = first
        self.marks = marks
    }

    /// Text inside the result's memory. PostgreSQL guarantees that it is UTF-8 (client_encoding).
    struct Text: WireShape {
        let row: PGRow
        let bytes: UnsafeRawBufferPointer

        func write<W: WireWriter>(to writer: inout W) {
            withExtendedLifetime(row) { writer.utf8(bytes) }
        }
    }

    private func wire(_ column: Int) -> Text? { row.raw(first + column).map { Text(row: row, bytes: $0) } }

    var id: UUID128 { row.uuid(first) }
    var roomID: UUID128 { row.uuid(first + 1) }
    var senderID: UUID128 { row.uuid(first + 2) }
    var sender: Profile? { Profile(row, at: first + 22) }
    var seq: Int64 { row.int8(first + 3) }
    var changeSeq: Int64 { row.int8(first + 4) }
    var contentText: Text { wire(5)! }
    var contentType: ContentType { ContentType(rawValue: row.int2(first + 6)) ?? .text }
    var messageType: MessageType { MessageType(rawValue: row.int2(first + 7)) ?? .direct }
    var parentMessageID: UUID128? { row.optionalUUID(first + 8) }
    var forwardedFrom: UUID128? { row.optionalUUID(first + 9) }
    var signText: Text? { wire(10) }
    var status: MessageStatus {
        let stored = MessageStatus(rawValue: row.int2(first + 11)) ?? .sent
        return marks?.status(stored, of: senderID, seq: seq) ?? stored
    }

    var file: FileInfo? {
        guard let name = row.optionalText(first + 12) else { return nil }
        return FileInfo(
            name: name, size: row.optionalInt8(first + 13) ?? 0, contentType: row.optionalText(first + 14) ?? "",
            // Older rows contain an origin, perhaps one that no longer exists.
            thumbnailURL: row.raw(first + 15).map { _ in FileInfo.thumbnailPath(of: id) },
            media: row.jsonb(first + 20).flatMap { try? JSONReader.decode($0) }.map { FileMedia($0) })
    }

    var reactions: [Reaction] { row.jsonb(first + 16).map { [Reaction](json: $0) } ?? [] }
    var editedAt: Int64? { row.optionalTime(first + 17) }
    var deletedAt: Int64? { row.optionalTime(first + 18) }
    var createdAt: Int64 { row.time(first + 19) }
    var pinnedAt: Int64? { row.optionalTime(first + 21) }
    var mentions: [UUID128] { row.raw(first + 5).map { mentionedUsers(in: $0) } ?? [] }
}

/// The positions of the members who have read furthest. A message becomes `seen` when somebody besides its sender has
/// read that far.
struct SeenMarks {
    private let furthest: [(user: UUID128, seq: Int64)]

    /// Expects the two members who have read furthest, the furthest first.
    init(_ rows: PGRows) { furthest = rows.map { ($0.uuid(0), $0.int8(1)) } }
    init(_ furthest: [(user: UUID128, seq: Int64)]) { self.furthest = furthest }

    func status(_ stored: MessageStatus, of sender: UUID128, seq: Int64) -> MessageStatus {
        guard stored == .sent, let other = furthest.first(where: { $0.user != sender }), other.seq >= seq else {
            return stored
        }
        return .seen
    }
}

extension Room {
    static let columns = """
        r.id, r.type, r.name, r.description, r.avatar, r.owner_id, r.member_count, r.member_limit, r.last_seq, \
        r.message_count, r.last_message_seq, r.last_activity_at, r.created_at, r.created_by, r.created_sign, \
        r.deleted_at, r.epoch
        """
    static let columnCount = 17

    init(_ row: PGRow, at first: Int = 0) {
        self.init(
            id: row.uuid(first), type: RoomType(rawValue: row.int2(first + 1)) ?? .group, name: row.text(first + 2),
            description: row.text(first + 3), avatar: row.text(first + 4), ownerID: row.uuid(first + 5),
            memberCount: row.int4(first + 6), memberLimit: row.optionalInt4(first + 7), lastSeq: row.int8(first + 8),
            messageCount: row.int8(first + 9), lastMessageSeq: row.int8(first + 10),
            lastActivityAt: row.time(first + 11), createdAt: row.time(first + 12),
            createdBy: row.uuid(first + 13),
            createdSign: row.optionalText(first + 14), deletedAt: row.optionalTime(first + 15),
            epoch: row.int8(first + 16))
    }
}

extension Member {
    /// For a member `p`: deleted messages of others after the last seen Seq. The room's count includes them, but nobody
    /// can read them. The index `messages_not_to_read` covers exactly these.
    static let nothingToRead = """
        (SELECT count(*) FROM messages n WHERE n.room_id = p.room_id AND n.seq > p.last_seen_seq
            AND n.sender_id <> p.user_id AND n.status = 4 AND n.message_type <> 4)
        """

    static let columns = """
        p.room_id, p.user_id, p.role, p.last_seen_seq, p.seen_count, p.seen_sent_count, p.sent_count, p.muted_until, \
        p.banned_at, p.joined_at, p.joined_seq, p.left_at, \(Profile.column("p.user_id"))
        """
    static let columnCount = 13

    init(_ row: PGRow, at first: Int = 0) {
        self.init(
            roomID: row.uuid(first), userID: row.uuid(first + 1), role: Role(rawValue: row.int2(first + 2)) ?? .member,
            lastSeenSeq: row.int8(first + 3), seenCount: row.int8(first + 4), seenSentCount: row.int8(first + 5),
            sentCount: row.int8(first + 6), mutedUntil: row.optionalTime(first + 7),
            bannedAt: row.optionalTime(first + 8), joinedAt: row.time(first + 9), joinedSeq: row.int8(first + 10),
            leftAt: row.optionalTime(first + 11), profile: Profile(row, at: first + 12))
    }
}

extension Profile {
    /// By the user's key, so that no query need name the table: one look-up of an index a row.
    static func column(_ user: String) -> String {
        """
        (SELECT jsonb_build_array(u.external_id, u.name, u.avatar, u.version) FROM users u WHERE u.id = \(user))
        """
    }

    init?(_ row: PGRow, at column: Int) {
        guard let values = row.jsonb(column).flatMap({ try? JSONReader.decode($0) })?.array, values.count == 4 else {
            return nil
        }
        self.init(
            externalID: values[0].string, name: values[1].string ?? "", avatar: values[2].string ?? "",
            version: values[3].int ?? 0)
    }
}

extension Invitation {
    static let columns = """
        i.id, i.room_id, i.token, i.created_by, i.sign, i.expires_at, i.max_uses, i.uses, i.created_at, i.revoked_at
        """

    init(_ row: PGRow) {
        self.init(
            id: row.uuid(0), roomID: row.uuid(1), token: row.text(2), createdBy: row.uuid(3), sign: row.optionalText(4),
            expiresAt: row.optionalTime(5), maxUses: row.optionalInt4(6), uses: row.int4(7), createdAt: row.time(8),
            revokedAt: row.optionalTime(9))
    }
}

extension [Reaction] {
    /// Reads the format that ``json`` writes; nothing else writes this column.
    init(json: [UInt8]) {
        let list = (try? JSONReader.decode(json))?.array ?? []
        self = list.compactMap { entry in
            guard let emoji = entry["Reaction"]?.string, let users = entry["Users"]?.array else { return nil }
            return Reaction(emoji: emoji, users: users.compactMap { $0.string.flatMap { UUID128($0) } })
        }
    }

    var json: String? {
        guard !isEmpty else { return nil }
        var writer = JSONWriter()
        writer.array(self) { $1.write(to: &$0) }
        return String(decoding: writer.take(), as: UTF8.self)
    }
}
