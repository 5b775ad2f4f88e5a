/// The language of full text search. A database function holds it (see the migration "search_by_room").
public struct PostgresSearchLanguage {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Switches to `language` (a text search configuration, such as `simple` or `english`) and rebuilds the index
    /// without blocking reads and writes. Until the index is ready, older messages are found by the words of the
    /// previous language. Returns false when nothing was to do. A run that was interrupted is completed by the next
    /// one.
    public func use(_ language: String) throws -> Bool {
        let state = try connection.query(
            """
            SELECT chat_language()::text, coalesce(obj_description('messages_room_words'::regclass, 'pg_class'), '')
            """)
        guard let state = state.first else { throw MigrationError("the language of search cannot be read") }
        guard state.text(0) != language || state.text(1) == Self.stale else { return false }
        let known = try connection.query("SELECT cfgname::text FROM pg_ts_config ORDER BY 1").map { $0.text(0) }
        guard known.contains(language) else {
            throw MigrationError("SEARCH_LANGUAGE=\(language) is not one of: \(known.joined(separator: ", "))")
        }
        // The name is one of PostgreSQL's own configurations, so it is safe to insert into the text.
        try connection.script(
            """
            BEGIN;
            COMMENT ON INDEX messages_room_words IS '\(Self.stale)';
            CREATE OR REPLACE FUNCTION chat_language() RETURNS regconfig LANGUAGE sql IMMUTABLE PARALLEL SAFE
                RETURN '\(language)'::regconfig;
            \(Self.users.map { "ALTER FUNCTION \($0) COST 100;" }.joined(separator: "\n"))
            COMMIT;
            """)
        try makeIndex()
        return true
    }

    /// The SQL comment on the index that marks it as stale until its replacement is built.
    private static let stale = "to be made again"
    /// Open sessions hold plans with the language as a constant. Any change to these functions, even to the same value,
    /// makes them plan again.
    private static let users = [
        "chat_lexemes(text)", "chat_lookup(text)", "chat_room_words(uuid, bigint, text)", "chat_found(text, text)",
        "chat_search(uuid, uuid, text, timestamptz, uuid, bigint, integer)",
    ]

    private func makeIndex() throws {
        // Remove the remains of an interrupted run.
        let leftovers = try connection.query(
            """
            SELECT c.relname::text FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
            WHERE NOT i.indisvalid AND c.relname LIKE 'messages\\_room\\_words\\_cc%'
            """)
        for name in leftovers.map({ $0.text(0) }) { try connection.script("DROP INDEX CONCURRENTLY \(name)") }
        try connection.script("REINDEX INDEX CONCURRENTLY messages_room_words")
        try connection.script("COMMENT ON INDEX messages_room_words IS NULL")
    }
}
