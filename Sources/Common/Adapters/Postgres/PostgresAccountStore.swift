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
        let mentions = PGValue.bools(patch.pushesMentionsOnly.map { [$0] } ?? [])
        let setsQuiet = PGValue.bool(patch.quietHours != nil)
        let quiet = patch.quietHours ?? nil
        let from = PGValue.int4(quiet.map { Int32($0.from) })
        let to = PGValue.int4(quiet.map { Int32($0.to) })
        let zone = PGValue.text(quiet?.zone)
        let row = try write(
            """
            INSERT INTO accounts (user_id, hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone)
            VALUES (\(user), \(.bool(patch.hidesPresence ?? standard.hidesPresence)),
                \(.int2((patch.addedBy ?? standard.addedBy).rawValue)),
                \(.bool(patch.pushesMentionsOnly ?? standard.pushesMentionsOnly)), \(from), \(to), \(zone))
            ON CONFLICT (user_id) DO UPDATE SET
                hides_presence = coalesce((\(hides)::boolean[])[1], accounts.hides_presence),
                added_by = coalesce((\(addedBy)::smallint[])[1], accounts.added_by),
                push_mentions = coalesce((\(mentions)::boolean[])[1], accounts.push_mentions),
                quiet_from = CASE WHEN \(setsQuiet) THEN \(from) ELSE accounts.quiet_from END,
                quiet_to = CASE WHEN \(setsQuiet) THEN \(to) ELSE accounts.quiet_to END,
                quiet_zone = CASE WHEN \(setsQuiet) THEN \(zone) ELSE accounts.quiet_zone END
            RETURNING \(unsafeSQL: Account.columns)
            """)[0]
        return Account(row)
    }

    /// Users per device: enough for people who share a tablet, too few for many users who learnt its token.
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
        try removeOldest(of: user)
        return registered.first != nil
    }

    /// False: too many users have the device. A name at the host's gateway has no such limit: others could register it
    /// until its owner no longer can.
    public func register(_ device: PushDevice) throws(StoreError) -> Bool {
        let registered = try write(
            """
            INSERT INTO user_endpoints (user_id, device, kind, address, public_key, secret, silent)
            SELECT \(device.user), \(device.id), \(.int2(device.kind.rawValue)), \(device.address),
                \(.bytes(device.publicKey.isEmpty ? nil : device.publicKey)),
                \(.bytes(device.secret.isEmpty ? nil : device.secret)), \(.bool(device.takesSilent))
            WHERE \(.bool(device.kind == .webhook))
                OR (SELECT count(*) FROM user_endpoints WHERE device = \(device.id) AND user_id <> \(device.user))
                    < \(Self.usersOfDevice)
            ON CONFLICT (user_id, device) DO UPDATE SET updated_at = clock_timestamp(), kind = EXCLUDED.kind,
                address = EXCLUDED.address, public_key = EXCLUDED.public_key, secret = EXCLUDED.secret,
                silent = EXCLUDED.silent
            RETURNING device
            """)
        try removeOldest(of: device.user)
        return registered.first != nil
    }

    /// Counts devices of all kinds.
    private func removeOldest(of user: UUID128) throws(StoreError) {
        try write(
            """
            WITH surplus AS (
                SELECT device FROM (
                    SELECT token AS device, updated_at FROM user_devices WHERE user_id = \(user)
                    UNION ALL SELECT device, updated_at FROM user_endpoints WHERE user_id = \(user)
                ) d ORDER BY updated_at DESC, device OFFSET \(Int64(limits.devices))
            ), tokens AS (
                DELETE FROM user_devices WHERE user_id = \(user) AND token IN (SELECT device FROM surplus)
            )
            DELETE FROM user_endpoints WHERE user_id = \(user) AND device IN (SELECT device FROM surplus)
            """)
    }

    public func devices(of user: UUID128) throws(StoreError) -> [(device: PushDevice, registeredAt: Int64)] {
        try write(
            """
            SELECT \(unsafeSQL: PushDevice.columns), d.updated_at FROM \(unsafeSQL: PushDevice.table)
            WHERE d.user_id = \(user) ORDER BY d.updated_at DESC, d.device
            """
        ).map { row in PushDevice(row).map { ($0, row.time(PushDevice.columnCount)) } }.compactMap { $0 }
    }

    public func unregister(device: String, of user: UUID128) throws(StoreError) {
        try write("DELETE FROM user_devices WHERE token = \(device) AND user_id = \(user)")
        try write("DELETE FROM user_endpoints WHERE device = \(device) AND user_id = \(user)")
    }

    public func silence(_ room: UUID128, for user: UUID128, _ silence: Silence) throws(StoreError) {
        try write(
            """
            INSERT INTO push_mutes (user_id, room_id, until, mentions)
            VALUES (\(user), \(room), coalesce(\(.time(silence.until)), 'infinity'), \(.bool(silence.exceptMentions)))
            ON CONFLICT (user_id, room_id) DO UPDATE SET until = EXCLUDED.until, mentions = EXCLUDED.mentions
            """)
    }

    public func unsilence(_ room: UUID128, for user: UUID128) throws(StoreError) {
        try write("DELETE FROM push_mutes WHERE user_id = \(user) AND room_id = \(room)")
    }

    /// Silenced threads of one user.
    private static let maxThreads: Int64 = 1000

    public func silence(
        thread message: UUID128, in room: UUID128, for user: UUID128, _ silence: Silence
    ) throws(StoreError) {
        try write(
            """
            INSERT INTO thread_mutes (user_id, message_id, room_id, until, mentions)
            VALUES (\(user), \(message), \(room), coalesce(\(.time(silence.until)), 'infinity'),
                \(.bool(silence.exceptMentions)))
            ON CONFLICT (user_id, message_id) DO UPDATE SET
                until = EXCLUDED.until, mentions = EXCLUDED.mentions, created_at = clock_timestamp()
            """)
        try write(
            """
            DELETE FROM thread_mutes WHERE user_id = \(user) AND message_id IN (
                SELECT message_id FROM thread_mutes WHERE user_id = \(user)
                ORDER BY created_at DESC, message_id OFFSET \(Self.maxThreads))
            """)
    }

    public func unsilence(thread message: UUID128, for user: UUID128) throws(StoreError) {
        try write("DELETE FROM thread_mutes WHERE user_id = \(user) AND message_id = \(message)")
    }

    public func isTimeZone(_ name: String) throws(StoreError) -> Bool {
        try write("SELECT chat_minute_of_day(\(name), now()) IS NOT NULL")[0].bool(0)
    }

    @discardableResult
    private func write(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.repeatable([sql])[0] } catch { throw StoreError(error) }
    }
}

extension Account {
    static let columns = "hides_presence, added_by, push_mentions, quiet_from, quiet_to, quiet_zone"

    init(_ row: PGRow) {
        var quiet: QuietHours?
        if !row.isNull(3), !row.isNull(4), let zone = row.optionalText(5) {
            quiet = QuietHours(from: Int(row.int2(3)), to: Int(row.int2(4)), zone: zone)
        }
        self.init(
            hidesPresence: row.bool(0), addedBy: AddedBy(rawValue: row.int2(1)) ?? .everybody,
            pushesMentionsOnly: row.bool(2), quietHours: quiet)
    }
}

extension PushDevice {
    /// All devices `d` of all users. FCM's are in the table that the previous release reads.
    static let table = """
        (SELECT user_id, 1::smallint AS kind, token AS device, token AS address, NULL::bytea AS public_key,
            NULL::bytea AS secret, true AS silent, updated_at FROM user_devices
        UNION ALL
        SELECT user_id, kind, device, address, public_key, secret, silent, updated_at FROM user_endpoints) d
        """
    static let columns = "d.user_id, d.kind, d.device, d.address, d.public_key, d.secret, d.silent"
    static let columnCount = 7

    /// Nil: a kind of a later release.
    init?(_ row: PGRow, at first: Int = 0) {
        guard let kind = PushKind(rawValue: row.int2(first + 1)) else { return nil }
        self.init(
            user: row.uuid(first), id: row.text(first + 2), kind: kind, address: row.text(first + 3),
            publicKey: row.bytes(first + 4) ?? [], secret: row.bytes(first + 5) ?? [],
            takesSilent: row.bool(first + 6))
    }
}
