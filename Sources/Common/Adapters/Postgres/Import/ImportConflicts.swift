import ChatCore

/// Lines that cannot be stored as they are because of what is here: what one user has done meanwhile refuses no file.
///
/// Each is noted, and stored without the field that is in the way, or left out. Everything else is stored.
enum ImportConflicts {
    static let create = """
        CREATE TEMPORARY TABLE import_notes (line bigint, text text, is_told boolean NOT NULL DEFAULT false);
        CREATE TEMPORARY TABLE import_gone (id uuid, room_id uuid); \(ImportErased.create)
        """

    /// Notes that nobody has read yet.
    static let untold = """
        WITH told AS (UPDATE import_notes SET is_told = true WHERE NOT is_told RETURNING line, text)
        SELECT DISTINCT line, text FROM told
        """

    /// When the lines themselves are good, and before rooms get their parts.
    static func all(_ rules: ImportRules) -> [String] {
        [former, ImportErased.known] + refused + rules.crowds + [purged, deletedRooms, roomSigns] + left
            + [unanswered, forwards(of: everything), incomplete, signs] + rules.conflicts
    }

    // MARK: Members

    /// Whoever wrote or reacted has been a member: an erasure and the export of a user find them by that.
    private static let former = """
        INSERT INTO import_members (line, digest, room_id, user_id, role, joined_at, joined_seq, left_at, numbered, former)
        SELECT min(s.line), 0, s.room_id, s.user_id, 1, min(s.first), 0, max(s.last), false, true FROM (
            SELECT room_id, sender_id AS user_id, min(line) AS line, min(created_at) AS first, max(created_at) AS last
            FROM import_messages m WHERE NOT \(Message.isOfHost()) GROUP BY 1, 2
            UNION ALL SELECT m.room_id, u::uuid, m.line, m.created_at, m.created_at FROM import_messages m,
                jsonb_array_elements(m.reactions) r, jsonb_array_elements_text(r->'Users') u WHERE m.reactions IS NOT NULL
        ) s JOIN import_targets t ON t.id = s.room_id AND t.state IN (0, 2)
        WHERE NOT EXISTS (SELECT FROM import_members p WHERE p.room_id = s.room_id AND p.user_id = s.user_id)
            AND NOT EXISTS (SELECT FROM members p WHERE p.room_id = s.room_id AND p.user_id = s.user_id)
        GROUP BY s.room_id, s.user_id
        """

    // MARK: Rooms of which nothing is stored

    private static let refused = [
        refuse(
            "r.line, r.id, 'the room is here, and of another Type: nothing of it is stored'",
            "import_rooms r JOIN rooms d ON d.id = r.id AND d.type <> r.type"),
        refuse(
            "r.line, r.id, 'the room has more than \(ImportLimit.seq) Seqs: nothing of it is stored'",
            """
            import_rooms r WHERE r.last_seq > \(ImportLimit.seq)
                OR EXISTS (SELECT FROM import_members m WHERE m.room_id = r.id AND m.last_seen_seq > \(ImportLimit.seq))
            """),
    ]

    /// - Parameter found: the line, the room and a sentence, of `source`.
    static func refuse(_ found: String, _ source: String) -> String {
        """
        WITH found (line, room_id, text) AS MATERIALIZED (SELECT \(found) FROM \(source)), refused AS (
            UPDATE import_targets t SET state = 5 FROM found f WHERE f.room_id = t.id AND t.state IN (0, 2)
        ) INSERT INTO import_notes SELECT line, text FROM found
        """
    }

    private static let purged = """
        DELETE FROM import_messages m USING import_targets t WHERE t.id = m.room_id AND t.state = 5;
        DELETE FROM import_members m USING import_targets t WHERE t.id = m.room_id AND t.state = 5
        """

    private static let deletedRooms = """
        INSERT INTO import_notes SELECT r.line, 'the room was deleted here: nothing of it is stored' FROM import_rooms r
        JOIN import_targets t ON t.id = r.id WHERE t.state = 3 AND r.deleted_at IS NULL
        """

    /// A room of clients that has come since the checks, and that is not the one of the lines.
    static let changedRooms =
        refuse(
            "r.line, r.id, 'the room is here, and of another Type: nothing of it is stored'",
            "import_rooms r JOIN import_targets t ON t.id = r.id AND t.state = 0 JOIN rooms d ON d.id = r.id AND d.type <> r.type"
        )
        + ";\nUPDATE import_targets SET state = 2 WHERE state = 0"

    // MARK: Lines that are left out

    private static let left = [
        // The store has its bytes under this id.
        leaveOut(
            "m.line, 'ID is that of a message that is gone, and whose file is not: not stored'",
            """
            import_messages m WHERE \(ImportChecks.isNew) AND (
                EXISTS (SELECT FROM uploads u WHERE u.message_id = m.id)
                OR EXISTS (SELECT FROM messages h WHERE h.forwarded_from = m.id AND NOT EXISTS (
                    SELECT FROM import_messages o WHERE o.id = h.id AND \(isTheSame))))
            """),
        leaveOut(
            "m.line, 'the other user of this PRIVATE room has blocked the sender: not stored'",
            """
            import_messages m JOIN import_targets t ON t.id = m.room_id AND t.state IN (0, 2)
            JOIN (\(pairs)) p ON p.room_id = m.room_id AND p.user_id <> m.sender_id
            JOIN blocks b ON b.blocker = p.user_id AND b.blocked = m.sender_id
            WHERE \(ImportChecks.isNew) AND (m.created_at > b.created_at OR t.state = 2 AND NOT \(blockIsOfTheFile))
            """),
        // The room has gone another way since the file was written.
        """
        WITH gone AS (
            DELETE FROM import_messages m USING import_targets t, rooms d
            WHERE t.id = m.room_id AND t.state = 2 AND d.id = m.room_id AND m.seq <= d.last_seq AND \(ImportChecks.isNew)
            RETURNING m.line, m.id, m.room_id, m.seq, d.last_seq
        ), noted AS (
            INSERT INTO import_gone SELECT id, room_id FROM gone
        ) INSERT INTO import_notes
        SELECT min(line), format('Seq is %s, and the room is at %s without this message: not stored%s; leave Seq out to append it',
            min(seq), max(last_seq), CASE WHEN count(*) > 1 THEN format(', nor are %s others of the room', count(*) - 1) END)
        FROM gone GROUP BY room_id
        """,
    ]

    /// Members of PRIVATE rooms.
    private static let pairs = """
        SELECT id AS room_id, one AS user_id FROM import_rooms WHERE type = 1
        UNION SELECT id, other FROM import_rooms WHERE type = 1
        UNION SELECT q.room_id, q.user_id FROM members q JOIN rooms d ON d.id = q.room_id AND d.type = 1
        WHERE d.id IN (SELECT id FROM import_targets WHERE state = 2)
        """

    /// A block `b` that came with a message `m`, both from the other service: times tell what was before it.
    private static let blockIsOfTheFile = """
        EXISTS (SELECT FROM import_blocks f WHERE f.blocker = b.blocker AND f.blocked = b.blocked
            AND f.created_at = b.created_at)
        """

    private static func leaveOut(_ found: String, _ source: String) -> String {
        """
        WITH found (line, text) AS MATERIALIZED (SELECT \(found) FROM \(source)), gone AS (
            DELETE FROM import_messages m USING found f WHERE f.line = m.line RETURNING m.id, m.room_id
        ), noted AS (
            INSERT INTO import_gone SELECT id, room_id FROM gone
        ) INSERT INTO import_notes SELECT DISTINCT line, text FROM found
        """
    }

    private static let unanswered = without(
        "parent = NULL", "ParentMessageID: the message is not stored, so this one is stored without it",
        """
        import_messages m JOIN import_gone g ON g.id = m.parent AND m.message_type <> 3
        WHERE NOT EXISTS (SELECT FROM messages h WHERE h.id = g.id)
        """)

    // MARK: Fields that are left out

    private static func without(_ change: String, _ text: String, _ source: String) -> String {
        """
        WITH found AS MATERIALIZED (SELECT m.line FROM \(source)), changed AS (
            UPDATE import_messages m SET \(change) FROM found f WHERE f.line = m.line
        ) INSERT INTO import_notes SELECT DISTINCT line, '\(text)' FROM found
        """
    }

    /// The line `o` describes the message `h` that is here, and that the line `m` forwards: whoever wrote it has seen all of
    /// it. Of a deleted one only imported messages are known in this way: others have a record of their file.
    private static let isTheSame = """
        o.room_id = h.room_id AND o.sender_id = h.sender_id AND o.created_at = h.created_at AND h.seq > 0
            AND o.content_type = h.content_type AND (
                o.deleted_at IS NULL AND h.deleted_at IS NULL AND o.content = h.content
                    AND o.file_name IS NOT DISTINCT FROM h.file_name AND o.file_size IS NOT DISTINCT FROM h.file_size
                OR o.deleted_at = h.deleted_at AND NOT EXISTS (SELECT FROM uploads u WHERE u.message_id = h.id)
                    AND NOT EXISTS (
                        SELECT FROM file_links l WHERE l.message_id = h.id AND l.url IS DISTINCT FROM m.file_url))
        """

    private static let everything = "import_messages m WHERE \(ImportChecks.isNew) AND"
    /// Messages that are stored now: all of it may have changed since the checks.
    private static let part = "import_part p JOIN import_messages m ON m.line = p.line WHERE"

    /// Whoever forwards a message gets its file: so it is one of the file, or one that the sender may see.
    private static func forwards(of lines: String) -> String {
        without(
            "forwarded = NULL, parent = NULL",
            "ForwardedFrom: the message is none that the sender may see, so this one is stored without it",
            "\(lines) m.message_type = 3 AND (\(isBarred("m.forwarded")) OR \(isBarred("m.parent")))")
    }

    private static func isBarred(_ column: String) -> String {
        let id = "coalesce((SELECT w.twin FROM import_twins w WHERE w.id = \(column)), \(column))"
        return """
            \(column) IS NOT NULL AND CASE WHEN EXISTS (SELECT FROM messages h WHERE h.id = \(id)) THEN NOT EXISTS (
                SELECT FROM messages h JOIN rooms r ON r.id = h.room_id
                JOIN members q ON q.room_id = h.room_id AND q.user_id = m.sender_id
                WHERE h.id = \(id) AND h.seq > 0 AND h.deleted_at IS NULL AND r.deleted_at IS NULL AND \(Member.active("q"))
                UNION ALL SELECT FROM messages h JOIN rooms r ON r.id = h.room_id JOIN import_messages o ON o.id = h.id
                WHERE h.id = \(id) AND \(isTheSame) AND (r.deleted_at IS NULL OR EXISTS (
                    SELECT FROM import_rooms i WHERE i.id = r.id AND (i.deleted_at = r.deleted_at OR r.deleted_at = 'infinity'))))
            ELSE NOT EXISTS (
                SELECT FROM import_messages o JOIN import_targets t ON t.id = o.room_id AND t.state IN (0, 1, 2)
                WHERE o.id = \(column)) END
            """
    }

    /// A file's message that is not complete may still be refused.
    private static let incomplete = without(
        "parent = NULL", "ParentMessageID names a message whose file is not complete: stored without it",
        """
        import_messages m JOIN messages h ON h.id = m.parent AND h.seq <= 0
        WHERE m.message_type <> 3 AND \(ImportChecks.isNew)
        """)

    /// Also when a sender uses one while the import runs.
    static let signs = without(
        "sign = NULL", "the sender has used this Sign for another message: stored without it",
        """
        import_messages m JOIN messages d ON d.sender_id = m.sender_id AND d.sign = m.sign AND d.id <> m.id
        WHERE \(ImportChecks.isNew)
        """)

    static let roomSigns = """
        WITH taken AS (
            UPDATE import_rooms r SET sign = NULL FROM rooms d
            WHERE d.created_by = coalesce(r.created_by, r.owner_id) AND d.created_sign = r.sign AND d.id <> r.id
                AND NOT EXISTS (SELECT FROM rooms h WHERE h.id = r.id)
            RETURNING r.line
        ) INSERT INTO import_notes
        SELECT DISTINCT line, 'CreatedBy has made another room with this Sign: stored without it' FROM taken
        """

    // MARK: At the moment of storing

    /// New rooms have no messages of others.
    static let storingNew = forwards(of: part)

    /// A room in use, whose rest of lines is `mine`, before its part is chosen.
    static func choosing(_ mine: String) -> [String] {
        [
            """
            INSERT INTO import_notes SELECT min(d.line), 'the room was deleted here: nothing more of it is stored'
            FROM import_rest d WHERE \(mine) AND NOT EXISTS (SELECT FROM import_head) HAVING count(*) > 0
            """,
            """
            WITH gone AS (
                DELETE FROM import_rest d USING import_messages m, rooms r, members q, blocks b
                WHERE \(mine) AND m.line = d.line AND r.id = d.room_id AND r.type = 1 AND q.room_id = r.id
                    AND q.user_id <> m.sender_id AND b.blocker = q.user_id AND b.blocked = m.sender_id
                    AND \(ImportChecks.isNew) AND (m.created_at > b.created_at OR NOT \(blockIsOfTheFile))
                RETURNING d.line
            ) INSERT INTO import_notes
            SELECT DISTINCT line, 'the other user of this PRIVATE room has blocked the sender: not stored' FROM gone
            """,
        ]
    }

    static let appending = [
        without(
            "parent = NULL", "ParentMessageID names no message that is shown in this room now: stored without it",
            """
            \(part) m.parent IS NOT NULL AND m.message_type <> 3 AND NOT EXISTS (
                SELECT FROM messages h
                WHERE h.id = coalesce((SELECT w.twin FROM import_twins w WHERE w.id = m.parent), m.parent)
                    AND h.room_id = m.room_id AND h.seq > 0)
                AND NOT EXISTS (SELECT FROM import_part q JOIN import_messages o ON o.line = q.line WHERE o.id = m.parent)
            """),
        storingNew,
        """
        INSERT INTO members (room_id, user_id, role, joined_at, joined_seq, left_at)
        SELECT DISTINCT f.room_id, f.user_id, f.role, f.joined_at, f.joined_seq, f.left_at
        FROM import_head r JOIN import_members f ON f.room_id = r.id AND f.former ON CONFLICT DO NOTHING
        """,
    ]
}
