public import ChatCore

public final class PostgresUsers: UserStore {
    private let connection: PostgresConnection
    private let searchTimeout: Duration

    /// - Parameter searchTimeout: PostgreSQL ends a search after this time.
    public init(_ connection: PostgresConnection, searchTimeout: Duration = .seconds(2)) {
        self.connection = connection
        self.searchTimeout = searchTimeout
    }

    public func learn(_ claims: [UserClaims]) throws(StoreError) -> [UUID128] {
        // One of each user, in the order of ids, so that two programs cannot wait for each other.
        let all = Dictionary(claims.map { ($0.user, $0) }) { $0.at > $1.at ? $0 : $1 }.values.sorted {
            $0.user < $1.user
        }
        guard !all.isEmpty else { return [] }
        // Known rows are compared first: an upsert that changes nothing would still lock its rows.
        return try write(
            """
            INSERT INTO users AS u (id, external_id, name, avatar, claimed_name, claimed_avatar, claimed_at)
            SELECT n.id, n.external_id, coalesce(n.name, ''), coalesce(n.avatar, ''), n.name, n.avatar, n.at
            FROM unnest(\(all.map(\.user)), \(.texts(all.map(\.externalID))), \(.texts(all.map(\.name))),
                \(.texts(all.map(\.avatar))), \(.times(all.map(\.at)))) n (id, external_id, name, avatar, at)
            LEFT JOIN users k ON k.id = n.id
            WHERE k.id IS NULL OR k.external_id IS NULL AND n.external_id IS NOT NULL
                OR n.at >= k.claimed_at AND (n.name IS NOT NULL AND n.name IS DISTINCT FROM k.claimed_name
                    OR n.avatar IS NOT NULL AND n.avatar IS DISTINCT FROM k.claimed_avatar)
            ORDER BY n.id
            ON CONFLICT (id) DO UPDATE SET external_id = coalesce(u.external_id, EXCLUDED.external_id),
                name = CASE WHEN EXCLUDED.claimed_at >= u.claimed_at AND EXCLUDED.claimed_name <> ''
                    AND EXCLUDED.claimed_name IS DISTINCT FROM u.claimed_name
                    THEN EXCLUDED.claimed_name ELSE u.name END,
                avatar = CASE WHEN EXCLUDED.claimed_at >= u.claimed_at AND EXCLUDED.claimed_avatar <> ''
                    AND EXCLUDED.claimed_avatar IS DISTINCT FROM u.claimed_avatar
                    THEN EXCLUDED.claimed_avatar ELSE u.avatar END,
                claimed_name = CASE WHEN EXCLUDED.claimed_at >= u.claimed_at
                    THEN coalesce(EXCLUDED.claimed_name, u.claimed_name) ELSE u.claimed_name END,
                claimed_avatar = CASE WHEN EXCLUDED.claimed_at >= u.claimed_at
                    THEN coalesce(EXCLUDED.claimed_avatar, u.claimed_avatar) ELSE u.claimed_avatar END,
                claimed_at = greatest(u.claimed_at, EXCLUDED.claimed_at),
                version = u.version + 1, updated_at = now()
            RETURNING u.id, u.name <> '' OR u.avatar <> ''
            """
        ).map { (user: $0.uuid(0), isShown: $0.bool(1)) }.filter(\.isShown).map(\.user)
    }

    private static let columns = """
        jsonb_build_array(u.external_id, u.name, u.avatar, u.version), u.metadata
        """

    public func users(_ ids: [UUID128], for user: UUID128?) throws(StoreError) -> [UserView] {
        try write(
            """
            WITH shared AS (
                SELECT DISTINCT o.user_id FROM members o
                JOIN members p ON p.room_id = o.room_id JOIN rooms r ON r.id = o.room_id
                WHERE o.user_id = ANY(\(ids)) AND \(unsafeSQL: Member.active("o")) AND p.user_id = \(user)
                    AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
            )
            SELECT n.id, \(unsafeSQL: Self.columns)
            FROM unnest(\(ids)) WITH ORDINALITY n (id, place) LEFT JOIN users u ON u.id = n.id
            WHERE n.id = \(user) OR n.id IN (SELECT user_id FROM shared) OR \(.bool(user == nil)) AND u.id IS NOT NULL
            ORDER BY n.place
            """
        ).map { UserView($0) }
    }

    public func search(
        _ words: NameWords, _ scope: UserSearch, for user: UUID128?, limit: Int
    ) throws(StoreError) -> [UserView] {
        do throws(PostgresError) {
            return try connection.repeatable([
                "SELECT set_config('statement_timeout', \("\(searchTimeout.milliseconds)"), true)",
                user == nil || scope == .everybody
                    ? Self.everybody(words, user, limit) : Self.members(words, user, limit),
            ])[1].map { UserView($0) }
        } catch { throw StoreError(error) }
    }

    /// The words in the syntax of `to_tsquery`. They contain neither quotation marks nor backslashes.
    private static func query(_ words: NameWords) -> PGValue {
        .text(words.words.map { "'\($0)':*" }.joined(separator: " & "))
    }

    /// Sorts only the first hits: sorting all users whose names begin with a common letter would take seconds.
    static func everybody(_ words: NameWords, _ user: UUID128?, _ limit: Int) -> SQL {
        """
        SELECT u.id, \(unsafeSQL: columns) FROM (
            SELECT * FROM users WHERE chat_name_words(name) @@ to_tsquery('simple', \(query(words))) AND name <> ''
                AND deactivated_at IS NULL
            LIMIT 5000
        ) u
        WHERE u.id IS DISTINCT FROM \(user)
            AND NOT EXISTS (SELECT FROM blocks b WHERE b.blocker = u.id AND b.blocked = \(user))
        ORDER BY lower(u.name), u.id LIMIT \(.int4(Int32(limit)))
        """
    }

    static func members(_ words: NameWords, _ user: UUID128?, _ limit: Int) -> SQL {
        """
        WITH mine AS MATERIALIZED (
            SELECT p.room_id FROM members p JOIN rooms r ON r.id = p.room_id
            WHERE p.user_id = \(user) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                AND r.member_count <= 1000
            ORDER BY r.last_activity_at DESC, r.id LIMIT 100
        ), known AS MATERIALIZED (
            SELECT DISTINCT o.user_id FROM mine JOIN members o ON o.room_id = mine.room_id
            WHERE \(unsafeSQL: Member.active("o"))
        )
        SELECT u.id, \(unsafeSQL: columns) FROM known JOIN users u ON u.id = known.user_id
        WHERE u.id <> \(user) AND chat_name_words(u.name) @@ to_tsquery('simple', \(query(words)))
            AND u.deactivated_at IS NULL
        ORDER BY lower(u.name), u.id LIMIT \(.int4(Int32(limit)))
        """
    }

    public func change(_ user: HostUser, _ patch: UserPatch) throws(StoreError) -> (UserView, isNews: Bool)? {
        let name = PGValue.text(patch.name)
        let avatar = PGValue.text(patch.avatar)
        let metadata = PGValue.text(patch.metadata)
        let base = PGValue.text(patch.base)
        let row = try write(
            """
            WITH known AS (SELECT name, avatar FROM users WHERE id = \(user.id))
            INSERT INTO users AS u (id, external_id, name, avatar, metadata)
            SELECT \(user.id), \(.text(user.externalID)), coalesce(n.name, ''), coalesce(n.avatar, ''),
                coalesce(n.metadata, '{}')
            FROM (VALUES (\(name), \(avatar), \(metadata))) n (name, avatar, metadata)
            ON CONFLICT (id) DO UPDATE SET external_id = coalesce(u.external_id, EXCLUDED.external_id),
                name = coalesce(\(name), u.name), avatar = coalesce(\(avatar), u.avatar),
                metadata = coalesce(\(metadata), u.metadata), version = u.version + 1, updated_at = now()
            WHERE \(base) IS NULL OR u.metadata = \(base)
            RETURNING u.id, \(unsafeSQL: Self.columns),
                (u.name, u.avatar) IS DISTINCT FROM (coalesce((SELECT name FROM known), ''), coalesce((SELECT avatar FROM known), ''))
            """
        ).first
        guard let row else { return nil }
        return (UserView(row), isNews: row.bool(3))
    }

    /// The user's description, and the rooms that are told of it, newest activity first. Large rooms are left out,
    /// because each member would cost a frame; they see it with the user's next message.
    func told(of user: UUID128, rooms: Int64, members: Int32) throws(StoreError) -> (Profile, [UUID128])? {
        let rows = try write(
            """
            SELECT p.room_id, \(unsafeSQL: Profile.column("p.user_id")) FROM members p JOIN rooms r ON r.id = p.room_id
            WHERE p.user_id = \(user) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                AND r.member_count <= \(.int4(members))
            ORDER BY r.last_activity_at DESC, r.id LIMIT \(rooms)
            """)
        return rows.first.flatMap { Profile($0, at: 1) }.map { ($0, rows.map { $0.uuid(0) }) }
    }

    /// Inserts the host's ids of users that a command names, if they are not known yet.
    static func insert(_ names: [(user: UUID128, externalID: String)]) -> SQL {
        let names = names.sorted { $0.user < $1.user }
        return """
            INSERT INTO users (id, external_id)
            SELECT * FROM unnest(\(names.map(\.user)), \(.texts(names.map(\.externalID)))) ON CONFLICT DO NOTHING
            """
    }

    private func write(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}

extension UserView {
    /// Reads the id, and a row that may be missing.
    fileprivate init(_ row: PGRow) {
        self.init(
            id: row.uuid(0), profile: Profile(row, at: 1) ?? Profile(), metadata: row.optionalText(2) ?? "{}")
    }
}
