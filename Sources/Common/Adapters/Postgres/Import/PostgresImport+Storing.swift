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
    /// Stores everything that is not here yet, each room completely or not at all. After a failure, or the end of this
    /// process, another run stores what is missing then.
    ///
    /// - Parameter progress: called after each transaction, with the number of messages that were stored.
    public func store(_ news: any ImportNews, progress: (_ messages: Int) -> Void) throws -> ImportCounts {
        var counts = ImportCounts()
        try storeUsers(&counts)
        try storeSmallRooms(&counts, news, progress)
        try storeBigRooms(&counts, news, progress)
        // A room that clients have made since the checks is one in use.
        try connection.script(ImportConflicts.changedRooms + "; " + ImportPlan.rest)
        try appendToRooms(&counts, news, progress)
        return counts
    }

    /// Runs a transaction again that has met another writer, for instance a sender who used the Sign of a line.
    private func attempt(_ script: String) throws(PostgresError) {
        for _ in 0..<10 {
            do throws(PostgresError) { return try connection.script(script, keepsSession: true) } catch {
                guard let state = error.state, ["23505", "40P01", "55P03"].contains(state) else { throw error }
                if state == "23505" {
                    try connection.script(
                        ImportConflicts.signs + ";\n" + ImportConflicts.roomSigns, keepsSession: true)
                }
            }
        }
        try connection.script(script, keepsSession: true)
    }

    // MARK: Users

    private func storeUsers(_ counts: inout ImportCounts) throws {
        counts.users = try newUsers()
        // Names that the host or a token has given since stay.
        try inPieces(of: "import_users") { piece in
            try attempt(
                """
                \(ImportErased.first);
                INSERT INTO users AS u (id, external_id, name, avatar, metadata, deactivated_at, created_at)
                SELECT id, external_id, name, avatar, metadata, deactivated_at, coalesce(created_at, now())
                FROM import_users WHERE \(piece) ORDER BY id
                ON CONFLICT (id) DO UPDATE SET external_id = coalesce(u.external_id, EXCLUDED.external_id),
                    name = CASE WHEN u.name = '' THEN EXCLUDED.name ELSE u.name END,
                    avatar = CASE WHEN u.avatar = '' THEN EXCLUDED.avatar ELSE u.avatar END,
                    metadata = CASE WHEN u.metadata = '{}' THEN EXCLUDED.metadata ELSE u.metadata END,
                    version = u.version + 1, updated_at = now()
                WHERE u.external_id IS NULL AND EXCLUDED.external_id IS NOT NULL OR u.name = '' AND EXCLUDED.name <> ''
                    OR u.avatar = '' AND EXCLUDED.avatar <> '' OR u.metadata = '{}' AND EXCLUDED.metadata <> '{}'
                """)
        }
        try inPieces(of: "import_accounts") { piece in
            try attempt(
                """
                \(ImportErased.first);
                INSERT INTO accounts (user_id, hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone)
                SELECT user_id, hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone
                FROM import_accounts WHERE \(piece) ORDER BY user_id ON CONFLICT DO NOTHING
                """)
        }
        try inPieces(of: "import_blocks") { piece in
            try attempt(
                """
                \(ImportErased.first);
                INSERT INTO blocks (blocker, blocked, created_at) SELECT blocker, blocked, created_at FROM import_blocks
                WHERE \(piece) ORDER BY blocker, blocked ON CONFLICT DO NOTHING
                """)
        }
    }

    /// Users that are not here, or of whom something was not known.
    private func newUsers() throws(PostgresError) -> Int {
        Int(
            try connection.query(
                """
                SELECT count(*) FROM import_users i LEFT JOIN users u ON u.id = i.id
                WHERE u.id IS NULL OR u.external_id IS NULL AND i.external_id IS NOT NULL OR u.name = '' AND i.name <> ''
                    OR u.avatar = '' AND i.avatar <> '' OR u.metadata = '{}' AND i.metadata <> '{}'
                """)[0].int8(0))
    }

    /// Conditions for 1,000 lines each: other writers wait for rows of users.
    private func inPieces(of table: String, _ body: (String) throws -> Void) throws {
        var after: Int64 = 0
        while true {
            let last = try connection.query(
                """
                SELECT max(line) FROM (
                    SELECT line FROM \(unsafeSQL: table) WHERE line > \(after) ORDER BY line LIMIT 1000) l
                """
            )[0].optionalInt8(0)
            guard let last else { return }
            try body("line > \(after) AND line <= \(last)")
            after = last
        }
    }

    // MARK: New rooms

    private func storeSmallRooms(
        _ counts: inout ImportCounts, _ news: any ImportNews, _ progress: (Int) -> Void
    ) throws {
        for part in try parts("SELECT DISTINCT part FROM import_plan WHERE NOT is_big ORDER BY 1") {
            try attempt(ImportScripts.small(part))
            try count(&counts, hasRooms: true)
            progress(counts.messages)
            try tell(news)
        }
    }

    private func storeBigRooms(
        _ counts: inout ImportCounts, _ news: any ImportNews, _ progress: (Int) -> Void
    ) throws {
        let rooms = try connection.query("SELECT id FROM import_plan WHERE is_big ORDER BY part").map { $0.uuid(0) }
        for room in rooms {
            try attempt(ImportScripts.begin(room))
            guard try connection.query("SELECT FROM import_made").first != nil else { continue }
            // The commit that shows the room makes these last, too.
            try connection.script("SET synchronous_commit = off")
            for part in try parts("SELECT DISTINCT part FROM import_order WHERE room_id = \(room) ORDER BY 1") {
                try attempt(ImportScripts.messages(of: room, part))
                try count(&counts, hasRooms: false)
                progress(counts.messages)
            }
            try connection.script("SET synchronous_commit = on; TRUNCATE import_part")
            for statement in ImportScripts.end { try attempt(statement) }
            try count(&counts, hasRooms: true)
            try tell(news)
        }
    }

    private func parts(_ sql: SQL) throws(PostgresError) -> [Int64] { try connection.query(sql).map { $0.int8(0) } }

    /// Adds what the last transaction has stored.
    private func count(_ counts: inout ImportCounts, hasRooms: Bool) throws(PostgresError) {
        let row = try connection.query(
            """
            SELECT (SELECT count(*) FROM import_part), (SELECT count(*) FROM import_part p
                JOIN import_messages m ON m.line = p.line JOIN import_edits e ON e.message_id = m.id)
            """)[0]
        counts.messages += Int(row.int8(0))
        counts.edits += Int(row.int8(1))
        guard hasRooms else { return }
        let made = try connection.query(
            """
            SELECT (SELECT count(*) FROM import_made), (SELECT count(*) FROM import_made k
                JOIN import_members m ON m.room_id = k.id)
            """)[0]
        counts.rooms += Int(made.int8(0))
        counts.members += Int(made.int8(1))
    }

    private func tell(_ news: any ImportNews) throws {
        let rooms = try connection.query(
            "SELECT \(unsafeSQL: Room.columns) FROM rooms r JOIN import_made k ON k.id = r.id WHERE r.deleted_at IS NULL"
        ).map { Room($0) }
        let members = try connection.query(
            """
            SELECT \(unsafeSQL: Member.columns) FROM members p JOIN import_made k ON k.id = p.room_id
            WHERE \(unsafeSQL: Member.active("p"))
            """
        ).map { Member($0) }
        let ofRoom = Dictionary(grouping: members, by: \.roomID)
        for room in rooms { try news.appeared(room, ofRoom[room.id] ?? []) }
    }

    // MARK: Rooms in use

    /// As long as queue-worker may have waited: otherwise it would meet a locked room again and again.
    private func rest(_ milliseconds: Int64) throws(PostgresError) {
        _ = try connection.query("SELECT pg_sleep(\(.int8(min(milliseconds, 1000))) / 1000.0)")
    }

    private func appendToRooms(
        _ counts: inout ImportCounts, _ news: any ImportNews, _ progress: (Int) -> Void
    ) throws {
        for room in try connection.query("SELECT DISTINCT room_id FROM import_rest ORDER BY 1").map({ $0.uuid(0) }) {
            for part in try parts("SELECT DISTINCT part FROM import_rest WHERE room_id = \(room) ORDER BY 1") {
                let begun = monotonicMilliseconds()
                try attempt(ImportScripts.append(to: room, part))
                try rest(monotonicMilliseconds() - begun)
                try count(&counts, hasRooms: false)
                progress(counts.messages)
                let last = try connection.query(
                    """
                    SELECT \(unsafeSQL: Message.columns) FROM import_part p JOIN import_messages i ON i.line = p.line
                    JOIN messages m ON m.id = i.id ORDER BY p.seq DESC LIMIT 1
                    """
                ).first.map { Message($0) }
                if let last { try news.grew(last) }
            }
        }
    }
}
