import ChatCore

/// The order in which an import stores rooms, and the places of their messages.
///
/// Rooms that fit into a part of 5,000 rows are stored with their neighbours, each part in one transaction. A larger one is
/// stored in parts of its own, as a room that nobody sees until the last of them. So no transaction is long: a writer who
/// meets one (the pair of a PRIVATE room opens it, a sender uses the Sign of a line) waits for at most a part.
enum ImportPlan {
    /// Rows of one transaction.
    static let part = 5000
    /// Rows of one transaction in a room that is in use: queue-worker waits for the room meanwhile.
    static let partInUse = 100

    /// `weight` rows, of which messages are the most.
    private static let rooms = """
        CREATE TEMPORARY TABLE import_plan AS
        SELECT id, line, weight > \(part) AS is_big,
            ((sum(weight) OVER (PARTITION BY weight > \(part) ORDER BY line))::bigint - weight) / \(part) AS part
        FROM (
            SELECT t.id, t.line, 1 + coalesce(m.total, 0) + coalesce(e.total, 0) + coalesce(p.total, 0) AS weight
            FROM import_targets t
            LEFT JOIN (SELECT room_id, count(*) AS total FROM import_messages GROUP BY 1) m ON m.room_id = t.id
            LEFT JOIN (
                SELECT m.room_id, count(*) AS total FROM import_edits e JOIN import_messages m ON m.id = e.message_id
                GROUP BY 1
            ) e ON e.room_id = t.id
            LEFT JOIN (SELECT room_id, count(*) AS total FROM import_members GROUP BY 1) p ON p.room_id = t.id
            WHERE t.state = 0
        ) w
        """

    /// Places for the messages of rooms that have none: by time, and by line where times are equal, or by line alone. Each
    /// edit takes a Seq too. In rooms in use it is the order alone that counts.
    private static func messages(byLine: Bool) -> String {
        """
        CREATE TEMPORARY TABLE import_order AS
        SELECT m.line, m.room_id, r.is_big,
            coalesce(m.seq, (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint - coalesce(e.edits, 0)) AS seq,
            coalesce(m.change_seq, m.seq, (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint) AS change_seq,
            CASE WHEN r.is_big THEN ((sum(1 + coalesce(e.edits, 0)) OVER w)::bigint - 1) / \(part) ELSE r.part END AS part
        FROM import_messages m LEFT JOIN import_plan r ON r.id = m.room_id LEFT JOIN (
            SELECT message_id, count(*) AS edits FROM import_edits GROUP BY message_id
        ) e ON e.message_id = m.id
        WINDOW w AS (PARTITION BY m.room_id ORDER BY m.seq, \(byLine ? "m.line" : "m.created_at, m.line"))
        """
    }

    /// Deleted originals have no line with an address, but messages that forward them may.
    private static let links = """
        CREATE TEMPORARY TABLE import_links AS
        SELECT DISTINCT ON (m.forwarded) m.forwarded AS id, m.file_url AS url FROM import_messages m
        JOIN import_messages o ON o.id = m.forwarded AND o.deleted_at IS NOT NULL
        WHERE m.file_url IS NOT NULL ORDER BY m.forwarded, m.line
        """

    static func statements(byLine: Bool) -> String {
        """
        \(rooms); \(messages(byLine: byLine)); \(links);
        CREATE INDEX ON import_order (part) WHERE NOT is_big; CREATE INDEX ON import_order (room_id, part);
        CREATE INDEX ON import_order (line); CREATE INDEX ON import_messages (line);
        CREATE INDEX ON import_edits (message_id); CREATE INDEX ON import_links (id);
        CREATE INDEX ON import_plan (part) WHERE NOT is_big;
        CREATE TEMPORARY TABLE import_made (id uuid);
        CREATE TEMPORARY TABLE import_part (line bigint, seq bigint, change_seq bigint);
        CREATE TEMPORARY TABLE import_head (id uuid, last_seq bigint);
        CREATE TEMPORARY TABLE import_finish (id uuid, last_seq bigint, message_count bigint, last_message_seq bigint,
            at timestamptz);
        ANALYZE import_plan; ANALYZE import_order; ANALYZE import_links
        """
    }

    /// Lines of rooms in use that are not here, in parts; made when the new rooms are stored, because one of those may have
    /// been made by clients meanwhile.
    static let rest = """
        CREATE TEMPORARY TABLE import_rest AS
        SELECT line, room_id, place, (rows - 1) / \(partInUse) AS part, cost FROM (
            SELECT m.line, m.room_id, 1 + coalesce(e.edits, 0) AS cost,
                row_number() OVER w AS place, (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint AS rows
            FROM import_messages m JOIN import_targets t ON t.id = m.room_id AND t.state = 2
            JOIN import_order o ON o.line = m.line LEFT JOIN (
                SELECT message_id, count(*) AS edits FROM import_edits GROUP BY message_id
            ) e ON e.message_id = m.id
            WHERE \(ImportChecks.isNew)
            WINDOW w AS (PARTITION BY m.room_id ORDER BY o.seq)
        ) r;
        CREATE INDEX ON import_rest (room_id, part); ANALYZE import_rest
        """
}
