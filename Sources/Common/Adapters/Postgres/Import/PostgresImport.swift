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
/// No transaction waits for this process: each is one message to the server. A room that is not here appears when all of it
/// is stored; a large one is a deleted room before (`deleted_at` is `infinity`), which nobody sees. A room that is in use gets
/// what it lacks at its end, while its row is locked as queue-worker locks it.
public final class PostgresImport {
    let connection: PostgresConnection
    private var staging: ImportStaging
    private let rules: ImportRules
    private let byLine: Bool

    /// - Parameters:
    ///   - connection: used for this alone, and no pooler's in transaction mode.
    ///   - byLine: messages without a Seq are in the order of the file, not of their times.
    public init(_ connection: PostgresConnection, rules: ImportRules, byLine: Bool) {
        self.connection = connection
        self.rules = rules
        self.byLine = byLine
        staging = ImportStaging(connection)
    }

    /// Removes the beginnings of an import that was killed.
    ///
    /// - Returns: false: another import runs.
    public func begin() throws(PostgresError) -> Bool {
        // Statements over many rows, each planned for what it finds; temporary tables are in memory.
        try connection.script(
            """
            SET plan_cache_mode = auto; SET enable_seqscan = on; SET enable_hashjoin = on; SET enable_mergejoin = on;
            SET work_mem = '128MB'; SET random_page_cost = 1.1; SET statement_timeout = 0; SET lock_timeout = '5s'
            """)
        // The server sees within a second that a killed import's connection is gone, and ends its statement.
        for _ in 0..<20 {
            let locked = try connection.query(
                "SELECT pg_try_advisory_lock(hashtextextended(\(ImportLeftovers.lock), 0))")
            if locked[0].bool(0) {
                while try ImportLeftovers(connection: connection).removePart() {}
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
        let repeated = ImportStaging.Table.allCases.filter { staging.counts[$0, default: 0] > 1 }
        var found = try ask(repeated.map(ImportChecks.doubled), limit)
        guard found.isEmpty else { return found }
        try run(repeated.map(ImportChecks.withoutDoubles))
        if staging.counts[.rooms, default: 0] > 0 { try run(ImportChecks.pairs) }
        try run([ImportChecks.targets, ImportChecks.indexes] + ImportChecks.twins)
        if staging.counts[.edits, default: 0] > 0 { try run([ImportChecks.edited]) }
        found = try ask(ImportChecks.first, limit)
        guard found.isEmpty else { return found }
        if staging.counts[.reactions, default: 0] > 0 { try run([ImportChecks.reactions]) }
        found = try ask(rules.checks, limit)
        guard found.isEmpty else { return found }
        try run(ImportConflicts.all(rules) + [ImportPlan.statements(byLine: byLine)])
        return try ask(ImportChecks.last, limit)
    }

    /// Lines of what is here otherwise, and stays so; at most `limit`, in the order of lines. When there are no problems.
    public func differences(limit: Int) throws(PostgresError) -> [ImportProblem] {
        let found = try notes(limit: limit) + ask(ImportDifferences.all, limit)
        return Array(found.sorted { $0.line < $1.line }.prefix(limit))
    }

    /// Lines that could not be stored as they are, and that nobody was told of yet; at most `limit`, in the order of lines.
    public func notes(limit: Int) throws(PostgresError) -> [ImportProblem] {
        try ask([ImportConflicts.untold], limit)
    }

    private func run(_ statements: [String]) throws(PostgresError) {
        for statement in statements { try connection.script(statement) }
    }

    private func ask(_ checks: [String], _ limit: Int) throws(PostgresError) -> [ImportProblem] {
        var found: [ImportProblem] = []
        for check in checks {
            found += try connection.query("\(unsafeSQL: check) ORDER BY 1 LIMIT \(Int64(limit))").map {
                ImportProblem(line: $0.int8(0), text: $0.text(1))
            }
        }
        return Array(found.sorted { $0.line < $1.line }.prefix(limit))
    }
}
