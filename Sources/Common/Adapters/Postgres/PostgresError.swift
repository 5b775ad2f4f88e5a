/// An error from PostgreSQL or from the connection to it. Never contains a statement's values.
public struct PostgresError: Error, CustomStringConvertible, Sendable {
    /// SQLSTATE; nil when the connection itself failed.
    public let state: String?
    public let message: String
    public let constraint: String?
    /// The server, or a pooler, ended the session with it.
    var isFatal = false
    /// It took longer than its limit, and the server answered others meanwhile.
    var isSlow = false
    /// Nothing was heard from the server for this time.
    var silence: Duration?

    public var description: String {
        guard let state else { return "PostgreSQL: \(message)" }
        // A table, column or function is missing.
        let isOld = ["42P01", "42703", "42883"].contains(state)
        return "PostgreSQL \(state): \(message)" + (isOld ? "; run: fcgi-api migrate up" : "")
    }

    /// The connection was lost. A slow answer does not count.
    var isLostConnection: Bool {
        guard let state else { return !isSlow && silence == nil }
        return isFatal || state.hasPrefix("57P")
    }
    /// PostgreSQL ended the statement at its time limit (57014), or a NOWAIT lock was taken (55P03).
    var isTimeLimit: Bool { state == "57014" }
    var isLockTaken: Bool { state == "55P03" }

    /// The statement itself is fine and may succeed later, perhaps on a new connection. Classes 08 (connection), 53
    /// (resources), 57 (operator intervention), 40 (rollback), 25006 (a read-only standby now), and a lost connection.
    /// Pgpool-II says XX000 when its own connection to the server is lost.
    public var isTransient: Bool {
        guard let state else { return true }
        return isFatal || ["08", "53", "57", "40"].contains(String(state.prefix(2))) || state == "25006"
    }

    /// The server could not be reached, or fell silent; another host may reach it. False for one that only takes long, or
    /// ended the session because we were slow (25P03).
    public var isAway: Bool {
        guard let state else { return !isSlow }
        if ["08", "57P"].contains(where: state.hasPrefix) || state == "25006" { return true }
        return isFatal && state != "25P03"
    }
}

/// The route that a connection takes to PostgreSQL.
public enum PostgresWay: Sendable {
    /// For writes, and for reads that must see them at once: never a standby, even when a pooler would choose one.
    case primary
    /// A replica is good enough.
    case replica
    /// The primary, bypassing a pooler in transaction mode.
    case direct
}
