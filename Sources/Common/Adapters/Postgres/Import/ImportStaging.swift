import ChatCore

/// The lines of an import on their way into temporary tables of this connection: what a killed import leaves is nothing.
struct ImportStaging {
    enum Table: String, CaseIterable {
        case users, accounts, blocks, rooms, members, messages, edits, reactions

        var name: String { "import_\(rawValue)" }

        /// The line, a hash of its bytes, and the record.
        var columns: String {
            switch self {
            case .users:
                """
                id uuid, external_id text, name text, avatar text, metadata text, deactivated_at timestamptz,
                created_at timestamptz
                """
            case .accounts:
                """
                user_id uuid, hides_presence boolean, added_by smallint, push_mentions boolean, quiet_from smallint,
                quiet_to smallint, quiet_zone text
                """
            case .blocks: "blocker uuid, blocked uuid, created_at timestamptz"
            case .rooms:
                """
                given uuid, id uuid, one uuid, other uuid, type smallint, name text, description text, avatar text,
                owner_id uuid, member_limit integer, created_at timestamptz, created_by uuid, sign text,
                deleted_at timestamptz, last_activity_at timestamptz, last_seq bigint, elsewhere boolean, metadata json,
                slow_mode_seconds integer
                """
            case .members:
                """
                room_id uuid, user_id uuid, role smallint, joined_at timestamptz, joined_seq bigint,
                left_at timestamptz, banned_at timestamptz, muted_until timestamptz, last_seen_seq bigint,
                last_seen_at timestamptz, numbered boolean, metadata json
                """
            case .messages:
                """
                id uuid, room_id uuid, sender_id uuid, seq bigint, change_seq bigint, content text,
                content_type smallint, message_type smallint, parent uuid, forwarded uuid, sign text, status smallint,
                file_name text, file_size bigint, file_content_type text, file_thumbnail text, file_media jsonb,
                file_url text, reactions jsonb, edited_at timestamptz, deleted_at timestamptz, pinned_at timestamptz,
                created_at timestamptz, metadata json
                """
            case .edits: "message_id uuid, change_seq bigint, content text, edited_at timestamptz"
            case .reactions: "message_id uuid, emoji text, user_id uuid"
            }
        }

        /// Two lines of the same are one; with other content they are a problem.
        var key: String {
            switch self {
            case .users, .rooms, .messages: "id"
            case .accounts: "user_id"
            case .blocks: "blocker, blocked"
            case .members: "room_id, user_id"
            case .edits: "message_id, digest"
            case .reactions: "message_id, emoji, user_id"
            }
        }
    }

    /// Bytes of rows that wait for the next COPY of their table.
    private static let size = 1 << 20
    /// The signature of PostgreSQL's binary format, no flags, no extension.
    private static let header: [UInt8] =
        Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0] + [UInt8](repeating: 0, count: 8)

    private let connection: PostgresConnection
    private var rows: [Table: [UInt8]] = [:]
    private(set) var counts: [Table: Int] = [:]

    init(_ connection: PostgresConnection) { self.connection = connection }

    func create() throws(PostgresError) {
        for table in Table.allCases {
            try connection.script(
                "CREATE TEMPORARY TABLE \(table.name) (line bigint, digest bigint, \(table.columns))")
        }
        try connection.script(ImportConflicts.create)
    }

    mutating func add(_ table: Table, line: Int64, digest: Int64, _ values: [PGValue]) throws(PostgresError) {
        var bytes = rows.removeValue(forKey: table) ?? Self.header
        append(UInt16(values.count + 2), to: &bytes)
        for value in [PGValue.int8(line), .int8(digest)] + values {
            let start = bytes.count
            append(UInt32.max, to: &bytes)
            guard value.encode(into: &bytes) else { continue }
            let length = UInt32(bytes.count - start - 4)
            for place in 0..<4 { bytes[start + place] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(place))) }
        }
        counts[table, default: 0] += 1
        let isFull = bytes.count >= Self.size
        rows[table] = bytes
        if isFull { try send(table) }
    }

    /// Everything that waits goes to the server, and its planner learns the tables.
    mutating func finish() throws(PostgresError) {
        for table in Table.allCases {
            try send(table)
            try connection.script("ANALYZE \(table.name)")
        }
        // Members without a line, of whom the file has messages.
        try connection.script("ALTER TABLE import_members ADD former boolean NOT NULL DEFAULT false")
    }

    private mutating func send(_ table: Table) throws(PostgresError) {
        guard var bytes = rows.removeValue(forKey: table) else { return }
        // The end of the rows.
        append(UInt16.max, to: &bytes)
        try connection.copy("COPY \(table.name) FROM STDIN (FORMAT binary)", bytes)
    }

    private func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}

extension ImportStaging {
    mutating func add(_ record: ImportRecord, line: Int64, digest: Int64) throws(PostgresError) {
        switch record {
        case .head, .passedOver: return
        case .user(let user): try add(.users, line: line, digest: digest, user.row)
        case .account(let user, let account): try add(.accounts, line: line, digest: digest, account.row(of: user))
        case .block(let blocker, let blocked, let at):
            try add(.blocks, line: line, digest: digest, [.uuid(blocker), .uuid(blocked), .time(at)])
        case .room(let room): try add(.rooms, line: line, digest: digest, room.row)
        case .member(let member): try add(.members, line: line, digest: digest, member.row)
        case .message(let message): try add(.messages, line: line, digest: digest, message.row)
        case .edit(let edit):
            try add(
                .edits, line: line, digest: digest,
                [.uuid(edit.message), .int8(edit.changeSeq), .text(edit.content), .time(edit.replacedAt)])
        case .reaction(let message, let emoji, let user):
            try add(.reactions, line: line, digest: digest, [.uuid(message), .text(emoji), .uuid(user)])
        }
    }
}

extension ImportUser {
    fileprivate var row: [PGValue] {
        [
            .uuid(user.id), .text(user.externalID), .text(name), .text(avatar), .text(metadata),
            .time(deactivatedAt), .time(createdAt),
        ]
    }
}

extension Account {
    fileprivate func row(of user: UUID128) -> [PGValue] {
        func minute(_ value: Int?) -> PGValue { value.map { .int2(Int16(clamping: $0)) } ?? .text(nil) }
        return [
            .uuid(user), .bool(hidesPresence), .int2(addedBy.rawValue), .bool(pushesMentionsOnly),
            minute(quietHours?.from), minute(quietHours?.to), .text(quietHours?.zone),
        ]
    }
}

extension ImportRoom {
    fileprivate var row: [PGValue] {
        [
            .uuid(given), .uuid(room.id), .uuid(pair.first), .uuid(pair.last), .int2(room.type.rawValue),
            .text(room.name), .text(room.description), .text(room.avatar), .uuid(room.ownerID),
            .int4(room.memberLimit.map { Int32(clamping: $0) }), .time(room.createdAt), .uuid(room.createdBy),
            .text(room.createdSign), .time(room.deletedAt), .time(lastActivityAt), .int8(room.lastSeq),
            .bool(isKnownElsewhere), .text(room.metadata?.text), .int4(Int32(clamping: room.slowModeSeconds)),
        ]
    }
}

extension ImportMember {
    fileprivate var row: [PGValue] {
        [
            .uuid(member.roomID), .uuid(member.userID), .int2(member.role.rawValue), .time(member.joinedAt),
            .int8(member.joinedSeq), .time(member.leftAt), .time(member.bannedAt), .time(member.mutedUntil),
            .int8(lastSeenSeq), .time(lastSeenAt), .bool(isNumbered), .text(member.metadata?.text),
        ]
    }
}

extension ImportMessage {
    fileprivate var row: [PGValue] {
        let (m, file) = (message, message.file)
        return [
            .uuid(m.id), .uuid(m.roomID), .uuid(m.senderID), .int8(m.seq == 0 ? nil : m.seq),
            .int8(m.changeSeq == 0 ? nil : m.changeSeq), .text(m.content), .int2(m.contentType.rawValue),
            .int2(m.messageType.rawValue), .uuid(m.parentMessageID), .uuid(m.forwardedFrom), .text(m.sign),
            .int2(m.status.rawValue), .text(file?.name), .int8(file?.size), .text(file?.contentType),
            .text(file?.thumbnailURL), .jsonb(file?.media?.json), .text(fileURL), .jsonb(m.reactions.json),
            .time(m.editedAt), .time(m.deletedAt), .time(m.pinnedAt), .time(m.createdAt), .text(m.metadata?.text),
        ]
    }
}
