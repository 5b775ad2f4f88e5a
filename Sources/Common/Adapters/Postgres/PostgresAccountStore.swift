public import ChatCore

public final class PostgresAccountStore: AccountStore {
    private let connection: PostgresConnection

    private let limits: AccountSettings

    public init(_ connection: PostgresConnection, limits: AccountSettings) {
        self.connection = connection
        self.limits = limits
    }

    public func block(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool {
        try write(
            """
            INSERT INTO blocks (blocker, blocked) SELECT \(blocker), \(user)
            WHERE (SELECT count(*) FROM blocks WHERE blocker = \(blocker)) < \(Int64(limits.blocks))
            ON CONFLICT DO NOTHING
            """)
        return try write("SELECT FROM blocks WHERE blocker = \(blocker) AND blocked = \(user)").first != nil
    }

    public func unblock(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool {
        try write("DELETE FROM blocks WHERE blocker = \(blocker) AND blocked = \(user)")
        return try write("SELECT FROM blocks WHERE blocker = \(user) AND blocked = \(blocker)").first != nil
    }

    public func change(_ patch: AccountPatch, of user: UUID128) throws(StoreError) -> Account {
        let standard = Account()
        let hides = PGValue.bools(patch.hidesPresence.map { [$0] } ?? [])
        let addedBy = PGValue.int2s(patch.addedBy.map { [$0.rawValue] } ?? [])
        let row = try write(
            """
            INSERT INTO accounts (user_id, hides_presence, added_by) VALUES (\(user),
                \(.bool(patch.hidesPresence ?? standard.hidesPresence)),
                \(.int2((patch.addedBy ?? standard.addedBy).rawValue)))
            ON CONFLICT (user_id) DO UPDATE SET
                hides_presence = coalesce((\(hides)::boolean[])[1], accounts.hides_presence),
                added_by = coalesce((\(addedBy)::smallint[])[1], accounts.added_by)
            RETURNING hides_presence, added_by
            """)[0]
        return Account(row)
    }

    /// Users per device: enough for people who share a tablet, too few for everybody who has learnt its token.
    private static let usersOfDevice: Int64 = 5

    public func register(device token: String, of user: UUID128) throws(StoreError) -> Bool {
        let registered = try write(
            """
            INSERT INTO user_devices (user_id, token) SELECT \(user), \(token)
            WHERE (SELECT count(*) FROM user_devices WHERE token = \(token) AND user_id <> \(user))
                < \(Self.usersOfDevice)
            ON CONFLICT (user_id, token) DO UPDATE SET updated_at = clock_timestamp()
            RETURNING token
            """)
        try write(
            """
            DELETE FROM user_devices WHERE user_id = \(user) AND token IN (
                SELECT token FROM user_devices WHERE user_id = \(user)
                ORDER BY updated_at DESC, token OFFSET \(Int64(limits.devices)))
            """)
        return registered.first != nil
    }

    public func unregister(device token: String, of user: UUID128) throws(StoreError) {
        try write("DELETE FROM user_devices WHERE token = \(token) AND user_id = \(user)")
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

extension Account {
    /// Reads the columns `hides_presence, added_by`.
    init(_ row: PGRow) {
        self.init(hidesPresence: row.bool(0), addedBy: AddedBy(rawValue: row.int2(1)) ?? .everybody)
    }
}
