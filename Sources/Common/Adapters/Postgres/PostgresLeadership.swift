public import ChatCore

/// Leadership by a session's advisory lock: PostgreSQL frees it with the connection, so a dead leader is replaced at
/// once.
public final class PostgresLeadership: Leadership {
    private let connection: PostgresConnection

    /// - Parameter connection: used only for this; a pooler in transaction mode would lose the lock.
    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func lead(_ task: String, _ body: () throws -> Void) throws -> Bool {
        let name = "lead \(task)"
        let answer = try connection.repeatable(["SELECT pg_try_advisory_lock(hashtextextended(\(name), 0))"])[0]
        guard answer[0].bool(0) else { return false }
        // Closing the connection frees the lock as well.
        defer {
            if (try? connection.query("SELECT pg_advisory_unlock(hashtextextended(\(name), 0))")) == nil {
                connection.close()
            }
        }
        try body()
        return true
    }
}
