import ChatCore

// Maps rows to values. The columns are in `Columns.swift`.

extension Message {
    static let columns = "\(MessageColumn.table.selected), \(Profile.column("m.sender_id"))"
    static let columnCount = MessageColumn.count + 1

    init(_ row: PGRow, at first: Int = 0, marks: SeenMarks? = nil) {
        let fields = MessageRow(row, at: first, marks: marks)
        self.init(
            id: fields.id, roomID: fields.roomID, senderID: fields.senderID, seq: fields.seq,
            changeSeq: fields.changeSeq, content: fields.content, contentType: fields.contentType,
            messageType: fields.messageType, parentMessageID: fields.parentMessageID,
            forwardedFrom: fields.forwardedFrom, sign: fields.sign, status: fields.status,
            file: fields.file, reactions: fields.reactions, editedAt: fields.editedAt, deletedAt: fields.deletedAt,
            pinnedAt: fields.pinnedAt, createdAt: fields.createdAt, sender: fields.sender, metadata: fields.metadata)
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

    private func at(_ column: MessageColumn) -> Int { first + column.rawValue }
    private func wire(_ column: MessageColumn) -> Text? { row.raw(at(column)).map { Text(row: row, bytes: $0) } }

    var id: UUID128 { row.uuid(at(.id)) }
    var roomID: UUID128 { row.uuid(at(.roomID)) }
    var senderID: UUID128 { row.uuid(at(.senderID)) }
    var sender: Profile? { Profile(row, at: first + MessageColumn.count) }
    var seq: Int64 { row.int8(at(.seq)) }
    var changeSeq: Int64 { row.int8(at(.changeSeq)) }
    var content: String { row.text(at(.content)) }
    var contentText: Text { wire(.content)! }
    var contentType: ContentType { ContentType(rawValue: row.int2(at(.contentType))) ?? .text }
    var messageType: MessageType { MessageType(rawValue: row.int2(at(.messageType))) ?? .direct }
    var parentMessageID: UUID128? { row.optionalUUID(at(.parentMessageID)) }
    var forwardedFrom: UUID128? { row.optionalUUID(at(.forwardedFrom)) }
    var sign: String? { row.optionalText(at(.sign)) }
    var signText: Text? { wire(.sign) }
    var status: MessageStatus {
        let stored = MessageStatus(rawValue: row.int2(at(.status))) ?? .sent
        return marks?.status(stored, of: senderID, seq: seq) ?? stored
    }

    var file: FileInfo? {
        guard let name = row.optionalText(at(.fileName)) else { return nil }
        return FileInfo(
            name: name, size: row.optionalInt8(at(.fileSize)) ?? 0,
            contentType: row.optionalText(at(.fileContentType)) ?? "",
            // Older rows contain an origin, perhaps one that no longer exists.
            thumbnailURL: row.raw(at(.fileThumbnail)).map { _ in FileInfo.thumbnailPath(of: id) },
            media: row.jsonb(at(.fileMedia)).flatMap { try? JSONReader.decode($0) }.map { FileMedia($0) })
    }

    var reactions: [Reaction] { row.jsonb(at(.reactions)).map { [Reaction](json: $0) } ?? [] }
    var editedAt: Int64? { row.optionalTime(at(.editedAt)) }
    var deletedAt: Int64? { row.optionalTime(at(.deletedAt)) }
    var createdAt: Int64 { row.time(at(.createdAt)) }
    var pinnedAt: Int64? { row.optionalTime(at(.pinnedAt)) }
    var metadata: Metadata? { Metadata(row, at: at(.metadata)) }
    var mentions: [UUID128] { row.raw(at(.content)).map { mentionedUsers(in: $0) } ?? [] }
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
    static let columns = RoomColumn.table.selected
    static let columnCount = RoomColumn.count

    init(_ row: PGRow, at first: Int = 0) {
        func at(_ column: RoomColumn) -> Int { first + column.rawValue }
        self.init(
            id: row.uuid(at(.id)), type: RoomType(rawValue: row.int2(at(.type))) ?? .group, name: row.text(at(.name)),
            description: row.text(at(.description)), avatar: row.text(at(.avatar)), ownerID: row.uuid(at(.ownerID)),
            memberCount: row.int4(at(.memberCount)), memberLimit: row.optionalInt4(at(.memberLimit)),
            lastSeq: row.int8(at(.lastSeq)), messageCount: row.int8(at(.messageCount)),
            lastMessageSeq: row.int8(at(.lastMessageSeq)), lastActivityAt: row.time(at(.lastActivityAt)),
            createdAt: row.time(at(.createdAt)), createdBy: row.uuid(at(.createdBy)),
            createdSign: row.optionalText(at(.createdSign)), deletedAt: row.optionalTime(at(.deletedAt)),
            epoch: row.int8(at(.epoch)), metadata: Metadata(row, at: at(.metadata)),
            slowModeSeconds: row.int4(at(.slowModeSeconds)))
    }
}

extension Member {
    /// For a member `p`: deleted messages of others after the last seen Seq. The room's count includes them, but nobody
    /// can read them. The index `messages_not_to_read` covers exactly these.
    static let nothingToRead = """
        (SELECT count(*) FROM messages n WHERE n.room_id = p.room_id AND n.seq > p.last_seen_seq
            AND n.sender_id <> p.user_id AND \(Message.isDeleted("n")) AND \(Message.isOfUser("n")))
        """

    static let columns = "\(MemberColumn.table.selected), \(Profile.column("p.user_id"))"
    static let columnCount = MemberColumn.count + 1

    init(_ row: PGRow, at first: Int = 0) {
        func at(_ column: MemberColumn) -> Int { first + column.rawValue }
        self.init(
            roomID: row.uuid(at(.roomID)), userID: row.uuid(at(.userID)),
            role: Role(rawValue: row.int2(at(.role))) ?? .member, lastSeenSeq: row.int8(at(.lastSeenSeq)),
            seenCount: row.int8(at(.seenCount)), seenSentCount: row.int8(at(.seenSentCount)),
            sentCount: row.int8(at(.sentCount)), mutedUntil: row.optionalTime(at(.mutedUntil)),
            bannedAt: row.optionalTime(at(.bannedAt)), joinedAt: row.time(at(.joinedAt)),
            joinedSeq: row.int8(at(.joinedSeq)), leftAt: row.optionalTime(at(.leftAt)),
            profile: Profile(row, at: first + MemberColumn.count), metadata: Metadata(row, at: at(.metadata)),
            lastSentAt: row.optionalTime(at(.lastSentAt)))
    }
}

extension Metadata {
    fileprivate init?(_ row: PGRow, at column: Int) {
        guard let text = row.optionalText(column) else { return nil }
        self.init(stored: text)
    }
}

extension Profile {
    /// A subquery by the user's key, so that no query has to join the table: one index look-up per row.
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
    static let columns = InvitationColumn.table.selected

    init(_ row: PGRow) {
        func at(_ column: InvitationColumn) -> Int { column.rawValue }
        self.init(
            id: row.uuid(at(.id)), roomID: row.uuid(at(.roomID)), token: row.text(at(.token)),
            createdBy: row.uuid(at(.createdBy)), sign: row.optionalText(at(.sign)),
            expiresAt: row.optionalTime(at(.expiresAt)), maxUses: row.optionalInt4(at(.maxUses)),
            uses: row.int4(at(.uses)), createdAt: row.time(at(.createdAt)), revokedAt: row.optionalTime(at(.revokedAt)))
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
