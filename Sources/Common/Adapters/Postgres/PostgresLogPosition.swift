public import ChatCore

public final class PostgresLogPosition: LogPosition {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public var session: Int { connection.session }

    public func position() throws(StoreError) -> Int64 {
        do { return try connection.repeatable([Self.position])[0][0].int8(0) } catch { throw StoreError(error) }
    }

    /// A server that was promoted replays nothing. The position of insertion includes every commit that was answered.
    static let position: SQL = """
        SELECT (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint
        """
}
