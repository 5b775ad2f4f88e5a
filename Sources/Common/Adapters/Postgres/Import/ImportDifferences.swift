import ChatCore

/// Lines of what is here already, and not as the lines say: it stays as it is, and the operator reads which lines these are.
/// Read marks are not compared: they go on.
enum ImportDifferences {
    static let all = users + rooms + members + messages

    /// - Parameters:
    ///   - source: rows `i` of the file beside rows `h` of the database.
    ///   - fields: names, and when they differ.
    private static func differing(_ what: String, _ source: String, _ fields: [(String, when: String)]) -> String {
        let names = fields.map { "CASE WHEN \($0.when) THEN '\($0.0)' END" }.joined(separator: ", ")
        return """
            SELECT i.line, format('the \(what) is here, but not with this %s', d.names) FROM \(source)
            CROSS JOIN LATERAL (SELECT concat_ws(', ', \(names)) AS names) d WHERE d.names <> ''
            """
    }

    private static func isOther(_ name: String) -> String { "i.\(name) IS DISTINCT FROM h.\(name)" }
    private static func isOneWithout(_ name: String) -> String { "(i.\(name) IS NULL) <> (h.\(name) IS NULL)" }

    private static let users = [
        // An empty field is taken from the file.
        differing(
            "user", "import_users i JOIN users h ON h.id = i.id",
            [
                ("Name", "i.name <> '' AND h.name <> '' AND i.name <> h.name"),
                ("Avatar", "i.avatar <> '' AND h.avatar <> '' AND i.avatar <> h.avatar"),
                ("Metadata", "i.metadata <> '{}' AND h.metadata <> '{}' AND i.metadata <> h.metadata"),
                ("DeactivatedAt", isOneWithout("deactivated_at")),
            ]),
        differing(
            "account", "import_accounts i JOIN accounts h ON h.user_id = i.user_id",
            [
                ("HidePresence", isOther("hides_presence")), ("AddedBy", isOther("added_by")),
                ("PushMentionsOnly", isOther("push_mentions")),
                (
                    "QuietHours",
                    """
                    (i.quiet_from, i.quiet_to, i.quiet_zone) IS DISTINCT FROM
                        (h.quiet_from::smallint, h.quiet_to::smallint, h.quiet_zone)
                    """
                ),
            ]),
    ]

    private static let rooms = [
        differing(
            "room", "import_rooms i JOIN rooms h ON h.id = i.id AND h.deleted_at IS NULL",
            [
                ("Name", isOther("name")), ("Description", isOther("description")), ("Avatar", isOther("avatar")),
                ("OwnerID", isOther("owner_id")), ("MemberLimit", isOther("member_limit")),
                ("SlowModeSeconds", isOther("slow_mode_seconds")), ("CreatedAt", isOther("created_at")),
                ("DeletedAt", "i.deleted_at IS NOT NULL"), ("Metadata", "\(json("i")) IS DISTINCT FROM \(json("h"))"),
            ]),
        """
        SELECT i.line, format('the room is here with %s members who have no line, such as user %s', h.total, h.one)
        FROM import_rooms i JOIN import_targets t ON t.id = i.id AND t.state = 2 CROSS JOIN LATERAL (
            SELECT count(*) AS total, min(coalesce(u.external_id, p.user_id::text)) AS one FROM members p
            LEFT JOIN users u ON u.id = p.user_id WHERE p.room_id = i.id AND \(Member.active("p")) AND NOT EXISTS (
                SELECT FROM import_members m WHERE m.room_id = p.room_id AND m.user_id = p.user_id)
        ) h
        WHERE h.total > 0 AND EXISTS (SELECT FROM import_members m WHERE m.room_id = i.id)
        """,
    ]

    private static func json(_ row: String) -> String { "\(row).metadata::text" }

    private static let isOtherFile = """
        \(isOther("file_name")) OR \(isOther("file_size")) OR i.file_name IS NOT NULL AND i.file_url IS DISTINCT FROM (
            SELECT l.url FROM file_links l WHERE l.message_id = coalesce(h.forwarded_from, h.id))
        """

    private static let members = [
        """
        SELECT i.line, 'the room is here, and this user was never in it' FROM import_members i
        JOIN import_targets t ON t.id = i.room_id AND t.state = 2
        WHERE NOT i.former
            AND NOT EXISTS (SELECT FROM members h WHERE h.room_id = i.room_id AND h.user_id = i.user_id)
        """,
        differing(
            "member",
            """
            import_members i JOIN import_targets t ON t.id = i.room_id AND t.state = 2
            JOIN members h ON h.room_id = i.room_id AND h.user_id = i.user_id
            """,
            [
                ("Role", isOther("role")), ("LeftAt", isOneWithout("left_at")),
                ("BannedAt", isOneWithout("banned_at")), ("JoinedAt", isOther("joined_at")),
                ("MutedUntil", isOther("muted_until")), ("Metadata", "\(json("i")) IS DISTINCT FROM \(json("h"))"),
            ]),
    ]

    private static let messages = [
        differing(
            "message", "import_messages i JOIN messages h ON h.id = i.id",
            [
                ("SenderID", isOther("sender_id")),
                ("Content", "i.deleted_at IS NULL AND h.deleted_at IS NULL AND i.content <> h.content"),
                ("ContentType", isOther("content_type")), ("MessageType", isOther("message_type")),
                ("ParentMessageID", "i.parent <> h.parent_message_id"),
                ("ForwardedFrom", "i.forwarded <> h.forwarded_from"),
                ("File", "i.deleted_at IS NULL AND h.deleted_at IS NULL AND (\(isOtherFile))"),
                ("EditedAt", "i.deleted_at IS NULL AND h.deleted_at IS NULL AND \(isOther("edited_at"))"),
                ("Sign", "i.sign <> coalesce(h.sign, '')"),
                ("Reactions", "i.deleted_at IS NULL AND h.deleted_at IS NULL AND \(isOther("reactions"))"),
                ("CreatedAt", isOther("created_at")), ("DeletedAt", isOneWithout("deleted_at")),
                ("PinnedAt", isOneWithout("pinned_at")),
                (
                    "Metadata",
                    "i.deleted_at IS NULL AND h.deleted_at IS NULL AND \(json("i")) IS DISTINCT FROM \(json("h"))"
                ),
            ]),
        differing(
            "message with this Sign",
            "import_messages i JOIN import_twins w ON w.id = i.id JOIN messages h ON h.id = w.twin",
            [("Content", "i.deleted_at IS NULL AND h.deleted_at IS NULL AND i.content <> h.content")]),
        """
        SELECT i.line, 'the message is here without this earlier content' FROM import_edits i
        JOIN messages h ON h.id = i.message_id AND h.deleted_at IS NULL
        WHERE NOT EXISTS (
            SELECT FROM message_edits e
            WHERE e.message_id = i.message_id AND e.content = i.content AND e.edited_at = i.edited_at)
        """,
    ]
}
