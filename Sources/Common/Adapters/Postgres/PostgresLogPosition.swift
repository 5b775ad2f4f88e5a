public import ChatCore

public final class PostgresLogPosition: LogPosition {
    private let connection: PostgresConnection
    private let isReplica: Bool

    /// - Parameter isReplica: then a server that is not (or no longer) a standby gives no position, since it may have
    ///   written a log of its own.
    public init(_ connection: PostgresConnection, isReplica: Bool = false) {
        self.connection = connection
        self.isReplica = isReplica
    }

    public var session: Int { connection.session }

    public func position() throws(StoreError) -> Int64 {
        let row: PGRow
        do { row = try connection.repeatable([Self.position])[0][0] } catch { throw StoreError(error) }
        guard !isReplica || row.bool(1) else { throw .noStandby }
        return row.int8(0)
    }

    /// A primary has no replay position. Its insert position includes every commit that was answered.
    static let position: SQL = """
        SELECT (CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')
            ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn)::bigint, pg_is_in_recovery()
        """
}
