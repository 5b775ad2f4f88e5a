public import ChatCore

/// How many rows an import has stored; the others were here.
public struct ImportCounts: Sendable, Equatable {
    public var users = 0
    public var rooms = 0
    public var members = 0
    public var messages = 0
    public var edits = 0
}

/// News for connected clients when something is stored.
public protocol ImportNews: AnyObject {
    /// A room that its members see from now on.
    func appeared(_ room: Room, _ members: [Member]) throws
    /// Messages were added at the end of a room; the last of them.
    func grew(_ last: Message) throws
}

extension PostgresImport {
    /// Stores everything that is not here yet. After a failure, or the end of this process, another run with the same lines
    /// goes on.
    ///
    /// - Parameter progress: called after each transaction, with the lines of messages that are done.
    public func store(_ news: any ImportNews, progress: (_ messages: Int) -> Void) throws -> ImportCounts {
        var counts = ImportCounts()
        try storeUsers(&counts)
        try forgetOtherBeginnings()
        try beginRooms(&counts)
        // Of rooms that nobody sees yet: the commit that shows one makes these last, too.
        try connection.script("SET synchronous_commit = off")
        try storeMessages(&counts, progress)
        try connection.script("SET synchronous_commit = on")
        try finishRooms(news)
        try appendToRooms(&counts, news, progress)
        return counts
    }

    private func storeUsers(_ counts: inout ImportCounts) throws(PostgresError) {
        // Names that the host or a token has given since stay.
        let users = try connection.query(
            """
            INSERT INTO users AS u (id, external_id, name, avatar, metadata, deactivated_at, created_at)
            SELECT id, external_id, name, avatar, metadata, deactivated_at, coalesce(created_at, now())
            FROM import_users ORDER BY id
            ON CONFLICT (id) DO UPDATE SET external_id = coalesce(u.external_id, EXCLUDED.external_id),
                name = CASE WHEN u.name = '' THEN EXCLUDED.name ELSE u.name END,
                avatar = CASE WHEN u.avatar = '' THEN EXCLUDED.avatar ELSE u.avatar END,
                metadata = CASE WHEN u.metadata = '{}' THEN EXCLUDED.metadata ELSE u.metadata END,
                version = u.version + 1, updated_at = now()
            WHERE u.external_id IS NULL AND EXCLUDED.external_id IS NOT NULL OR u.name = '' AND EXCLUDED.name <> ''
                OR u.avatar = '' AND EXCLUDED.avatar <> '' OR u.metadata = '{}' AND EXCLUDED.metadata <> '{}'
            """)
        counts.users = users.affected
        _ = try connection.query(
            """
            INSERT INTO accounts (user_id, hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone)
            SELECT user_id, hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone
            FROM import_accounts ORDER BY user_id ON CONFLICT DO NOTHING
            """)
        _ = try connection.query(
            """
            INSERT INTO blocks (blocker, blocked, created_at) SELECT blocker, blocked, created_at FROM import_blocks
            ORDER BY blocker, blocked ON CONFLICT DO NOTHING
            """)
    }

    /// A room that an import of another file began: nobody has seen it, so it begins again.
    private func forgetOtherBeginnings() throws(PostgresError) {
        _ = try connection.query(
            """
            DELETE FROM rooms WHERE deleted_at = 'infinity' AND id IN (
                SELECT h.room_id FROM import_targets t JOIN messages h ON h.room_id = t.id
                LEFT JOIN import_messages m ON m.id = h.id LEFT JOIN import_order o ON o.line = m.line
                WHERE t.state = 1 AND h.seq IS DISTINCT FROM coalesce(o.seq, m.seq))
            """)
    }

    private func beginRooms(_ counts: inout ImportCounts) throws(PostgresError) {
        let results = try connection.pipeline([
            "BEGIN",
            """
            INSERT INTO rooms (id, type, name, description, avatar, owner_id, member_count, member_limit, last_activity_at,
                created_at, created_by, created_sign, deleted_at, epoch, metadata)
            SELECT r.id, r.type, r.name, r.description, r.avatar, r.owner_id, 0, r.member_limit, r.created_at, r.created_at,
                coalesce(r.created_by, r.owner_id), r.sign, 'infinity',
                CASE WHEN r.elsewhere THEN extract(epoch FROM now())::bigint ELSE 1 END, r.metadata
            FROM import_rooms r JOIN import_targets t ON t.id = r.id WHERE t.state < 2 ORDER BY r.id
            ON CONFLICT (id) DO NOTHING
            """,
            // A room that clients have made since the checks is one in use.
            """
            UPDATE import_targets t SET state = 2 FROM rooms r
            WHERE r.id = t.id AND t.state < 2 AND r.deleted_at IS DISTINCT FROM 'infinity'
            """,
            """
            INSERT INTO members (room_id, user_id, role, muted_until, banned_at, joined_at, joined_seq, left_at, metadata)
            SELECT m.room_id, m.user_id, m.role, m.muted_until, m.banned_at, m.joined_at, m.joined_seq, m.left_at,
                m.metadata
            FROM import_members m JOIN import_targets t ON t.id = m.room_id WHERE t.state < 2
            ORDER BY m.room_id, m.user_id ON CONFLICT DO NOTHING
            """,
            "COMMIT",
        ])
        counts.rooms = results[1].affected
        counts.members = results[3].affected
    }

    private func storeMessages(_ counts: inout ImportCounts, _ progress: (Int) -> Void) throws(PostgresError) {
        guard let last = try connection.query("SELECT max(line) FROM import_messages").first?.optionalInt8(0) else {
            return
        }
        var after: Int64 = 0
        while after < last {
            let (start, end) = (after, after + Self.batch)
            let results = try connection.pipeline(
                ["BEGIN"] + Self.rows(of: Self.newMessages(start, end)) + ["COMMIT"])
            counts.messages += results[1].affected
            counts.edits += results[2].affected
            after = end
            progress(Int(min(end, last)))
        }
    }

    /// Of rooms that nobody sees yet.
    private static func newMessages(_ after: Int64, _ end: Int64) -> SQL {
        """
        SELECT m.*, coalesce(o.seq, m.seq) AS place, coalesce(o.change_seq, m.change_seq, m.seq) AS change_place
        FROM import_messages m JOIN import_targets t ON t.id = m.room_id LEFT JOIN import_order o ON o.line = m.line
        WHERE m.line > \(after) AND m.line <= \(end) AND t.state < 2
        """
    }

    /// The statements that store some messages and what belongs to them.
    static func rows(of messages: SQL) -> [SQL] {
        [
            """
            INSERT INTO messages (id, room_id, sender_id, seq, change_seq, content, content_type, message_type, sign,
                parent_message_id, forwarded_from, status, file_name, file_size, file_content_type, file_thumbnail,
                file_media, reactions, edited_at, deleted_at, pinned_at, created_at, metadata)
            SELECT id, room_id, sender_id, place, change_place, content, content_type, message_type, sign, parent, forwarded,
                status, file_name, file_size, file_content_type, file_thumbnail, file_media, reactions, edited_at,
                deleted_at, pinned_at, created_at, metadata
            FROM (\(messages)) m ON CONFLICT (id) DO NOTHING
            """,
            """
            INSERT INTO message_edits (message_id, change_seq, content, edited_at)
            SELECT e.message_id, coalesce(e.change_seq, m.place + row_number() OVER (
                PARTITION BY e.message_id ORDER BY e.edited_at, e.line)), e.content, e.edited_at
            FROM (\(messages)) m JOIN import_edits e ON e.message_id = m.id ON CONFLICT DO NOTHING
            """,
            """
            INSERT INTO file_links (message_id, url)
            SELECT coalesce(forwarded, id), file_url FROM (\(messages)) m WHERE file_url IS NOT NULL
            ORDER BY 1 ON CONFLICT DO NOTHING
            """,
            // The bytes come with a copy of the store: with the record the sweeper removes them with the message.
            """
            INSERT INTO uploads (message_id, upload_id, total, media_type, owner, size, created_at, completed_at, looked_at)
            SELECT id, '', 1, file_content_type, sender_id, file_size, created_at, created_at, created_at
            FROM (\(messages)) m WHERE file_url IS NULL AND file_name IS NOT NULL AND forwarded IS NULL
            ON CONFLICT DO NOTHING
            """,
        ]
    }

    // MARK: Rooms that appear

    private func finishRooms(_ news: any ImportNews) throws {
        while true {
            let rooms = try connection.query(
                """
                SELECT t.id FROM import_targets t JOIN rooms r ON r.id = t.id
                WHERE t.state < 2 AND r.deleted_at = 'infinity' ORDER BY t.line LIMIT 100
                """
            ).map { $0.uuid(0) }
            guard !rooms.isEmpty else { return }
            _ = try connection.pipeline(["BEGIN", counted(rooms), seen(rooms), skipped(rooms), "COMMIT"])
            let shown = try connection.query(
                "SELECT \(unsafeSQL: Room.columns) FROM rooms r WHERE r.id = ANY(\(rooms)) AND r.deleted_at IS NULL"
            ).map { Room($0) }
            let members = try connection.query(
                """
                SELECT \(unsafeSQL: Member.columns) FROM members p WHERE p.room_id = ANY(\(rooms))
                    AND \(unsafeSQL: Member.active("p"))
                """
            ).map { Member($0) }
            let ofRoom = Dictionary(grouping: members, by: \.roomID)
            for room in shown { try news.appeared(room, ofRoom[room.id] ?? []) }
        }
    }

    private func counted(_ rooms: [UUID128]) -> SQL {
        """
        UPDATE rooms r SET last_seq = greatest(i.last_seq, s.change_seq, s.edit_seq, p.joined_seq),
            message_count = coalesce(s.of_users, 0), last_message_seq = coalesce(s.seq, 0), member_count = p.active,
            last_activity_at = coalesce(i.last_activity_at, s.at, i.created_at), deleted_at = i.deleted_at
        FROM import_rooms i LEFT JOIN (
            SELECT m.room_id, max(m.seq) AS seq, max(m.change_seq) AS change_seq, max(m.created_at) AS at,
                count(*) FILTER (WHERE \(unsafeSQL: Message.isOfUser())) AS of_users,
                max((SELECT max(e.change_seq) FROM message_edits e WHERE m.edited_at IS NOT NULL
                    AND e.message_id = m.id)) AS edit_seq
            FROM messages m WHERE m.room_id = ANY(\(rooms)) GROUP BY m.room_id
        ) s ON s.room_id = i.id LEFT JOIN (
            SELECT room_id, count(*) FILTER (WHERE \(unsafeSQL: Member.active("members"))) AS active,
                max(joined_seq) AS joined_seq
            FROM members WHERE room_id = ANY(\(rooms)) GROUP BY room_id
        ) p ON p.room_id = i.id
        WHERE r.id = i.id AND r.id = ANY(\(rooms))
        """
    }

    /// Read marks, and what unread counts are made of.
    private func seen(_ rooms: [UUID128]) -> SQL {
        """
        UPDATE members p SET last_seen_seq = n.seen, sent_count = n.sent,
            seen_count = CASE WHEN n.seen >= n.last THEN n.total WHEN n.seen = 0 THEN 0 ELSE (
                SELECT count(*) FROM messages m WHERE m.room_id = n.room_id AND m.seq > 0 AND m.seq <= n.seen
                    AND \(unsafeSQL: Message.isOfUser())) END,
            seen_sent_count = CASE WHEN n.seen >= n.last THEN n.sent WHEN n.seen = 0 THEN 0 ELSE (
                SELECT count(*) FROM messages m WHERE m.room_id = n.room_id AND m.seq > 0 AND m.seq <= n.seen
                    AND m.sender_id = n.user_id AND \(unsafeSQL: Message.isOfUser())) END
        FROM (
            SELECT i.room_id, i.user_id, r.last_message_seq AS last, r.message_count AS total, coalesce(s.sent, 0) AS sent,
                coalesce(CASE WHEN i.last_seen_seq IS NOT NULL THEN least(i.last_seen_seq, r.last_seq) END, CASE WHEN i.last_seen_at IS NOT NULL THEN coalesce((
                    SELECT m.seq FROM messages m WHERE m.room_id = r.id AND m.seq > 0 AND m.created_at <= i.last_seen_at
                    ORDER BY m.seq DESC LIMIT 1), 0) END, r.last_message_seq) AS seen
            FROM import_members i JOIN rooms r ON r.id = i.room_id LEFT JOIN (
                SELECT room_id, sender_id, count(*) AS sent FROM messages m
                WHERE m.room_id = ANY(\(rooms)) AND \(unsafeSQL: Message.isOfUser()) GROUP BY room_id, sender_id
            ) s ON s.room_id = i.room_id AND s.sender_id = i.user_id
            WHERE i.room_id = ANY(\(rooms))
        ) n
        WHERE p.room_id = n.room_id AND p.user_id = n.user_id
        """
    }

    /// Every Seq that a socket may still ask for is told: those that are no message's, as changes that say nothing.
    private func skipped(_ rooms: [UUID128]) -> SQL {
        """
        INSERT INTO room_events (room_id, seq, command_id, actor_id, kind, created_at)
        SELECT r.id, g.seq, gen_random_uuid(), r.owner_id, \(.int2(Int16(FrameKind.roomUpdated.rawValue))), r.last_activity_at
        FROM rooms r CROSS JOIN LATERAL generate_series(greatest(1, r.last_seq - \(Self.told)), r.last_seq) g (seq)
        WHERE r.id = ANY(\(rooms)) AND r.deleted_at IS DISTINCT FROM 'infinity'
            AND NOT EXISTS (SELECT FROM messages m WHERE m.room_id = r.id AND m.seq = g.seq)
        ON CONFLICT DO NOTHING
        """
    }

    // MARK: Rooms in use

    /// In parts: queue-worker waits for a room while its row is locked.
    private static let part: Int64 = 500

    private func appendToRooms(
        _ counts: inout ImportCounts, _ news: any ImportNews, _ progress: (Int) -> Void
    ) throws {
        let rooms = try connection.query("SELECT id FROM import_targets WHERE state = 2 ORDER BY id").map { $0.uuid(0) }
        for room in rooms {
            while try append(to: room, &counts, news) {}
        }
    }

    /// False: the room has all of them.
    private func append(to room: UUID128, _ counts: inout ImportCounts, _ news: any ImportNews) throws -> Bool {
        // As queue-worker locks it. A writer with the room in memory compares its last Seq, and loads it again.
        try connection.script("BEGIN")
        let before = try connection.query(
            "SELECT last_seq FROM rooms WHERE id = \(room) AND deleted_at IS NULL FOR UPDATE"
        ).first?.int8(0)
        guard let before else {
            try connection.script("ROLLBACK")
            return false
        }
        try connection.script("TRUNCATE import_part")
        _ = try connection.query(
            """
            INSERT INTO import_part SELECT m.line FROM import_messages m LEFT JOIN import_order o ON o.line = m.line
            WHERE m.room_id = \(room) AND NOT EXISTS (SELECT FROM messages h WHERE h.id = m.id)
                AND NOT EXISTS (SELECT FROM messages h WHERE h.sender_id = m.sender_id AND h.sign = m.sign)
            ORDER BY coalesce(o.seq, m.seq) LIMIT \(Self.part)
            """)
        let results = try connection.pipeline(
            Self.rows(of: Self.appended(after: before)) + [grown(room), sent(room)])
        try connection.script("COMMIT")
        counts.messages += results[0].affected
        counts.edits += results[1].affected
        guard results[0].affected > 0 else { return false }
        let last = try connection.query(
            """
            SELECT \(unsafeSQL: Message.columns) FROM messages m JOIN rooms r ON r.id = m.room_id AND r.last_message_seq = m.seq
            WHERE m.room_id = \(room)
            """
        ).first.map { Message($0) }
        if let last { try news.grew(last) }
        return true
    }

    private static func appended(after seq: Int64) -> SQL {
        """
        SELECT m.*, \(seq) + (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint - coalesce(e.edits, 0) AS place,
            \(seq) + (sum(1 + coalesce(e.edits, 0)) OVER w)::bigint AS change_place
        FROM import_part p JOIN import_messages m ON m.line = p.line LEFT JOIN import_order o ON o.line = m.line
        LEFT JOIN (
            SELECT message_id, count(*) AS edits FROM import_edits WHERE change_seq IS NULL GROUP BY message_id
        ) e ON e.message_id = m.id
        WINDOW w AS (ORDER BY coalesce(o.seq, m.seq))
        """
    }

    private func grown(_ room: UUID128) -> SQL {
        """
        UPDATE rooms r SET last_seq = greatest(r.last_seq, s.change_seq), message_count = r.message_count + s.of_users,
            last_message_seq = greatest(r.last_message_seq, s.seq), last_activity_at = greatest(r.last_activity_at, s.at)
        FROM (
            SELECT max(m.seq) AS seq, max(m.change_seq) AS change_seq, max(m.created_at) AS at,
                count(*) FILTER (WHERE \(unsafeSQL: Message.isOfUser())) AS of_users
            FROM import_part p JOIN import_messages i ON i.line = p.line JOIN messages m ON m.id = i.id
        ) s
        WHERE r.id = \(room) AND s.seq IS NOT NULL
        """
    }

    private func sent(_ room: UUID128) -> SQL {
        """
        UPDATE members m SET sent_count = m.sent_count + s.sent FROM (
            SELECT i.sender_id, count(*) AS sent FROM import_part p JOIN import_messages i ON i.line = p.line
            WHERE i.message_type <> 4 GROUP BY i.sender_id
        ) s WHERE m.room_id = \(room) AND m.user_id = s.sender_id
        """
    }
}
