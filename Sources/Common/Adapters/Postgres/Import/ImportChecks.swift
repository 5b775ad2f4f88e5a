import ChatCore

/// Lines beside each other and beside the database. Each check is a statement whose rows are a line and a sentence.
enum ImportChecks {
    /// The states of a room that lines name: 0 new, 1 stored, 2 in use, 3 deleted, 4 nowhere, 5 refused.
    static let targets = """
        CREATE TEMPORARY TABLE import_targets AS
        SELECT k.id, r.line, CASE
            WHEN d.id IS NULL THEN CASE WHEN r.id IS NULL THEN 4 ELSE 0 END
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

    /// Checks look up single rows by these.
    static let indexes = """
        CREATE INDEX ON import_messages (id); CREATE INDEX ON import_members (room_id, user_id);
        CREATE INDEX ON import_rooms (id); CREATE INDEX ON import_targets (id); ANALYZE import_targets
        """

    /// Messages that came by the API meanwhile, with the same Sign: lines that name them mean those that are here.
    static let twins = [
        "CREATE TEMPORARY TABLE import_twins (id uuid PRIMARY KEY, twin uuid NOT NULL)",
        """
        INSERT INTO import_twins SELECT m.id, h.id FROM import_messages m
        JOIN messages h ON h.sender_id = m.sender_id AND h.sign = m.sign AND h.room_id = m.room_id AND h.id <> m.id
        WHERE NOT EXISTS (SELECT FROM messages o WHERE o.id = m.id)
        """,
        "UPDATE import_messages m SET parent = t.twin FROM import_twins t WHERE t.id = m.parent",
        "UPDATE import_messages m SET forwarded = t.twin FROM import_twins t WHERE t.id = m.forwarded",
    ]

    /// Earlier contents are shown of edited messages alone.
    static let edited = """
        UPDATE import_messages m SET edited_at = e.at
        FROM (SELECT message_id, max(edited_at) AS at FROM import_edits GROUP BY message_id) e
        WHERE m.id = e.message_id AND m.edited_at IS NULL AND m.deleted_at IS NULL
        """

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

    /// A message `m` of the file that is not here, neither by its id nor by its Sign.
    static let isNew = """
        NOT EXISTS (SELECT FROM messages h WHERE h.id = m.id) AND NOT EXISTS (SELECT FROM import_twins w WHERE w.id = m.id)
        """

    /// Before messages get their places.
    static let first = rooms + members + messages + seqs + forwards + parts

    private static let rooms = [
        // Lines that name it would be of one of the two.
        """
        SELECT r.line, format('line %s names another room by this ID', f.line) FROM (
            SELECT given, min(line) AS line FROM import_rooms GROUP BY given HAVING count(*) > 1
        ) f JOIN import_rooms r ON r.given = f.given AND r.line > f.line
        """,
        """
        SELECT r.line, 'OwnerID has no member line in this room' FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state = 0 AND NOT EXISTS (
            SELECT FROM import_members m WHERE m.room_id = r.id AND m.user_id = r.owner_id)
        """,
        // Whoever repeats a request by its Sign is shown the room.
        """
        SELECT r.line, 'CreatedBy has no member line in this room' FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state = 0 AND r.sign IS NOT NULL AND NOT EXISTS (
            SELECT FROM import_members m WHERE m.room_id = r.id AND m.user_id = coalesce(r.created_by, r.owner_id))
        """,
        // The owner of a room that everybody has left has left it, too.
        """
        SELECT r.line, 'OwnerID has no member line with Role OWNER in this room' FROM import_rooms r
        JOIN import_targets t ON t.id = r.id JOIN import_members m ON m.room_id = r.id AND m.user_id = r.owner_id
        WHERE t.state = 0 AND r.type <> 1 AND NOT (m.role = 3 AND \(Member.active("m")))
            AND EXISTS (SELECT FROM import_members o WHERE o.room_id = r.id AND \(Member.active("o")))
        """,
        """
        SELECT r.line, 'a PRIVATE room needs a member line for each of its Members, and no other'
        FROM import_rooms r JOIN import_targets t ON t.id = r.id
        WHERE t.state = 0 AND r.type = 1 AND 2 <> (
            SELECT count(*) + count(*) FILTER (WHERE m.user_id NOT IN (r.one, r.other))
            FROM import_members m WHERE m.room_id = r.id)
        """,
        // In an export it is what is left of users who were erased.
        """
        SELECT r.line, 'nobody leaves a PRIVATE room or is banned from it' FROM import_rooms r
        WHERE r.type = 1 AND EXISTS (SELECT FROM import_members m WHERE m.room_id = r.id
            AND (m.banned_at IS NOT NULL OR m.left_at IS NOT NULL AND NOT r.elsewhere))
        """,
        """
        SELECT r.line, format('line %s has the same CreatedBy and Sign', f.line) FROM (
            SELECT coalesce(created_by, owner_id) AS creator, sign, min(line) AS line FROM import_rooms
            WHERE sign IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        ) f JOIN import_rooms r ON r.sign = f.sign AND coalesce(r.created_by, r.owner_id) = f.creator AND r.line > f.line
        """,
    ]

    private static let members = [
        """
        SELECT m.line, 'RoomID names no room of the file or of the database' FROM import_members m
        JOIN import_targets t ON t.id = m.room_id WHERE t.state = 4
        """,
        """
        SELECT m.line, 'Role is OWNER, and the room has another OwnerID' FROM import_members m
        JOIN import_targets t ON t.id = m.room_id AND t.state = 0 JOIN import_rooms r ON r.id = m.room_id
        WHERE m.role = 3 AND \(Member.active("m")) AND m.user_id <> r.owner_id AND r.type <> 1
        """,
        """
        SELECT m.line, 'a PRIVATE room has no roles' FROM import_members m
        JOIN import_rooms r ON r.id = m.room_id AND r.type = 1 WHERE m.role <> 1
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
        // As long as the API has it, nobody else writes there, but for the host.
        """
        SELECT m.line, 'only its Members write in a PRIVATE room' FROM import_messages m
        JOIN import_rooms r ON r.id = m.room_id AND r.type = 1
        WHERE m.sender_id NOT IN (r.one, r.other) AND NOT \(Message.isOfHost())
        UNION SELECT m.line, 'only its Members write in a PRIVATE room' FROM import_messages m
        JOIN rooms d ON d.id = m.room_id AND d.type = 1
        WHERE NOT EXISTS (SELECT FROM members p WHERE p.room_id = d.id AND p.user_id = m.sender_id)
            AND NOT \(Message.isOfHost())
        """,
    ]

    /// When reactions are with their messages.
    static let reacted = """
        SELECT DISTINCT m.line, 'only its Members react in a PRIVATE room' FROM (
            SELECT id, one, other FROM import_rooms WHERE type = 1 UNION
            SELECT d.id, min(p.user_id::text)::uuid, max(p.user_id::text)::uuid FROM rooms d
            JOIN members p ON p.room_id = d.id WHERE d.type = 1 AND d.id IN (SELECT id FROM import_targets) GROUP BY d.id
        ) r JOIN import_messages m ON m.room_id = r.id CROSS JOIN LATERAL jsonb_array_elements(m.reactions) e
        CROSS JOIN LATERAL jsonb_array_elements_text(e->'Users') u
        WHERE m.reactions IS NOT NULL AND u::uuid NOT IN (r.one, r.other)
        """

    /// Only exports have Seqs: others are numbered here, without a gap.
    private static let seqs = [
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
        """
        SELECT m.line, 'Seq is only allowed in a room with LastSeq, of an export' FROM import_messages m
        WHERE m.seq IS NOT NULL AND NOT EXISTS (SELECT FROM import_rooms r WHERE r.id = m.room_id AND r.elsewhere)
        """,
        """
        SELECT m.line, 'Seq is above LastSeq of the room' FROM import_messages m
        JOIN import_rooms r ON r.id = m.room_id AND r.elsewhere WHERE coalesce(m.change_seq, m.seq) > r.last_seq
        """,
        """
        SELECT m.line, format('ChangeSeq is the Seq of line %s', o.line) FROM import_messages m
        JOIN (
            SELECT room_id, seq, min(line) AS line FROM import_messages WHERE seq IS NOT NULL GROUP BY room_id, seq
        ) o ON o.room_id = m.room_id AND o.seq = m.change_seq WHERE m.change_seq > m.seq
        """,
        """
        SELECT m.line, 'JoinedSeq is only allowed in a room with LastSeq, of an export' FROM import_members m
        WHERE m.numbered AND NOT EXISTS (SELECT FROM import_rooms r WHERE r.id = m.room_id AND r.elsewhere)
        """,
        """
        SELECT m.line, 'JoinedSeq is above LastSeq of the room' FROM import_members m
        JOIN import_rooms r ON r.id = m.room_id AND r.elsewhere WHERE m.joined_seq > r.last_seq
        """,
        """
        SELECT e.line, 'ChangeSeq is not between Seq and ChangeSeq of the message' FROM import_edits e
        JOIN import_messages m ON m.id = e.message_id WHERE (m.seq IS NULL) <> (e.change_seq IS NULL)
            OR e.change_seq NOT BETWEEN m.seq + 1 AND coalesce(m.change_seq, m.seq)
        """,
    ]

    /// A forwarded message shows the file of the first message of its chain.
    private static let forwards = [
        named("m.forwarded", "ForwardedFrom"), named("m.parent", "ParentMessageID"),
        """
        SELECT m.line, 'ForwardedFrom names a forwarded message: the first one of the chain is needed'
        FROM import_messages m JOIN (
            SELECT id, forwarded FROM import_messages UNION ALL SELECT id, forwarded_from FROM messages
        ) o ON o.id = m.forwarded
        WHERE o.forwarded IS NOT NULL
        """,
        """
        SELECT m.line, format('File: URL is not that of line %s, which is forwarded', o.line) FROM import_messages m
        JOIN import_messages o ON o.id = m.forwarded
        WHERE m.file_name IS NOT NULL AND o.file_name IS NOT NULL AND m.file_url IS DISTINCT FROM o.file_url
        """,
    ]

    /// Whether the sender may forward it is another question: ``ImportConflicts``.
    private static func named(_ column: String, _ field: String) -> String {
        """
        SELECT m.line, '\(field) names no message of the file or of a room of the sender' FROM import_messages m
        WHERE m.message_type = 3 AND \(column) IS NOT NULL AND \(isNew)
            AND NOT EXISTS (SELECT FROM import_messages o WHERE o.id = \(column))
            AND NOT EXISTS (SELECT FROM messages h WHERE h.id = \(column))
        """
    }

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
        SELECT e.line, 'only a text of a sender has earlier contents' FROM import_edits e
        JOIN import_messages m ON m.id = e.message_id WHERE m.content_type <> 1 OR m.message_type NOT IN (1, 2)
        """,
        """
        SELECT e.line, format('line %s is an edit of this message with the same ChangeSeq', f.line) FROM (
            SELECT message_id, change_seq, min(line) AS line FROM import_edits WHERE change_seq IS NOT NULL
            GROUP BY message_id, change_seq HAVING count(*) > 1
        ) f JOIN import_edits e ON e.message_id = f.message_id AND e.change_seq = f.change_seq AND e.line > f.line
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
        JOIN import_order mo ON mo.line = m.line JOIN import_order po ON po.line = p.line
        WHERE m.message_type <> 3 AND p.room_id = m.room_id AND po.seq >= mo.seq
            AND NOT EXISTS (SELECT FROM messages h WHERE h.id = p.id)
        """,
    ]

    /// Reactions of lines of their own are added behind those of the message's line.
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
                        SELECT m.id, r.value->>'Reaction', u.value::uuid, r.place * 100000 + u.place - 100000000
                        FROM import_messages m,
                            jsonb_array_elements(m.reactions) WITH ORDINALITY r (value, place),
                            jsonb_array_elements_text(r.value->'Users') WITH ORDINALITY u (value, place)
                        WHERE m.reactions IS NOT NULL AND m.id IN (SELECT message_id FROM import_reactions)
                    ) a GROUP BY message_id, emoji, user_id
                ) s GROUP BY message_id, emoji
            ) g GROUP BY message_id
        ) n WHERE n.message_id = m.id AND m.deleted_at IS NULL
        """
}
