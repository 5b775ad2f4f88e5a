public import ChatCore

public final class PostgresAccountStore: AccountStore {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    public func block(_ user: UUID128, by blocker: UUID128) throws(StoreError) {
        try write("INSERT INTO blocks (blocker, blocked) VALUES (\(blocker), \(user)) ON CONFLICT DO NOTHING")
    }

    public func unblock(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool {
        try write("DELETE FROM blocks WHERE blocker = \(blocker) AND blocked = \(user)")
        return try write("SELECT FROM blocks WHERE blocker = \(user) AND blocked = \(blocker)").first != nil
    }

    public func set(hidesPresence: Bool, of user: UUID128) throws(StoreError) {
        try write(
            """
            INSERT INTO accounts (user_id, hides_presence) VALUES (\(user), \(.bool(hidesPresence)))
            ON CONFLICT (user_id) DO UPDATE SET hides_presence = EXCLUDED.hides_presence
            """)
    }

    public func register(device token: String, of user: UUID128) throws(StoreError) {
        try write(
            """
            INSERT INTO devices (token, user_id) VALUES (\(token), \(user))
            ON CONFLICT (token) DO UPDATE SET user_id = EXCLUDED.user_id, updated_at = now()
            """)
    }

    public func unregister(device token: String, of user: UUID128) throws(StoreError) {
        try write("DELETE FROM devices WHERE token = \(token) AND user_id = \(user)")
    }

    public func silence(_ room: UUID128, for user: UUID128, until: Int64?) throws(StoreError) {
        try write(
            """
            INSERT INTO push_mutes (user_id, room_id, until)
            VALUES (\(user), \(room), coalesce(\(.time(until)), 'infinity'))
            ON CONFLICT (user_id, room_id) DO UPDATE SET until = EXCLUDED.until
            """)
    }

    public func unsilence(_ room: UUID128, for user: UUID128) throws(StoreError) {
        try write("DELETE FROM push_mutes WHERE user_id = \(user) AND room_id = \(room)")
    }

    @discardableResult
    private func write(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}
