public import ChatCore

public final class PostgresKeys: KeyStore {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func key(hash: [UInt8]) throws(StoreError) -> ServerKey? {
        try read(
            """
            SELECT name, scope, created_at, revoked_at FROM server_keys
            WHERE hash = \(.bytes(hash)) AND revoked_at IS NULL
            """
        ).first.flatMap { Self.key($0) }
    }

    /// False: a key with that name is in use, or there are too many keys.
    public func add(_ key: ServerKey, hash: [UInt8]) throws(StoreError) -> Bool {
        try read(
            """
            INSERT INTO server_keys (hash, name, scope)
            SELECT \(.bytes(hash)), \(key.name), \(.int2(key.scope.rawValue))
            WHERE (SELECT count(*) FROM server_keys WHERE revoked_at IS NULL) < \(Int64(ServerKey.limit))
            ON CONFLICT DO NOTHING RETURNING name
            """
        ).first != nil
    }

    /// All keys, including revoked ones, oldest first.
    public func all() throws(StoreError) -> [ServerKey] {
        try read("SELECT name, scope, created_at, revoked_at FROM server_keys ORDER BY created_at, name")
            .map { Self.key($0) }.compactMap { $0 }
    }

    /// False: no key with that name is in use.
    public func revoke(_ name: String) throws(StoreError) -> Bool {
        try read("UPDATE server_keys SET revoked_at = now() WHERE name = \(name) AND revoked_at IS NULL RETURNING name")
            .first != nil
    }

    /// nil: a later release's scope.
    private static func key(_ row: PGRow) -> ServerKey? {
        KeyScope(rawValue: row.int2(1)).map {
            ServerKey(name: row.text(0), scope: $0, createdAt: row.time(2), revokedAt: row.optionalTime(3))
        }
    }

    /// Old entries that are removed with each new one. It is more than one, so that the log shrinks when AUDIT_DAYS
    /// does.
    private static let part: Int64 = 20

    public func record(_ entry: AuditEntry, keepingFor time: Duration) throws(StoreError) {
        _ = try read(
            """
            WITH old AS (
                DELETE FROM audit WHERE id IN (
                    SELECT id FROM audit WHERE at < now() - make_interval(days => \(.int4(Int32(clamping: time.days))))
                    ORDER BY at LIMIT \(Self.part) FOR UPDATE SKIP LOCKED)
            )
            INSERT INTO audit (key_name, operation, path, user_id, status, request_id)
            VALUES (\(entry.key), \(entry.operation), \(entry.path), \(entry.user),
                \(.int2(Int16(clamping: entry.status))), \(entry.requestID))
            """)
    }

    public func audit(before: Int64?, limit: Int) throws(StoreError) -> [AuditEntry] {
        try read(
            """
            SELECT a.id, a.at, a.key_name, a.operation, a.path, a.user_id, u.external_id, a.status, a.request_id
            FROM audit a LEFT JOIN users u ON u.id = a.user_id
            WHERE a.id < \(before ?? .max) ORDER BY a.id DESC LIMIT \(Int64(limit))
            """
        ).map { row in
            AuditEntry(
                id: row.int8(0), at: row.time(1), key: row.text(2), operation: row.text(3), path: row.text(4),
                user: row.optionalUUID(5), externalID: row.optionalText(6), status: Int(row.int2(7)),
                requestID: row.text(8))
        }
    }

    private func read(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
