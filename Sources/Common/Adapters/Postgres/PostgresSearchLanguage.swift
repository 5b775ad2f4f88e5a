/// The language of full text search, which stands in three functions of the database (see the migration "search").
public struct PostgresSearchLanguage {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    /// Makes `language` (a text search configuration, such as `simple` or `english`) the one that is used, and the index
    /// again. Writers wait meanwhile. False when it was that already.
    public func use(_ language: String) throws -> Bool {
        let current = try connection.query("SELECT pg_get_functiondef('chat_query(text)'::regprocedure)").first
        let quoted = "'\(language)'::regconfig"
        guard current?.text(0).contains(quoted) != true else { return false }
        let known = try connection.query("SELECT cfgname::text FROM pg_ts_config ORDER BY 1").map { $0.text(0) }
        guard known.contains(language) else {
            throw MigrationError("SEARCH_LANGUAGE=\(language) is not one of: \(known.joined(separator: ", "))")
        }
        // The name is one of PostgreSQL's own, so it may stand in the text.
        try connection.script(
            """
            BEGIN;
            CREATE OR REPLACE FUNCTION chat_words(content text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
                RETURN to_tsvector(\(quoted), content);
            CREATE OR REPLACE FUNCTION chat_query(query text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
                RETURN to_tsquery(\(quoted), query);
            CREATE OR REPLACE FUNCTION chat_marked(content text, query text) RETURNS text
                LANGUAGE sql IMMUTABLE PARALLEL SAFE
                RETURN ts_headline(\(quoted), content, to_tsquery(\(quoted), query),
                    'HighlightAll=true, StartSel=' || chr(2) || ', StopSel=' || chr(3));
            REINDEX INDEX messages_words;
            COMMIT;
            """)
        return true
    }
}
