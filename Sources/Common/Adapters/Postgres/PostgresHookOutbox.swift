public import ChatCore

/// Reads and settles events. The transaction that changes a room inserts them (see `PostgresRoomBatchStore`).
public final class PostgresHookOutbox: HookOutbox {
    private let connection: PostgresConnection

    public init(_ connection: PostgresConnection) { self.connection = connection }

    static func insert(_ events: [HookEvent]) -> SQL {
        """
        INSERT INTO hook_events (room_id, seq, name, body)
        SELECT * FROM unnest(\(events.map(\.key.room)), \(.int8s(events.map(\.key.seq))), \(.texts(events.map(\.name))),
            \(.byteses(events.map(\.body))))
        ON CONFLICT DO NOTHING
        """
    }

    public func add(_ events: [HookEvent]) throws(StoreError) {
        if !events.isEmpty { _ = try run(Self.insert(events)) }
    }

    public func replace(with items: [UserNewsItem]) throws(StoreError) {
        guard !items.isEmpty else { return }
        let users = Array(Set(items.map(\.user)))
        let rows = try run("SELECT id, external_id FROM users WHERE id = ANY(\(users))")
        let names = Dictionary(rows.map { ($0.uuid(0), $0.optionalText(1)) }) { first, _ in first }
        // Of a user's news of one kind the newest.
        let newest = Dictionary(items.map { ([$0.user.description, "\($0.place)"], $0) }) { $0.at > $1.at ? $0 : $1 }
        let events = newest.values.map { $0.event(externalID: names[$0.user] ?? nil) }
        _ = try run(
            """
            DELETE FROM hook_events e
            USING unnest(\(events.map(\.key.room)), \(.int8s(events.map(\.key.seq)))) n (user_id, seq)
            WHERE e.room_id = n.user_id AND e.seq < n.seq AND e.seq & 3 = n.seq & 3
            """)
        try add(events)
    }

    public func claim(_ most: Int, lease: Int) throws(StoreError) -> [PendingHook] {
        try run(
            """
            WITH due AS (
                SELECT room_id, seq, created_at FROM hook_events WHERE dead_at IS NULL AND next_at <= now()
                ORDER BY next_at, room_id, seq LIMIT \(Int64(most)) FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE hook_events e SET attempts = attempts + 1,
                    next_at = now() + \(Int64(lease)) * interval '1 millisecond'
                FROM due WHERE e.room_id = due.room_id AND e.seq = due.seq
                RETURNING e.room_id, e.seq, e.name, e.body, e.attempts, e.last_error, e.created_at
            )
            SELECT room_id, seq, name, body, attempts, last_error FROM claimed ORDER BY created_at, room_id, seq
            """
        ).map { PendingHook($0) }
    }

    public func delivered(_ hook: HookKey) throws(StoreError) {
        _ = try run("DELETE FROM hook_events WHERE room_id = \(hook.room) AND seq = \(hook.seq)")
    }

    public func failed(_ hook: HookKey, _ error: String, again: Int?) throws(StoreError) {
        _ = try run(
            """
            UPDATE hook_events SET last_error = \(error),
                next_at = now() + \(Int64(again ?? 0)) * interval '1 millisecond',
                dead_at = CASE WHEN \(.bool(again == nil)) THEN now() END
            WHERE room_id = \(hook.room) AND seq = \(hook.seq)
            """)
    }

    public func dead(_ most: Int) throws(StoreError) -> [PendingHook] {
        try run(
            """
            SELECT room_id, seq, name, body, attempts, last_error FROM hook_events WHERE dead_at IS NOT NULL
            ORDER BY dead_at, room_id, seq LIMIT \(Int64(most))
            """
        ).map { PendingHook($0) }
    }

    public func retryDead() throws(StoreError) -> Int {
        try run("UPDATE hook_events SET dead_at = NULL, attempts = 0, next_at = now() WHERE dead_at IS NOT NULL")
            .affected
    }

    public func dropDead() throws(StoreError) -> Int {
        try run("DELETE FROM hook_events WHERE dead_at IS NOT NULL").affected
    }

    private func run(_ sql: SQL) throws(StoreError) -> PGRows {
        do { return try connection.query(sql) } catch { throw StoreError(error) }
    }
}

extension PendingHook {
    fileprivate init(_ row: PGRow) {
        self.init(
            key: HookKey(room: row.uuid(0), seq: row.int8(1)), name: row.text(2), body: row.bytes(3) ?? [],
            attempts: row.int4(4), lastError: row.optionalText(5))
    }
}

extension UserNewsItem {
    /// Online and offline replace each other.
    fileprivate var place: Int64 { kind == .connected ? 1 : 0 }

    /// The event's key has the user in the room's place, and the time with the kind in its two lowest bits.
    fileprivate func event(externalID: String?) -> HookEvent {
        let key = HookKey(room: user, seq: max(0, min(at, .max >> 3)) << 2 | place)
        return HookEvent("user.\(kind.rawValue)", key, at: at, room: nil, seq: nil) {
            $0.map {
                $0.field("UserID", user)
                $0.field("ExternalID", externalID)
            }
        }
    }
}
