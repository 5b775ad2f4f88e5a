public import ChatCore

/// A line of an import, and what is wrong with it.
public struct ImportProblem: Sendable, Equatable {
    public var line: Int64
    public var text: String

    public init(line: Int64, text: String) {
        self.line = line
        self.text = text
    }
}

/// An import into PostgreSQL: lines go into temporary tables, are checked there, and become rows.
///
/// A room that is not here is made as a deleted one (`deleted_at` is `infinity`): nobody sees it, and queue-worker changes
/// nothing in it. It appears when all of it is stored. A room that is in use gets what it lacks at its end, while its row is
/// locked as queue-worker locks it.
public final class PostgresImport {
    let connection: PostgresConnection
    private var staging: ImportStaging
    private let byLine: Bool
    /// Lines of messages that are stored by one transaction.
    static let batch: Int64 = 10_000
    /// Seqs below the newest that a socket may still ask for, each of which must be told.
    static let told: Int64 = 1000

    /// - Parameters:
    ///   - connection: used for this alone, and no pooler's in transaction mode.
    ///   - byLine: messages without a Seq are in the order of the file, not of their times.
    public init(_ connection: PostgresConnection, byLine: Bool) {
        self.connection = connection
        self.byLine = byLine
        staging = ImportStaging(connection)
    }

    /// False: another import runs.
    public func begin() throws(PostgresError) -> Bool {
        // Statements over many rows, each planned for what it finds.
        try connection.script(
            """
            SET plan_cache_mode = auto; SET enable_seqscan = on; SET enable_hashjoin = on; SET enable_mergejoin = on;
            SET work_mem = '128MB'; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0
            """)
        // The server sees within a second that a killed import's connection is gone, and ends its statement.
        for _ in 0..<20 {
            let locked = try connection.query("SELECT pg_try_advisory_lock(hashtextextended('import', 0))")
            if locked[0].bool(0) {
                try staging.create()
                return true
            }
            _ = try connection.query("SELECT pg_sleep(0.25)")
        }
        return false
    }

    public func add(_ record: ImportRecord, line: Int64, digest: Int64) throws(PostgresError) {
        try staging.add(record, line: line, digest: digest)
    }

    /// Problems of lines with each other and with the database; at most `limit` problems, in the order of lines.
    public func problems(limit: Int) throws(PostgresError) -> [ImportProblem] {
        try staging.finish()
        var found: [ImportProblem] = []
        for table in ImportStaging.Table.allCases where staging.counts[table, default: 0] > 1 {
            found += try ask(ImportChecks.doubled(table), limit)
        }
        guard found.isEmpty else { return sorted(found, limit) }
        for table in ImportStaging.Table.allCases where staging.counts[table, default: 0] > 1 {
            try connection.script(ImportChecks.withoutDoubles(table))
        }
        if staging.counts[.rooms, default: 0] > 0 {
            for statement in ImportChecks.pairs { try connection.script(statement) }
        }
        try connection.script(ImportChecks.targets)
        for check in ImportChecks.first { found += try ask(check, limit) }
        guard found.isEmpty else { return sorted(found, limit) }
        if staging.counts[.reactions, default: 0] > 0 { try connection.script(ImportChecks.reactions) }
        try connection.script(
            ImportChecks.order(byLine: byLine) + """
                ; CREATE INDEX ON import_order (line); CREATE INDEX ON import_messages (line);
                CREATE INDEX ON import_targets (id); CREATE TEMPORARY TABLE import_part (line bigint); ANALYZE import_order; ANALYZE import_targets
                """)
        for check in ImportChecks.last { found += try ask(check, limit) }
        return sorted(found, limit)
    }

    private func sorted(_ problems: [ImportProblem], _ limit: Int) -> [ImportProblem] {
        Array(problems.sorted { $0.line < $1.line }.prefix(limit))
    }

    private func ask(_ check: String, _ limit: Int) throws(PostgresError) -> [ImportProblem] {
        try connection.query("\(unsafeSQL: check) ORDER BY 1 LIMIT \(Int64(limit))").map {
            ImportProblem(line: $0.int8(0), text: $0.text(1))
        }
    }
}
