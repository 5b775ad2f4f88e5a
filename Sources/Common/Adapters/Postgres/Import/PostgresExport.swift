public import ChatCore

/// Everything, one room, or what is stored about one user.
public enum ExportScope: Sendable {
    case all
    case room(UUID128)
    case user(UUID128)
}

/// Reads what an import takes, as of one moment, by cursors: memory does not grow with the database.
///
/// The transaction lasts as long as the reading. `write` must not wait for anybody; a process that is stopped loses its
/// transaction after a minute.
public final class PostgresExport {
    let connection: PostgresConnection
    /// Rows that are in memory at once.
    static let page = 500

    /// - Parameter connection: used for this alone, and no pooler's in transaction mode.
    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Calls `write` with JSON values, one for each line.
    ///
    /// - Returns: false: there is no such room.
    public func run(_ scope: ExportScope, namespace: UUID128, _ write: @escaping ([UInt8]) throws -> Void) throws
        -> Bool
    {
        try connection.script(
            "SET idle_in_transaction_session_timeout = '60s'; SET statement_timeout = '600s'; SET lock_timeout = '60s'; "
                + "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        let out = ExportLines(write)
        try out.line("export") {
            $0.field("Version", 1)
            $0.field("UserNamespace", namespace)
            // An import refuses it: messages without those around them make no room.
            if case .user(let user) = scope { $0.field("User", user) }
        }
        switch scope {
        case .all: try all(out)
        case .room(let room): guard try one(room, out) else { return false }
        case .user(let user): try everything(about: user, out)
        }
        try connection.script("COMMIT")
        connection.close()
        return true
    }

    /// Rows of a statement, in pages. Several may be open at once.
    func each(_ name: String, _ sql: SQL, _ read: (PGRow) throws -> Void) throws {
        try pages(name, sql) { page in for index in 0..<page.count { try read(page[index]) } }
    }

    func pages(_ name: String, _ sql: SQL, _ read: (PGRows) throws -> Void) throws {
        _ = try connection.query("DECLARE \(unsafeSQL: name) NO SCROLL CURSOR FOR \(sql)")
        while true {
            let page = try connection.query("FETCH \(unsafeSQL: "\(Self.page)") FROM \(unsafeSQL: name)")
            try read(page)
            guard page.count == Self.page else { break }
        }
        _ = try connection.query("CLOSE \(unsafeSQL: name)")
    }

    // MARK: Scopes

    private func all(_ out: ExportLines) throws {
        try each("users_out", "SELECT \(unsafeSQL: ExportLines.userColumns) FROM users u ORDER BY u.id", out.user)
        try each(
            "accounts_out", "SELECT \(unsafeSQL: ExportLines.accountColumns) FROM accounts ORDER BY user_id",
            out.account)
        try each("blocks_out", "SELECT blocker, blocked, created_at FROM blocks ORDER BY blocker, blocked", out.block)
        try each("rooms_out", Self.rooms(Self.isKept)) {
            try whole(
                $0,
                references: """
                    (p.room_id = m.room_id OR EXISTS (SELECT FROM rooms r WHERE r.id = p.room_id
                        AND \(unsafeSQL: Room.isComplete()) AND \(Self.isKept)))
                    """, out)
        }
    }

    /// Of a PRIVATE room that is deleted, because both were erased, nothing is left, and no import takes the pair its room.
    private static let isKept: SQL = "NOT (\(unsafeSQL: Room.isPrivate()) AND r.deleted_at IS NOT NULL)"

    private func one(_ id: UUID128, _ out: ExportLines) throws -> Bool {
        try each(
            "users_out",
            """
            SELECT \(unsafeSQL: ExportLines.userColumns) FROM users u
            WHERE u.id IN (SELECT user_id FROM members WHERE room_id = \(id)) ORDER BY u.id
            """, out.user)
        var isHere = false
        try each("rooms_out", Self.rooms("r.id = \(id) AND \(Self.isKept)")) { row in
            isHere = true
            // Messages of other rooms are not in the file.
            try whole(row, references: "p.room_id = m.room_id", out)
        }
        return isHere
    }

    /// Rooms that an import has begun are nobody's yet.
    static func rooms(_ condition: SQL) -> SQL {
        """
        SELECT \(unsafeSQL: Room.columns),
            CASE WHEN \(unsafeSQL: Room.isPrivate()) THEN ARRAY(
                SELECT p.user_id FROM members p WHERE p.room_id = r.id ORDER BY 1) END
        FROM rooms r WHERE \(unsafeSQL: Room.isComplete()) AND (\(condition)) ORDER BY r.id
        """
    }

    private func whole(_ row: PGRow, references: SQL, _ out: ExportLines) throws {
        let room = Room(row)
        try out.room(room, pair: row.uuids(Room.columnCount))
        try each(
            "members_out",
            "SELECT \(unsafeSQL: Member.columns) FROM members p WHERE p.room_id = \(room.id) ORDER BY p.user_id"
        ) { try out.member(Member($0)) }
        try messages("m.room_id = \(room.id)", references: references, out)
    }

    /// Messages in the order of their room, each followed by its earlier contents. A file that never came is none.
    ///
    /// - Parameter references: whether a message `p` is in the export, so that another one may name it.
    func messages(_ condition: SQL, references: SQL = "true", _ out: ExportLines) throws {
        let sql: SQL = """
            SELECT \(unsafeSQL: MessageColumn.table.selected), NULL::jsonb,
                m.parent_message_id IS NOT NULL AND EXISTS (
                    SELECT FROM messages p WHERE p.id = m.parent_message_id AND p.seq > 0 AND \(references)),
                m.forwarded_from IS NOT NULL AND EXISTS (
                    SELECT FROM messages p WHERE p.id = m.forwarded_from AND p.seq > 0 AND \(references)),
                CASE WHEN m.content_type <> 1 THEN (
                    SELECT l.url FROM file_links l WHERE l.message_id = coalesce(m.forwarded_from, m.id)) END
            FROM messages m WHERE (\(condition)) AND m.seq > 0 ORDER BY m.room_id, m.seq
            """
        try pages("messages_out", sql) { page in
            let messages = page.map { Message($0) }
            let edits = try edits(of: messages.filter { $0.editedAt != nil && $0.deletedAt == nil }.map(\.id))
            for (index, message) in messages.enumerated() {
                let (row, at) = (page[index], Message.columnCount)
                try out.message(
                    message, hasParent: row.bool(at), hasOriginal: row.bool(at + 1), url: row.optionalText(at + 2))
                for edit in edits[message.id] ?? [] { try out.edit(edit, of: message.id) }
            }
        }
    }

    private func edits(of messages: [UUID128]) throws -> [UUID128: [EarlierContent]] {
        guard !messages.isEmpty else { return [:] }
        var found: [UUID128: [EarlierContent]] = [:]
        let rows = try connection.query(
            """
            SELECT message_id, content, edited_at, change_seq FROM message_edits WHERE message_id = ANY(\(messages))
            ORDER BY message_id, change_seq
            """)
        for row in rows.map({ $0 }) {
            found[row.uuid(0), default: []].append(
                EarlierContent(content: row.text(1), replacedAt: row.time(2), changeSeq: row.int8(3)))
        }
        return found
    }
}
