import ChatCore

/// Lines beside each other and beside the database. Each check is a statement whose rows are a line and a sentence.
enum ImportChecks {
    /// The states of a room that lines name.
    ///
    /// 0 new; 1 begun by an import that did not end; 2 in use; 3 deleted; 4 nowhere.
    static let targets = """
        CREATE TEMPORARY TABLE import_targets AS
        SELECT k.id, r.line, CASE
            WHEN d.id IS NULL THEN CASE WHEN r.id IS NULL THEN 4 ELSE 0 END
            WHEN d.deleted_at = 'infinity' THEN CASE WHEN r.id IS NULL THEN 4 ELSE 1 END
            WHEN d.deleted_at IS NULL THEN 2 ELSE 3 END AS state
        FROM (
            SELECT DISTINCT room_id AS id FROM import_messages
            UNION SELECT DISTINCT room_id FROM import_members UNION SELECT id FROM import_rooms
        ) k LEFT JOIN import_rooms r ON r.id = k.id LEFT JOIN rooms d ON d.id = k.id
        """

    /// Lines that name a PRIVATE room by the host's id get the id of its pair.
    static let pairs = ["import_members", "import_messages"].map { table in
        """
        UPDATE \(table) t SET room_id = r.id FROM import_rooms r
        WHERE r.given <> r.id AND t.room_id = r.given
        """
    }

    /// Lines of one thing: the same bytes are one line, other bytes are a problem.
    static func doubled(_ table: ImportStaging.Table) -> String {
        """
        SELECT o.line, format('line %s is about the same \(thing(table)), with other content', f.line) FROM (
            SELECT \(table.key), min(line) AS line FROM \(table.name) GROUP BY \(table.key) HAVING count(*) > 1
        ) d JOIN \(table.name) f ON f.line = d.line
        JOIN \(table.name) o ON \(same(table, "o", "f")) AND o.line > f.line
        WHERE o.digest <> f.digest
        """
    }

    static func withoutDoubles(_ table: ImportStaging.Table) -> String {
        """
        DELETE FROM \(table.name) o USING (
            SELECT \(table.key), min(line) AS line FROM \(table.name) GROUP BY \(table.key) HAVING count(*) > 1
        ) f WHERE \(same(table, "o", "f")) AND o.line > f.line
        """
    }

    private static func same(_ table: ImportStaging.Table, _ one: String, _ other: String) -> String {
        table.key.split(separator: ", ").map { "\(one).\($0) = \(other).\($0)" }.joined(separator: " AND ")
    }

    private static func thing(_ table: ImportStaging.Table) -> String {
        switch table {
        case .users, .accounts: "user"
        case .blocks: "block"
        case .rooms: "room"
        case .members: "member"
        case .messages: "message"
        case .edits: "edit"
        case .reactions: "reaction"
        }
    }

    /// Before Seqs are given.
    static let first = rooms + members + messages + parts

    private static let rooms = [
        """
        SELECT r.line, 'the room is here, and of another Type' FROM import_rooms r JOIN rooms d ON d.id = r.id
        WHERE d.type <> r.type
        """,
        """
        SELECT r.line, 'the room was deleted here' FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state = 3 AND r.deleted_at IS NULL
        """,
        """
        SELECT r.line, 'OwnerID has no member line in this room' FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state < 2 AND NOT EXISTS (
            SELECT FROM import_members m WHERE m.room_id = r.id AND m.user_id = r.owner_id)
        """,
        """
        SELECT r.line, 'a PRIVATE room needs a member line for each of its Members, and no other'
        FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state < 2 AND r.type = 1 AND 2 <> (
            SELECT count(*) + count(*) FILTER (WHERE m.user_id NOT IN (r.one, r.other))
            FROM import_members m WHERE m.room_id = r.id)
        """,
        """
        SELECT r.line, 'CreatedBy has made another room with this Sign' FROM import_rooms r
        JOIN import_targets t ON t.id = r.id AND t.state = 0
        JOIN rooms d ON d.created_by = coalesce(r.created_by, r.owner_id) AND d.created_sign = r.sign AND d.id <> r.id
        """,
        """
        SELECT r.line, format('line %s has the same CreatedBy and Sign', o.line) FROM import_rooms r
        JOIN import_rooms o ON o.sign = r.sign AND o.line < r.line
            AND coalesce(o.created_by, o.owner_id) = coalesce(r.created_by, r.owner_id)
        """,
    ]

    private static let members = [
        """
        SELECT m.line, 'RoomID names no room of the file or of the database' FROM import_members m
        JOIN import_targets t ON t.id = m.room_id WHERE t.state = 4
        """,
        """
        SELECT m.line, 'Role is OWNER, and the room has another OwnerID' FROM import_members m
        JOIN import_targets t ON t.id = m.room_id AND t.state < 2 JOIN import_rooms r ON r.id = m.room_id
        WHERE m.role = 3 AND m.left_at IS NULL AND m.banned_at IS NULL AND m.user_id <> r.owner_id
        """,
    ]

    private static let messages = [
        """
        SELECT m.line, 'RoomID names no room of the file or of the database' FROM import_messages m
        JOIN import_targets t ON t.id = m.room_id WHERE t.state = 4
        """,
        """
        SELECT m.line, 'the message is here, in another room' FROM import_messages m JOIN messages d ON d.id = m.id
        WHERE d.room_id <> m.room_id
        """,
        """
        SELECT m.line, format('line %s has the same SenderID and Sign', f.line) FROM (
            SELECT sender_id, sign, min(line) AS line FROM import_messages WHERE sign IS NOT NULL
            GROUP BY sender_id, sign HAVING count(*) > 1
        ) f JOIN import_messages m ON m.sender_id = f.sender_id AND m.sign = f.sign AND m.line > f.line
        """,
        """
        SELECT m.line, format('line %s has the same Seq in this room', f.line) FROM (
            SELECT room_id, seq, min(line) AS line FROM import_messages WHERE seq IS NOT NULL
            GROUP BY room_id, seq HAVING count(*) > 1
        ) f JOIN import_messages m ON m.room_id = f.room_id AND m.seq = f.seq AND m.line > f.line
        """,
        """
        SELECT f.without, format('the message has no Seq, but that of line %s has one: all of a room have one, or none',
            f.with) FROM (
            SELECT min(line) FILTER (WHERE seq IS NULL) AS without, min(line) FILTER (WHERE seq IS NOT NULL) AS with
            FROM import_messages GROUP BY room_id HAVING count(seq) > 0 AND count(seq) < count(*)
        ) f
        """,
        // A message that came by the API meanwhile has the same Sign and another id: it is here.
        """
        SELECT m.line, format('Seq is %s, and the room is at %s without this message: leave Seq out to append it',
            m.seq, d.last_seq) FROM import_messages m
        JOIN import_targets t ON t.id = m.room_id AND t.state = 2 JOIN rooms d ON d.id = m.room_id
        WHERE m.seq <= d.last_seq AND NOT EXISTS (SELECT FROM messages h WHERE h.id = m.id)
            AND NOT EXISTS (SELECT FROM messages h WHERE h.sender_id = m.sender_id AND h.sign = m.sign)
        """,
        """
        SELECT m.line, 'the sender has used this Sign for a message of another room' FROM import_messages m
        JOIN messages d ON d.sender_id = m.sender_id AND d.sign = m.sign
        WHERE d.id <> m.id AND d.room_id <> m.room_id
        """,
    ]

    private static let parts = [
        """
        SELECT e.line, 'MessageID names no message of the file' FROM import_edits e
        LEFT JOIN import_messages m ON m.id = e.message_id WHERE m.id IS NULL
        """,
        """
        SELECT e.line, 'MessageID names no message of the file' FROM import_reactions e
        LEFT JOIN import_messages m ON m.id = e.message_id WHERE m.id IS NULL
        """,
        """
        SELECT e.line, 'the message is deleted: nothing of it is left' FROM import_edits e
        JOIN import_messages m ON m.id = e.message_id WHERE m.deleted_at IS NOT NULL
        """,
        """
        SELECT e.line, format('line %s is an edit of this message with the same ChangeSeq', f.line) FROM import_edits e
        JOIN import_edits f ON f.message_id = e.message_id AND f.change_seq = e.change_seq AND f.line < e.line
        """,
    ]

    /// Replies, when each message has its place.
    static let last = [
        """
        SELECT m.line, 'ParentMessageID names no message of the file or of the database' FROM import_messages m
        WHERE m.parent IS NOT NULL AND m.message_type <> 3
            AND NOT EXISTS (SELECT FROM import_messages p WHERE p.id = m.parent)
            AND NOT EXISTS (SELECT FROM messages p WHERE p.id = m.parent)
        """,
        """
        SELECT m.line, 'ParentMessageID names a message of another room' FROM import_messages m
        JOIN (SELECT id, room_id FROM import_messages UNION ALL SELECT id, room_id FROM messages) p ON p.id = m.parent
        WHERE m.message_type <> 3 AND p.room_id <> m.room_id
        """,
        """
        SELECT m.line, CASE WHEN p.line = m.line THEN 'ParentMessageID is the message itself'
            ELSE format('ParentMessageID names the message of line %s, which comes later in the room', p.line) END
        FROM import_messages m JOIN import_messages p ON p.id = m.parent
        LEFT JOIN import_order mo ON mo.line = m.line LEFT JOIN import_order po ON po.line = p.line
        WHERE m.message_type <> 3 AND p.room_id = m.room_id
            AND coalesce(po.seq, p.seq, 0) >= coalesce(mo.seq, m.seq, 0)
            AND EXISTS (SELECT FROM import_targets t WHERE t.id = m.room_id AND t.state < 3)
        """,
    ]

    /// Places for the messages of rooms that have none: by time, and by line where times are equal, or by line alone. Each
    /// edit takes a Seq too. Also of rooms in use: there it is the order alone that counts.
    static func order(byLine: Bool) -> String {
        """
        CREATE TEMPORARY TABLE import_order AS
        SELECT m.line, (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint - coalesce(e.edits, 0) AS seq,
            (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint AS change_seq
        FROM import_messages m LEFT JOIN (
            SELECT message_id, count(*) AS edits FROM import_edits GROUP BY message_id
        ) e ON e.message_id = m.id
        WHERE m.seq IS NULL
        WINDOW w AS (PARTITION BY m.room_id ORDER BY \(byLine ? "m.line" : "m.created_at, m.line"))
        """
    }

    /// Reactions of lines of their own are added to those of the message's line.
    static let reactions = """
        UPDATE import_messages m SET reactions = n.reactions FROM (
            SELECT message_id, jsonb_agg(jsonb_build_object('Reaction', emoji, 'Count', count, 'Users', users)
                ORDER BY line) AS reactions
            FROM (
                SELECT message_id, emoji, count(*), jsonb_agg(user_id ORDER BY line) AS users, min(line) AS line
                FROM (
                    SELECT message_id, emoji, user_id, min(line) AS line FROM (
                        SELECT message_id, emoji, user_id, line FROM import_reactions
                        UNION ALL
                        SELECT m.id, r->>'Reaction', u::text::uuid, 0 FROM import_messages m,
                            jsonb_array_elements(m.reactions) r, jsonb_array_elements_text(r->'Users') u
                        WHERE m.reactions IS NOT NULL AND m.id IN (SELECT message_id FROM import_reactions)
                    ) a GROUP BY message_id, emoji, user_id
                ) s GROUP BY message_id, emoji
            ) g GROUP BY message_id
        ) n WHERE n.message_id = m.id AND m.deleted_at IS NULL
        """
}
