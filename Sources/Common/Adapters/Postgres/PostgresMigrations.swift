import ChatCore
import Glibc

/// Migrations: `NNNN_name.up.sql` and `NNNN_name.down.sql` in one folder.
///
/// The version's row is written first, in the same transaction as its script. Of two migrators at the same moment, the
/// second waits for that row and then finds the work done.
///
/// A script whose first line is `-- outside a transaction` (such as CREATE INDEX CONCURRENTLY) runs statement by
/// statement, and its row is written last. Such a script must be safe to repeat from the start after any statement.
public final class PostgresMigrations {
    public struct Version: Sendable, Equatable {
        public var name: String
        public var isApplied: Bool
    }

    private let connection: PostgresConnection
    private let directory: String

    public init(_ connection: PostgresConnection, directory: String) {
        self.connection = connection
        self.directory = directory
    }

    public func status() throws -> [Version] {
        try prepare()
        let applied = try applied()
        return try available().map { Version(name: $0, isApplied: applied.contains($0)) }
    }

    /// Applies all missing migrations in order; returns their names.
    public func up() throws -> [String] {
        try prepare()
        var done: [String] = []
        for name in try available() where try run(name, up: true) { done.append(name) }
        return done
    }

    /// Reverts the newest migration; nil when none is applied.
    public func down() throws -> String? {
        try prepare()
        while let newest = try applied().max() {
            if try run(newest, up: false) { return newest }
        }
        return nil
    }

    private func prepare() throws {
        // Two CREATE TABLE IF NOT EXISTS at once can conflict: run one at a time.
        _ = try connection.pipeline([
            "BEGIN", "SELECT pg_advisory_xact_lock(7223)",
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())
            """,
            "COMMIT",
        ])
    }

    private func applied() throws -> [String] {
        try connection.query("SELECT name FROM schema_migrations ORDER BY name").map { $0.text(0) }
    }

    /// How long readers and writers may stand behind a migration that waits for a table, and how long it tries.
    private static let (lockTimeout, patience) = (Duration.seconds(2), 300)

    /// False when another migrator was first.
    private func run(_ name: String, up: Bool) throws -> Bool {
        let script = try read("\(directory)/\(name).\(up ? "up" : "down").sql")
        if script.utf8.starts(with: Self.outside.utf8) { return try runOutside(name, script, up: up) }
        for _ in 1..<Self.patience {
            do throws(PostgresError) { return try runInside(name, script, up: up) } catch {
                guard error.isLockTaken else { throw failed(name, error) }
                // Those who came behind it have their turn.
                usleep(500_000)
            }
        }
        do throws(PostgresError) { return try runInside(name, script, up: up) } catch { throw failed(name, error) }
    }

    private func failed(_ name: String, _ error: PostgresError) -> MigrationError {
        let hint =
            error.isLockTaken
            ? "; a transaction has held a table for minutes, perhaps that of an export: pg_stat_activity shows it" : ""
        return MigrationError("the migration \(name) failed: \(error)\(hint)")
    }

    private func runInside(_ name: String, _ script: String, up: Bool) throws(PostgresError) -> Bool {
        _ = try connection.query("BEGIN")
        try connection.script("SET LOCAL lock_timeout = \(Self.lockTimeout.milliseconds)")
        guard try record(name, up: up) else {
            _ = try connection.query("ROLLBACK")
            return false
        }
        try connection.script(script)
        _ = try connection.query("COMMIT")
        return true
    }

    private static let outside = "-- outside a transaction\n"
    /// The advisory lock for such scripts.
    private static let outsideLock: Int64 = 7225

    /// One at a time. A second migrator polls instead of waiting inside a statement: CREATE INDEX CONCURRENTLY waits
    /// for every running statement.
    private func runOutside(_ name: String, _ script: String, up: Bool) throws -> Bool {
        while try connection.query("SELECT pg_try_advisory_lock(\(Self.outsideLock))").first?.bool(0) != true {
            usleep(200_000)
        }
        defer { _ = try? connection.query("SELECT pg_advisory_unlock(\(Self.outsideLock))") }
        guard try applied().contains(name) != up else { return false }
        for statement in Self.statements(of: script) {
            do { try connection.script(statement) } catch {
                throw MigrationError("the migration \(name) failed: \(error)")
            }
        }
        return try record(name, up: up)
    }

    /// Splits at each semicolon that ends a line.
    static func statements(of script: String) -> [String] {
        var all: [String] = []
        var statement = ""
        for line in script.split(separator: "\n") where !line.utf8.starts(with: "--".utf8) {
            statement += line + "\n"
            if line.utf8.last == UInt8(ascii: ";") {
                all.append(statement)
                statement = ""
            }
        }
        return all
    }

    /// False when it was recorded already.
    private func record(_ name: String, up: Bool) throws(PostgresError) -> Bool {
        let touched =
            up
            ? try connection.query("INSERT INTO schema_migrations (name) VALUES (\(name)) ON CONFLICT DO NOTHING")
            : try connection.query("DELETE FROM schema_migrations WHERE name = \(name)")
        return touched.affected == 1
    }

    private func available() throws -> [String] {
        guard let folder = opendir(directory) else {
            throw MigrationError("the folder \(directory) cannot be read; MIGRATIONS_DIR names it")
        }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name.hasSuffix(".up.sql") { names.append(String(name.dropLast(".up.sql".count))) }
        }
        return names.sorted()
    }

    private func read(_ path: String) throws -> String {
        guard let text = readFile(path) else { throw MigrationError("\(path) cannot be read") }
        return text
    }
}

public struct MigrationError: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}
