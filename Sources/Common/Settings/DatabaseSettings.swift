public struct DatabaseSettings: Sendable {
    /// A libpq connection string or URI.
    public var url: String
    /// A replica for reads; the same as `url` when not set.
    public var readURL: String
    /// A replica that is further behind is not used.
    public var readMaxLag: Duration
    public var migrationsDirectory: String
    /// PostgreSQL ends a statement after this time.
    public var statementTimeout: Duration
    /// Uses named statements and session settings; false behind PgBouncer in transaction mode.
    public var isPrepared: Bool
    /// For work that needs a session of its own (locks of sweepers, migrations); the same as `url` when not set.
    public var directURL: String
    public var hasReplica: Bool { readURL != url }
    /// How long marks of a user's writes are kept: after this time a usable replica has replayed them.
    public var markLifetime: Duration { readMaxLag + .seconds(30) }
    /// A text search configuration of PostgreSQL; `fcgi-api migrate up` applies it.
    public var searchLanguage: String
    /// PostgreSQL ends a search after this time.
    public var searchTimeout: Duration

    init(_ values: inout SettingsReader, _ files: InstalledFiles) {
        url = values.required("DATABASE_URL", "a libpq connection string, such as postgresql://chat@127.0.0.1/chat")
        readURL = values.text("DATABASE_READ_URL", default: url)
        readMaxLag = values.seconds("DATABASE_READ_MAX_LAG_SECONDS", default: 30, in: 1...3600)
        isPrepared = values.choice("DATABASE_PREPARED", ["yes", "no"], default: "yes") == "yes"
        directURL = values.text("DATABASE_DIRECT_URL", default: url)
        if !isPrepared, directURL == url {
            values.problem(
                "DATABASE_PREPARED=no (PgBouncer in transaction mode) needs DATABASE_DIRECT_URL, which bypasses "
                    + "it, for locks that a session holds")
        }
        migrationsDirectory =
            values.optional("MIGRATIONS_DIR") ?? files.folder(shared: "migrations", checkout: "Migrations")
        statementTimeout = values.milliseconds("DATABASE_STATEMENT_TIMEOUT_MS", default: 10_000, in: 100...600_000)
        searchLanguage = values.text("SEARCH_LANGUAGE", default: "simple")
        searchTimeout = values.milliseconds("SEARCH_TIMEOUT_MS", default: 2000, in: 50...600_000)
    }
}
