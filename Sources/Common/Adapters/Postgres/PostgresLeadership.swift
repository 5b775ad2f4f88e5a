public import ChatCore

/// A session's advisory lock: it ends with its connection, so a leader that dies is followed at once.
public final class PostgresLeadership: Leadership {
    private let connection: PostgresConnection

    /// - Parameter connection: for this alone; a pooler that gives each transaction another session would not do.
    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func lead(_ task: String, _ body: () throws -> Void) throws -> Bool {
        let name = "lead \(task)"
        let answer = try connection.repeatable(["SELECT pg_try_advisory_lock(hashtextextended(\(name), 0))"])[0]
        guard answer[0].bool(0) else { return false }
        // A connection that is closed gives the lock back, too.
        defer {
            if (try? connection.query("SELECT pg_advisory_unlock(hashtextextended(\(name), 0))")) == nil {
                connection.close()
            }
        }
        try body()
        return true
    }
}
