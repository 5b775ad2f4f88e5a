import ChatCore

/// Each is sent as one message and is one transaction: it begins, goes on and ends on the server, whatever happens to this
/// process meanwhile.
enum ImportScripts {
    /// Seqs below the newest that a socket may still ask for, each of which must be told.
    private static let told = 1000

    // MARK: New rooms

    /// Small rooms, complete.
    static func small(_ part: Int64) -> String {
        [
            ImportErased.first, "TRUNCATE import_made, import_part, import_finish",
            made("NOT p.is_big AND p.part = \(part)"),
            "ANALYZE import_made", members,
            """
            INSERT INTO import_part SELECT o.line, o.seq, o.change_seq FROM import_order o
            JOIN import_made k ON k.id = o.room_id WHERE NOT o.is_big AND o.part = \(part)
            """,
            "ANALYZE import_part", ImportConflicts.storingNew,
        ].joined(separator: ";\n") + ";\n" + (stored(isNew: true) + finished).joined(separator: ";\n")
    }

    /// The beginning of a large room, which nobody sees.
    static func begin(_ room: UUID128) -> String {
        [
            ImportErased.first, "TRUNCATE import_made, import_part, import_finish",
            made("p.is_big AND p.id = '\(room)'"), members,
        ].joined(separator: ";\n")
    }

    static func messages(of room: UUID128, _ part: Int64) -> String {
        [
            ImportErased.first, "TRUNCATE import_part",
            """
            INSERT INTO import_part SELECT o.line, o.seq, o.change_seq FROM import_order o
            WHERE o.room_id = '\(room)' AND o.part = \(part)
            """,
            "ANALYZE import_part", ImportConflicts.storingNew,
        ].joined(separator: ";\n") + ";\n" + stored(isNew: true).joined(separator: ";\n")
    }

    /// Statements that end a large room, each of them a transaction: until the last one nobody sees it.
    static let end = finished

    private static func made(_ condition: String) -> String {
        """
        WITH made AS (
            INSERT INTO rooms (id, type, name, description, avatar, owner_id, member_count, member_limit, last_activity_at,
                created_at, created_by, created_sign, deleted_at, epoch, metadata, slow_mode_seconds)
            SELECT r.id, r.type, r.name, r.description, r.avatar, r.owner_id, 0, r.member_limit, r.created_at, r.created_at,
                coalesce(r.created_by, r.owner_id), r.sign, 'infinity',
                CASE WHEN r.elsewhere THEN extract(epoch FROM now())::bigint ELSE 1 END, r.metadata,
                r.slow_mode_seconds
            FROM import_plan p JOIN import_rooms r ON r.id = p.id JOIN import_targets t ON t.id = r.id AND t.state = 0
            WHERE \(condition) ORDER BY r.id
            ON CONFLICT (id) DO NOTHING RETURNING id
        ) INSERT INTO import_made SELECT id FROM made
        """
    }

    private static let members = """
        INSERT INTO members (room_id, user_id, role, muted_until, banned_at, joined_at, joined_seq, left_at, metadata)
        SELECT m.room_id, m.user_id, m.role, m.muted_until, m.banned_at, m.joined_at, m.joined_seq, m.left_at, m.metadata
        FROM import_made k JOIN import_members m ON m.room_id = k.id ORDER BY m.room_id, m.user_id
        """

    /// The messages of `import_part` and what belongs to them.
    ///
    /// - Parameter isNew: of a new room: the Seqs of an export are kept.
    private static func stored(isNew: Bool) -> [String] {
        [messages, edits(isNew: isNew), links, uploads]
    }

    private static let messages = """
        INSERT INTO messages (id, room_id, sender_id, seq, change_seq, content, content_type, message_type, sign,
            parent_message_id, forwarded_from, status, file_name, file_size, file_content_type, file_thumbnail,
            file_media, reactions, edited_at, deleted_at, pinned_at, created_at, metadata)
        SELECT m.id, m.room_id, m.sender_id, p.seq, p.change_seq, m.content, m.content_type, m.message_type, m.sign,
            coalesce((SELECT w.twin FROM import_twins w WHERE w.id = m.parent), m.parent),
            coalesce((SELECT w.twin FROM import_twins w WHERE w.id = m.forwarded), m.forwarded),
            m.status, m.file_name, m.file_size, m.file_content_type, m.file_thumbnail, m.file_media, m.reactions,
            m.edited_at, m.deleted_at, m.pinned_at, m.created_at, m.metadata
        FROM import_part p JOIN import_messages m ON m.line = p.line
        """

    private static func edits(isNew: Bool) -> String {
        let ours = "p.seq + row_number() OVER (PARTITION BY e.message_id ORDER BY e.edited_at, e.change_seq, e.line)"
        return """
            INSERT INTO message_edits (message_id, change_seq, content, edited_at)
            SELECT e.message_id, \(isNew ? "coalesce(e.change_seq, \(ours))" : ours), e.content, e.edited_at
            FROM import_part p JOIN import_messages m ON m.line = p.line JOIN import_edits e ON e.message_id = m.id
            """
    }

    /// Of a message's own file alone: an address of another's would lead its readers elsewhere.
    private static let links = """
        INSERT INTO file_links (message_id, url)
        SELECT m.id, coalesce(m.file_url, l.url) FROM import_part p JOIN import_messages m ON m.line = p.line
        LEFT JOIN import_links l ON l.id = m.id
        WHERE m.forwarded IS NULL AND coalesce(m.file_url, l.url) IS NOT NULL
        """

    /// The bytes come with a copy of the store: with the record the sweeper removes them with the message.
    private static let uploads = """
        INSERT INTO uploads (message_id, upload_id, total, media_type, owner, size, created_at, completed_at, looked_at)
        SELECT m.id, '', 1, m.file_content_type, m.sender_id, m.file_size, m.created_at, m.created_at, m.created_at
        FROM import_part p JOIN import_messages m ON m.line = p.line
        WHERE m.file_url IS NULL AND m.file_name IS NOT NULL AND m.forwarded IS NULL
        """

    /// The rooms of `import_made`: counts, read marks, Seqs without a message; then they appear.
    private static let finished = [counted, seen, skipped, shown, noted]

    private static let noted = "UPDATE import_targets t SET state = 1 FROM import_made k WHERE k.id = t.id"

    private static let counted = """
        INSERT INTO import_finish
        SELECT r.id, greatest(r.last_seq, s.change_seq, 0), coalesce(s.of_users, 0), coalesce(s.seq, 0),
            greatest(r.last_activity_at, s.at, r.created_at)
        FROM import_made k JOIN import_rooms r ON r.id = k.id LEFT JOIN (
            SELECT o.room_id, max(o.seq) AS seq, max(o.change_seq) AS change_seq, max(m.created_at) AS at,
                count(*) FILTER (WHERE \(Message.isOfUser())) AS of_users
            FROM import_made k JOIN import_order o ON o.room_id = k.id JOIN import_messages m ON m.line = o.line
            GROUP BY o.room_id
        ) s ON s.room_id = r.id
        """

    /// Read marks, and what unread counts are made of.
    private static let seen = """
        UPDATE members p SET last_seen_seq = n.seen, sent_count = n.sent,
            seen_count = CASE WHEN n.seen >= n.last THEN n.total WHEN n.seen = 0 THEN 0 ELSE (
                SELECT count(*) FROM messages m WHERE m.room_id = n.room_id AND m.seq > 0 AND m.seq <= n.seen
                    AND \(Message.isOfUser())) END,
            seen_sent_count = CASE WHEN n.seen >= n.last THEN n.sent WHEN n.seen = 0 THEN 0 ELSE (
                SELECT count(*) FROM messages m WHERE m.room_id = n.room_id AND m.seq > 0 AND m.seq <= n.seen
                    AND m.sender_id = n.user_id AND \(Message.isOfUser())) END
        FROM (
            SELECT i.room_id, i.user_id, f.last_message_seq AS last, f.message_count AS total, coalesce(s.sent, 0) AS sent,
                coalesce(
                    CASE WHEN i.last_seen_seq IS NOT NULL THEN least(i.last_seen_seq, f.last_seq) END,
                    CASE WHEN i.last_seen_at IS NOT NULL THEN coalesce((
                        SELECT m.seq FROM messages m
                        WHERE m.room_id = f.id AND m.seq > 0 AND m.created_at <= i.last_seen_at
                        ORDER BY m.seq DESC LIMIT 1), 0) END,
                    f.last_message_seq) AS seen
            FROM import_finish f JOIN import_members i ON i.room_id = f.id LEFT JOIN (
                SELECT m.room_id, m.sender_id, count(*) AS sent FROM import_finish f JOIN messages m ON m.room_id = f.id
                WHERE \(Message.isOfUser()) GROUP BY m.room_id, m.sender_id
            ) s ON s.room_id = i.room_id AND s.sender_id = i.user_id
        ) n
        WHERE p.room_id = n.room_id AND p.user_id = n.user_id
        """

    /// Every Seq that a socket may still ask for is told: those that are no message's, as changes that say nothing.
    private static let skipped = """
        INSERT INTO room_events (room_id, seq, command_id, actor_id, kind, created_at)
        SELECT f.id, g.seq, gen_random_uuid(), r.owner_id, \(FrameKind.roomUpdated.rawValue), f.at
        FROM import_finish f JOIN import_rooms r ON r.id = f.id
        CROSS JOIN LATERAL generate_series(greatest(1, f.last_seq - \(told)), f.last_seq) g (seq)
        WHERE NOT EXISTS (SELECT FROM messages m WHERE m.room_id = f.id AND m.seq = g.seq)
        """

    /// The members are counted as they are stored, with the room locked: a line says otherwise of a user who was erased
    /// since the room began. Their erasure ends the membership when the room is shown, and takes one from this number.
    private static let shown = """
        SELECT FROM rooms r JOIN import_finish f ON f.id = r.id ORDER BY r.id FOR UPDATE OF r;
        UPDATE rooms r SET last_seq = f.last_seq, message_count = f.message_count, last_message_seq = f.last_message_seq,
            member_count = (SELECT count(*) FROM members p WHERE p.room_id = r.id AND \(Member.active("p"))),
            last_activity_at = f.at, deleted_at = i.deleted_at
        FROM import_finish f JOIN import_rooms i ON i.id = f.id WHERE r.id = f.id
        """

    // MARK: Rooms in use

    /// A part of a room in use, at its end. queue-worker locks the row in the same way; one with the room in memory compares
    /// the last Seq, and loads it again. Clients may have sent one of the messages since the checks: it is the one.
    static func append(to room: UUID128, _ part: Int64) -> String {
        let mine = "d.room_id = '\(room)' AND d.part = \(part)"
        let statements =
            [
                ImportErased.first, "TRUNCATE import_head, import_part",
                """
                INSERT INTO import_head SELECT id, last_seq FROM rooms WHERE id = '\(room)' AND deleted_at IS NULL FOR UPDATE
                """,
                """
                INSERT INTO import_twins SELECT m.id, h.id FROM import_rest d JOIN import_messages m ON m.line = d.line
                JOIN messages h ON h.sender_id = m.sender_id AND h.sign = m.sign AND h.room_id = m.room_id AND h.id <> m.id
                WHERE \(mine) ON CONFLICT DO NOTHING
                """,
            ] + ImportConflicts.choosing(mine) + [
                """
                INSERT INTO import_part SELECT m.line, r.last_seq + (sum(d.cost) OVER w)::bigint - d.cost + 1,
                    r.last_seq + (sum(d.cost) OVER w)::bigint
                FROM import_head r CROSS JOIN import_rest d JOIN import_messages m ON m.line = d.line
                WHERE \(mine) AND \(ImportChecks.isNew) WINDOW w AS (ORDER BY d.place)
                """
            ] + ImportConflicts.appending + stored(isNew: false) + [edited, grown(room), sent(room)]
        return statements.joined(separator: ";\n")
    }

    /// Each Seq of an edit tells the message as it is.
    private static let edited = """
        INSERT INTO room_events (room_id, seq, command_id, actor_id, kind, message_id, created_at)
        SELECT m.room_id, g.seq, gen_random_uuid(), m.sender_id, \(FrameKind.messageUpdated.rawValue), m.id, now()
        FROM import_part p JOIN import_messages m ON m.line = p.line
        CROSS JOIN LATERAL generate_series(p.seq + 1, p.change_seq) g (seq)
        """

    private static func grown(_ room: UUID128) -> String {
        """
        UPDATE rooms r SET last_seq = s.change_seq, message_count = r.message_count + s.of_users,
            last_message_seq = s.seq, last_activity_at = greatest(r.last_activity_at, s.at)
        FROM (
            SELECT max(p.seq) AS seq, max(p.change_seq) AS change_seq, max(m.created_at) AS at,
                count(*) FILTER (WHERE \(Message.isOfUser())) AS of_users
            FROM import_part p JOIN import_messages m ON m.line = p.line
        ) s
        WHERE r.id = '\(room)' AND s.seq IS NOT NULL
        """
    }

    private static func sent(_ room: UUID128) -> String {
        """
        UPDATE members p SET sent_count = p.sent_count + s.sent FROM (
            SELECT m.sender_id, count(*) AS sent FROM import_part p JOIN import_messages m ON m.line = p.line
            WHERE \(Message.isOfUser()) GROUP BY m.sender_id
        ) s WHERE p.room_id = '\(room)' AND p.user_id = s.sender_id
        """
    }
}
