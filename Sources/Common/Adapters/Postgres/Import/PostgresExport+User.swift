import ChatCore

/// Everything that is stored about one user: what others have said of the user stays with those.
extension PostgresExport {
    func everything(about user: UUID128, _ out: ExportLines) throws {
        try each(
            "user_out", "SELECT \(unsafeSQL: ExportLines.userColumns) FROM users u WHERE u.id = \(user)", out.user)
        try each(
            "account_out",
            "SELECT \(unsafeSQL: ExportLines.accountColumns) FROM accounts WHERE user_id = \(user)", out.account)
        try each(
            "blocks_out",
            "SELECT blocker, blocked, created_at FROM blocks WHERE blocker = \(user) ORDER BY blocked", out.block)
        for (index, lines) in Self.others(user).enumerated() { try each("lines\(index)_out", lines, out.ready) }
        let mine: SQL = "r.id IN (SELECT p.room_id FROM members p WHERE p.user_id = \(user))"
        try each("rooms_out", Self.rooms(mine)) { try part(of: $0, user, out) }
    }

    private func part(of row: PGRow, _ user: UUID128, _ out: ExportLines) throws {
        let room = Room(row)
        try out.room(room, pair: row.uuids(Room.columnCount))
        try each(
            "member_out",
            """
            SELECT \(unsafeSQL: Member.columns) FROM members p WHERE p.room_id = \(room.id) AND p.user_id = \(user)
            """
        ) { try out.member(Member($0)) }
        try messages("m.room_id = \(room.id) AND m.sender_id = \(user)", out)
        let text = "%\(user)%"
        try each(
            "reactions_out",
            """
            SELECT m.id, m.reactions FROM messages m
            WHERE m.room_id = \(room.id) AND m.seq > 0 AND m.reactions::text LIKE \(text) ORDER BY m.seq
            """
        ) { row in
            for reaction in row.jsonb(1).map({ [Reaction](json: $0) }) ?? [] where reaction.users.contains(user) {
                try out.reaction(reaction.emoji, on: row.uuid(0), of: user)
            }
        }
    }

    /// Statements whose rows are lines. Keys of browsers and hashes of requests are no statement about a person.
    private static func others(_ user: UUID128) -> [SQL] {
        [
            line("device", "'Device', token, 'UpdatedAt', \(time("updated_at"))", "user_devices WHERE user_id =", user),
            line(
                "device", "'Device', device, 'Address', address, 'UpdatedAt', \(time("updated_at"))",
                "user_endpoints WHERE user_id =", user),
            line(
                "silence", "'RoomID', room_id, 'Until', \(time("until")), 'Mentions', mentions",
                "push_mutes WHERE user_id =", user),
            line(
                "thread_silence", "'MessageID', message_id, 'RoomID', room_id, 'Until', \(time("until"))",
                "thread_mutes WHERE user_id =", user),
            line(
                "invitation",
                "'RoomID', room_id, 'CreatedAt', \(time("created_at")), 'ExpiresAt', \(time("expires_at")), 'Uses', uses",
                "invitations WHERE created_by =", user),
            line(
                "revocation", "'IssuedBefore', \(time("issued_before")), 'RevokedAt', \(time("revoked_at"))",
                "revocations WHERE user_id =", user),
            line("erasure", "'At', \(time("erased_at"))", "erased_users WHERE user_id =", user),
            line(
                "audit", "'At', \(time("at")), 'Key', key_name, 'Operation', operation, 'Path', path, 'Status', status",
                "audit WHERE user_id =", user),
            line(
                "request", "'Sign', sign, 'CreatedAt', \(time("created_at"))", "signed_requests WHERE user_id =", user),
            line(
                "upload", "'MessageID', message_id, 'Size', size, 'CreatedAt', \(time("created_at"))",
                "uploads WHERE owner =", user),
            // As their reporter sees them: the copy of a message is what another one has written, and notes are the moderators'.
            line(
                "report",
                """
                'ID', id, 'RoomID', room_id, 'MessageID', message_id, 'ReportedID', reported_id,
                'Reason', \(name("reason", ReportReason.allCases.map { ($0.rawValue, $0.name) })), 'Text', text,
                'State', \(name("state", ReportState.allCases.map { ($0.rawValue, $0.name) })),
                'CreatedAt', \(time("created_at")), 'UpdatedAt', \(time("updated_at"))
                """, "reports WHERE reporter_id =", user),
        ]
    }

    private static func line(_ kind: String, _ fields: String, _ source: String, _ user: UUID128) -> SQL {
        """
        SELECT json_build_object('Kind', \(unsafeSQL: "'\(kind)'"), 'UserID', \(user), \(unsafeSQL: fields))::text
        FROM \(unsafeSQL: source) \(user) ORDER BY 1
        """
    }

    private static func name(_ column: String, _ names: [(Int16, String)]) -> String {
        "CASE \(column) \(names.map { "WHEN \($0.0) THEN '\($0.1)'" }.joined(separator: " ")) END"
    }

    private static func time(_ column: String) -> String {
        """
        CASE WHEN \(column) IN ('infinity', '-infinity') THEN \(column)::text
            ELSE to_char(\(column) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END
        """
    }
}
