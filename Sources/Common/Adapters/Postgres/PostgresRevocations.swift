public import ChatCore

public final class PostgresRevocations: RevocationStore {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func revoke(_ subject: Revocation.Subject, days: Int) throws(StoreError) {
        let (user, before, token): (UUID128?, Int64?, String?) =
            switch subject {
            case .user(let id, let before): (id, before, nil)
            case .token(let id): (nil, nil, id)
            }
        _ = try query("DELETE FROM revocations WHERE expires_at < now()")
        _ = try query(
            """
            INSERT INTO revocations (user_id, issued_before, token_id, expires_at)
            VALUES (\(user), \(.time(before)), \(.text(token)), now() + make_interval(days => \(.int4(Int32(days)))))
            """)
    }

    public func revocations(since: Int64?) throws(StoreError) -> [Revocation] {
        try query(
            """
            SELECT user_id, issued_before, token_id, revoked_at FROM revocations
            WHERE revoked_at >= \(.time(since ?? 0)) AND expires_at >= now()
            """
        ).map { row in
            if let user = row.optionalUUID(0) {
                Revocation(.user(user, before: row.time(1)), at: row.time(3))
            } else {
                Revocation(.token(row.text(2)), at: row.time(3))
            }
        }
    }

    private func query(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
