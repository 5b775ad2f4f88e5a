/// The language of full text search, which stands in a function of the database (see the migration "search_by_room").
public struct PostgresSearchLanguage {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Makes `language` (a text search configuration, such as `simple` or `english`) the one that is used, and the index
    /// again, while others read and write; until it is made, older messages are found by the words of the language
    /// before. False when nothing was to do. A try that was cut off is completed by the next one.
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
        // The name is one of PostgreSQL's own, so it may stand in the text.
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

    /// What the index is called between the change of the language and the end of its making.
    private static let stale = "to be made again"
    /// Sessions that are open keep plans in which the language stands as a constant: a change of these, even to what they
    /// are, makes them plan again.
    private static let users = [
        "chat_lexemes(text)", "chat_lookup(text)", "chat_room_words(uuid, bigint, text)", "chat_found(text, text)",
        "chat_search(uuid, uuid, text, timestamptz, uuid, bigint, integer)",
    ]

    private func makeIndex() throws {
        // What an earlier try left.
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
