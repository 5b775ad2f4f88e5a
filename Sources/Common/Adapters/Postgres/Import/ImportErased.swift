import ChatCore

/// Users who were erased here: what a file says of the time before does not come back.
enum ImportErased {
    /// Taken shared by each transaction that stores something of a user, and by an erasure before it looks for rooms: so
    /// every room is either seen by the erasure, or stored by a transaction that knows of it.
    static let lock = "import of erased"

    /// An empty list; those of the database are found by ``known``.
    static let create = "CREATE TEMPORARY TABLE import_erased (id uuid, at timestamptz, is_new boolean)"

    /// Begins a transaction that stores something.
    static let first = "SELECT pg_advisory_xact_lock_shared(hashtextextended('\(lock)', 0));\n" + known

    /// Applies the erasures that came since the last time to all lines that are not stored.
    static let known = """
        DO $erased$ BEGIN
            INSERT INTO import_erased SELECT e.user_id, e.erased_at, true FROM erased_users e
                WHERE NOT EXISTS (SELECT FROM import_erased i WHERE i.id = e.user_id AND i.at >= e.erased_at);
            IF NOT FOUND THEN RETURN; END IF;
            \((profiles + [left, ownerless, owners, messages, reactions]).joined(separator: ";\n"));
            UPDATE import_erased SET is_new = false;
        END $erased$
        """

    private static let profiles = [
        dropped("users", "id", "t.created_at IS NULL OR t.created_at <= e.at"), dropped("accounts", "user_id", "true"),
        dropped("blocks", "blocker", "t.created_at <= e.at"), dropped("blocks", "blocked", "t.created_at <= e.at"),
    ]

    /// Times tell what a user who has come back says since.
    private static func dropped(_ table: String, _ user: String, _ condition: String) -> String {
        """
        WITH gone AS (
            DELETE FROM import_\(table) t USING import_erased e WHERE e.is_new AND e.id = t.\(user) AND (\(condition))
            RETURNING t.line
        ) INSERT INTO import_notes SELECT line, 'the user was erased here: the line is not stored' FROM gone
        """
    }

    private static let left = """
        WITH here AS (
            SELECT m.line, m.room_id, m.user_id, e.at, \(Member.active("m")) AS is_active FROM import_members m
            JOIN import_erased e ON e.is_new AND e.id = m.user_id AND m.joined_at <= e.at
        ), changed AS (
            UPDATE import_members m SET left_at = coalesce(m.left_at, h.at), role = 1, metadata = NULL FROM here h
            WHERE m.room_id = h.room_id AND m.user_id = h.user_id
        ) INSERT INTO import_notes SELECT h.line, 'the user was erased here: stored as a member who has left' FROM here h
        JOIN import_targets t ON t.id = h.room_id AND t.state = 0 WHERE h.is_active
        """

    /// As when an OWNER is erased: the highest role, and among equals the longest membership.
    private static let ownerless = """
        UPDATE import_rooms r SET owner_id = n.user_id FROM (
            SELECT DISTINCT ON (m.room_id) m.room_id, m.user_id FROM import_members m
            JOIN import_rooms o ON o.id = m.room_id AND o.type <> 1 JOIN import_erased e ON e.is_new AND e.id = o.owner_id
            WHERE \(Member.active("m")) ORDER BY m.room_id, m.role DESC, m.joined_seq, m.joined_at, m.user_id
        ) n WHERE n.room_id = r.id
        """

    private static let owners = """
        UPDATE import_members m SET role = 3 FROM import_rooms r JOIN import_targets t ON t.id = r.id AND t.state = 0
        WHERE r.id = m.room_id AND r.owner_id = m.user_id AND r.type <> 1 AND m.role <> 3 AND \(Member.active("m"))
        """

    private static let messages = """
        WITH gone AS (
            UPDATE import_messages m SET content = '', status = \(MessageStatus.deleted.rawValue), deleted_at = e.at,
                file_name = NULL, file_size = NULL, file_content_type = NULL, file_thumbnail = NULL, file_media = NULL,
                file_url = NULL, reactions = NULL, pinned_at = NULL, metadata = NULL
            FROM import_erased e WHERE e.is_new AND e.id = m.sender_id AND m.created_at <= e.at AND m.deleted_at IS NULL
                AND \(Message.isOfUser())
            RETURNING m.line, m.id, m.sender_id
        ), edits AS (
            DELETE FROM import_edits e USING gone g WHERE e.message_id = g.id
        ) INSERT INTO import_notes
        SELECT min(m.line), format('the user was erased here: %s of their messages are stored as deleted ones', count(*))
        FROM gone m WHERE \(ImportChecks.isNew) GROUP BY m.sender_id
        """

    /// A message from after the erasure has only reactions of users who have come back.
    private static let reactions = """
        UPDATE import_messages m SET reactions = n.reactions FROM (
            SELECT m.line, jsonb_agg(jsonb_build_object('Reaction', r.value->>'Reaction', 'Count', k.total, 'Users', k.users)
                ORDER BY r.place) FILTER (WHERE k.total > 0) AS reactions
            FROM import_messages m
            CROSS JOIN LATERAL jsonb_array_elements(m.reactions) WITH ORDINALITY r (value, place)
            CROSS JOIN LATERAL (
                SELECT count(*) AS total, jsonb_agg(u.value ORDER BY u.place) AS users
                FROM jsonb_array_elements_text(r.value->'Users') WITH ORDINALITY u (value, place)
                WHERE NOT EXISTS (
                    SELECT FROM import_erased e WHERE e.is_new AND e.id = u.value::uuid AND m.created_at <= e.at)
            ) k
            WHERE m.reactions IS NOT NULL AND EXISTS (
                SELECT FROM jsonb_array_elements(m.reactions) o, jsonb_array_elements_text(o->'Users') v
                JOIN import_erased e ON e.is_new AND e.id = v::uuid AND m.created_at <= e.at)
            GROUP BY m.line
        ) n WHERE n.line = m.line
        """
}
