public import ChatCore

/// The limits of the API, which hold for imported rooms too: docs/limits.md.
public struct ImportRules: Sendable {
    let rooms: RoomSettings
    /// `BLOCKS_PER_USER`.
    let blocks: Int

    public init(rooms: RoomSettings, blocks: Int) {
        self.rooms = rooms
        self.blocks = blocks
    }

    /// Each is a statement whose rows are a line and a sentence. They run when reactions are with their messages.
    var checks: [String] { [ImportChecks.reacted] + members + messages + [blockedUsers] }

    private var members: [String] {
        [
            limit(of: .group, "ROOM_GROUP_LIMIT"), limit(of: .channel, "ROOM_CHANNEL_LIMIT"),
            """
            SELECT m.line, 'the room has more than \(rooms.bans) banned users who never were in it (ROOM_BAN_LIMIT)' FROM (
                SELECT m.line, row_number() OVER (PARTITION BY m.room_id ORDER BY m.line) AS n FROM import_members m
                JOIN import_targets t ON t.id = m.room_id AND t.state = 0
                WHERE m.banned_at IS NOT NULL AND m.left_at = m.joined_at
            ) m WHERE m.n = \(rooms.bans) + 1
            """,
            """
            SELECT s.line, 'the user is in more than \(rooms.roomsPerUser) rooms (ROOMS_PER_USER)' FROM (\(entered)) s
            WHERE s.n = \(rooms.roomsPerUser) + 1
            """,
        ]
    }

    /// Members of new rooms, numbered for each user.
    private var entered: String {
        """
        SELECT m.line, m.user_id, m.room_id, r.type = 1 OR r.owner_id = m.user_id AS is_needed,
            row_number() OVER (PARTITION BY m.user_id ORDER BY m.line) AS n
        FROM import_members m JOIN import_targets t ON t.id = m.room_id AND t.state = 0
        JOIN import_rooms r ON r.id = m.room_id WHERE \(Member.active("m")) AND r.deleted_at IS NULL
        """
    }

    /// Rooms that users have entered here are no fault of the file.
    var crowds: [String] {
        let crowded = """
            (\(entered)) s JOIN (
                SELECT p.user_id, count(*) AS here FROM members p JOIN rooms r ON r.id = p.room_id
                WHERE p.user_id IN (SELECT user_id FROM import_members) AND \(Member.active("p"))
                    AND r.deleted_at IS NULL
                GROUP BY p.user_id
            ) h ON h.user_id = s.user_id AND s.n + h.here > \(rooms.roomsPerUser)
            """
        let why = "with those here, the user is in more than \(rooms.roomsPerUser) rooms (ROOMS_PER_USER)"
        return [
            ImportConflicts.refuse(
                "s.line, s.room_id, '\(why): nothing of the room is stored'", "\(crowded) WHERE s.is_needed"),
            """
            WITH found AS MATERIALIZED (SELECT s.line, s.room_id, s.user_id FROM \(crowded) WHERE NOT s.is_needed), changed AS (
                UPDATE import_members m SET left_at = now(), role = 1 FROM found f
                WHERE m.room_id = f.room_id AND m.user_id = f.user_id
            ) INSERT INTO import_notes SELECT line, '\(why): stored as a member who has left' FROM found
            """,
        ]
    }

    private func limit(of type: RoomType, _ setting: String) -> String {
        """
        SELECT r.line, format('the room has %s members, and the limit is %s (\(setting), MemberLimit)', s.active,
            least(r.member_limit, \(rooms.limit(of: type))))
        FROM import_rooms r JOIN import_targets t ON t.id = r.id AND t.state = 0 JOIN (
            SELECT room_id, count(*) AS active FROM import_members m WHERE \(Member.active("m")) GROUP BY room_id
        ) s ON s.room_id = r.id
        WHERE r.type = \(type.rawValue) AND s.active > least(r.member_limit, \(rooms.limit(of: type)))
        """
    }

    private var messages: [String] {
        [
            """
            SELECT s.line, 'the room has more than \(rooms.pins) pinned messages (ROOM_PIN_LIMIT)' FROM (\(pinned(in: 0))) s
            WHERE s.n = \(rooms.pins) + 1
            """,
            """
            SELECT m.line, 'the message has more than \(RequestLimit.reactions) different reactions'
            FROM import_messages m WHERE jsonb_array_length(m.reactions) > \(RequestLimit.reactions)
            """,
            """
            SELECT m.line, 'a reaction has more than \(RequestLimit.roomMembers) users' FROM import_messages m
            WHERE m.reactions IS NOT NULL AND EXISTS (
                SELECT FROM jsonb_array_elements(m.reactions) r
                WHERE jsonb_array_length(r->'Users') > \(RequestLimit.roomMembers))
            """,
            """
            SELECT e.line, 'the message has more than \(ImportLimit.edits) earlier contents' FROM (
                SELECT line, row_number() OVER (PARTITION BY message_id ORDER BY line) AS n FROM import_edits
            ) e WHERE e.n = \(ImportLimit.edits) + 1
            """,
        ]
    }

    /// Numbered for each room of a state.
    private func pinned(in state: Int) -> String {
        """
        SELECT m.line, m.room_id, row_number() OVER (PARTITION BY m.room_id ORDER BY m.line) AS n
        FROM import_messages m JOIN import_targets t ON t.id = m.room_id AND t.state = \(state)
        WHERE m.pinned_at IS NOT NULL AND \(ImportChecks.isNew)
        """
    }

    private var blockedUsers: String {
        """
        SELECT s.line, 'the user blocks more than \(blocks) others (BLOCKS_PER_USER)' FROM (\(blocked)) s
        WHERE s.n = \(blocks) + 1
        """
    }

    private var blocked: String {
        """
        SELECT b.line, b.blocker, row_number() OVER (PARTITION BY b.blocker ORDER BY b.line) AS n FROM import_blocks b
        WHERE NOT EXISTS (SELECT FROM blocks d WHERE d.blocker = b.blocker AND d.blocked = b.blocked)
        """
    }

    /// Pins and blocks that users have made here are no fault of the file.
    var conflicts: [String] {
        [
            """
            WITH found AS MATERIALIZED (
                SELECT s.line FROM (\(pinned(in: 2))) s LEFT JOIN (
                    SELECT room_id, count(*) AS here FROM messages WHERE pinned_at IS NOT NULL
                        AND room_id IN (SELECT id FROM import_targets WHERE state = 2)
                    GROUP BY room_id
                ) h ON h.room_id = s.room_id WHERE s.n + coalesce(h.here, 0) > \(rooms.pins)
            ), changed AS (
                UPDATE import_messages m SET pinned_at = NULL FROM found f WHERE f.line = m.line
            ) INSERT INTO import_notes
            SELECT line, 'the room has \(rooms.pins) pinned messages (ROOM_PIN_LIMIT): stored without PinnedAt' FROM found
            """,
            """
            WITH found AS MATERIALIZED (
                SELECT s.line FROM (\(blocked)) s JOIN (
                    SELECT blocker, count(*) AS here FROM blocks WHERE blocker IN (SELECT blocker FROM import_blocks)
                    GROUP BY blocker
                ) h ON h.blocker = s.blocker WHERE s.n + h.here > \(blocks)
            ), gone AS (
                DELETE FROM import_blocks b USING found f WHERE f.line = b.line
            ) INSERT INTO import_notes
            SELECT line, 'the user blocks \(blocks) others here (BLOCKS_PER_USER): not stored' FROM found
            """,
        ]
    }
}
