public import ChatCore

/// A report is read, decided on and stored without a lock between: the version, and the copied content, tell whether
/// anything has changed meanwhile.
public final class PostgresReports: ReportStore {
    private let connection: PostgresConnection
    private let keepsFor: Duration
    /// Also writes the events to the webhook outbox.
    private let hasHooks: Bool

    /// - Parameter keepsFor: closed reports that are older are removed.
    public init(_ connection: PostgresConnection, keepsFor: Duration, hasHooks: Bool) {
        self.connection = connection
        self.keepsFor = keepsFor
        self.hasHooks = hasHooks
    }

    // MARK: The ground of a report

    public func ground(ofMessage message: UUID128, for reporter: UUID128) throws(StoreError) -> ReportGround? {
        let rows = try read([
            """
            SELECT m.sender_id, \(unsafeSQL: Self.externalID("m.sender_id")), m.room_id, m.id, m.content, m.file_name,
                m.change_seq, \(unsafeSQL: Self.manages("m.room_id", "m.sender_id")),
                \(unsafeSQL: Message.isDeleted()), \(unsafeSQL: Message.isSystem()), \(Self.openCount(reporter)),
                \(Self.externalID(reporter))
            FROM messages m JOIN members p ON p.room_id = m.room_id AND p.user_id = \(reporter)
            JOIN rooms r ON r.id = m.room_id
            WHERE m.id = \(message) AND \(unsafeSQL: Member.active("p")) AND r.deleted_at IS NULL
                AND \(unsafeSQL: Message.isVisible())
            """,
            """
            SELECT \(unsafeSQL: Self.columns) FROM reports t
            WHERE t.message_id = \(message) AND t.reporter_id = \(reporter)
            """,
        ])
        return ground(rows)
    }

    public func ground(ofUser user: UUID128, for reporter: UUID128) throws(StoreError) -> ReportGround? {
        let rows = try read([
            """
            SELECT \(user), \(Self.externalID(user)), NULL::uuid, NULL::uuid, NULL::text, NULL::text, NULL::bigint, false,
                false, false, \(Self.openCount(reporter)), \(Self.externalID(reporter))
            WHERE EXISTS (
                SELECT FROM members a JOIN members b USING (room_id) JOIN rooms r ON r.id = room_id
                WHERE a.user_id = \(reporter) AND \(unsafeSQL: Member.active("a")) AND r.deleted_at IS NULL
                    AND b.user_id = \(user) AND \(unsafeSQL: Member.active("b")))
            """,
            """
            SELECT \(unsafeSQL: Self.columns) FROM reports t
            WHERE t.reported_id = \(user) AND t.reporter_id = \(reporter) AND t.message_id IS NULL
            """,
        ])
        return ground(rows)
    }

    private func ground(_ rows: [PGRows]) -> ReportGround? {
        rows[0].first.map { row in
            ReportGround(
                subject: Self.subject(row, at: 0), reporterExternalID: row.optionalText(11), isDeleted: row.bool(8),
                isSystem: row.bool(9), earlier: rows[1].first.map { Self.report($0) }, openCount: Int(row.int8(10)))
        }
    }

    /// Stops counting at the limit.
    private static func openCount(_ reporter: UUID128) -> SQL {
        """
        (SELECT count(*) FROM (
            SELECT FROM reports o WHERE o.reporter_id = \(reporter) AND o.state <= \(.int2(ReportState.reviewing.rawValue))
            LIMIT \(Int64(RequestLimit.openReports))) o)
        """
    }

    // MARK: Storing

    /// One reporter's changes run one after the other, so that the limit of open reports is exact.
    public func put(_ change: ReportChange) throws(StoreError) -> Bool {
        let lock: SQL = """
            SELECT pg_advisory_xact_lock(hashtextextended('reports ' || \(change.report.reporter)::text, 0))
            """
        let rows = try run(["BEGIN", lock, put(change), dropOld, "COMMIT"])
        return rows[2].first?.int8(0) == 1
    }

    public func settle(_ report: Report) throws(StoreError) -> Bool {
        let sql: SQL = "WITH stored AS (\(update(report, "TRUE")) RETURNING id) SELECT count(*) FROM stored"
        return try run(["BEGIN", sql, dropOld, "COMMIT"])[1].first?.int8(0) == 1
    }

    private func put(_ change: ReportChange) -> SQL {
        let report = change.report
        let condition: SQL = """
            (NOT \(.bool(change.copies)) OR \(report.subject.message) IS NULL OR EXISTS (SELECT FROM copied))
            AND (NOT \(.bool(change.opens)) OR \(Self.openCount(report.reporter)) < \(Int64(RequestLimit.openReports)))
            """
        let event = hasHooks ? change.event : nil
        // The lock makes an erasure wait, which then finds the copy.
        return """
            WITH copied AS (
                SELECT FROM messages m WHERE m.id = \(report.subject.message) AND NOT \(unsafeSQL: Message.isDeleted())
                    AND m.content = \(.text(report.subject.content)) FOR SHARE
            ), stored AS (
                \(report.version == 1 ? insert(report, condition) : update(report, condition)) RETURNING id
            ), told AS (
                INSERT INTO hook_events (room_id, seq, name, body)
                SELECT id, \(event?.key.seq ?? 0), \(event?.name ?? ""), \(.bytes(event?.body)) FROM stored
                WHERE \(.bool(event != nil)) ON CONFLICT DO NOTHING
            )
            SELECT count(*) FROM stored
            """
    }

    private func insert(_ report: Report, _ condition: SQL) -> SQL {
        let subject = report.subject
        return """
            INSERT INTO reports (id, reporter_id, reported_id, room_id, message_id, content, file_name, change_seq,
                against_admin, reason, text, state, version, created_at, updated_at)
            SELECT \(report.id), \(report.reporter), \(subject.user), \(subject.room), \(subject.message),
                \(.text(subject.content)), \(.text(subject.fileName)), \(.int8(subject.changeSeq)),
                \(.bool(subject.isAdmin)), \(.int2(report.reason.rawValue)), \(report.text),
                \(.int2(report.state.rawValue)), 1, \(.time(report.createdAt)), \(.time(report.updatedAt))
            WHERE \(condition) ON CONFLICT DO NOTHING
            """
    }

    private func update(_ report: Report, _ condition: SQL) -> SQL {
        let subject = report.subject
        let (user, key) = Self.parts(report.handler)
        return """
            UPDATE reports SET content = \(.text(subject.content)), file_name = \(.text(subject.fileName)),
                change_seq = \(.int8(subject.changeSeq)), against_admin = \(.bool(subject.isAdmin)),
                reason = \(.int2(report.reason.rawValue)), text = \(report.text),
                state = \(.int2(report.state.rawValue)), note = \(report.note), handled_by = \(user),
                handled_key = \(.text(key)), handled_at = \(.time(report.handledAt)),
                version = \(.int4(Int32(clamping: report.version))), updated_at = \(.time(report.updatedAt))
            WHERE id = \(report.id) AND version = \(.int4(Int32(clamping: report.version - 1))) AND \(condition)
            """
    }

    private static func parts(_ handler: ReportHandler?) -> (user: UUID128?, key: String?) {
        switch handler {
        case .user(let user)?: (user, nil)
        case .host(let key)?: (nil, key)
        case nil: (nil, nil)
        }
    }

    /// Old reports that are removed at a time. It is more than one, so that their number shrinks when REPORT_DAYS does.
    private static let part: Int64 = 20

    private var dropOld: SQL {
        """
        DELETE FROM reports WHERE id IN (
            SELECT id FROM reports WHERE state >= 3
                AND updated_at < now() - make_interval(days => \(.int4(Int32(clamping: keepsFor.days))))
            ORDER BY updated_at LIMIT \(Self.part) FOR UPDATE SKIP LOCKED)
        """
    }

    // MARK: The queue

    public func reports(in room: UUID128, for user: UUID128, _ page: ReportPage) throws(StoreError) -> [ReportView]? {
        let rows = try read([
            PostgresRoomReader.membership(room, user),
            """
            SELECT \(unsafeSQL: Self.columns) FROM reports t
            WHERE t.room_id = \(room) AND t.state = \(.int2(page.state.rawValue)) AND t.id > \(page.after ?? .zero)
                AND t.reported_id <> \(user)
            ORDER BY t.id LIMIT \(Int64(page.limit))
            """,
        ])
        guard PostgresRoomReader.isAdmin(rows[0]) else { return nil }
        return rows[1].map { Self.view($0) }
    }

    public func report(_ id: UUID128, in room: UUID128, for user: UUID128) throws(StoreError) -> ReportView? {
        let rows = try read([
            PostgresRoomReader.membership(room, user),
            """
            SELECT \(unsafeSQL: Self.columns) FROM reports t
            WHERE t.id = \(id) AND t.room_id = \(room) AND t.reported_id <> \(user)
            """,
        ])
        guard PostgresRoomReader.isAdmin(rows[0]) else { return nil }
        return rows[1].first.map { Self.view($0) }
    }

    public func reports(_ page: ReportPage) throws(StoreError) -> [ReportView] {
        try read([
            """
            SELECT \(unsafeSQL: Self.columns) FROM reports t
            WHERE t.state = \(.int2(page.state.rawValue)) AND t.id > \(page.after ?? .zero)
            ORDER BY t.id LIMIT \(Int64(page.limit))
            """
        ])[0].map { ReportView(Self.report($0), for: .host) }
    }

    public func report(_ id: UUID128) throws(StoreError) -> ReportView? {
        try read(["SELECT \(unsafeSQL: Self.columns) FROM reports t WHERE t.id = \(id)"])[0].first
            .map { ReportView(Self.report($0), for: .host) }
    }

    // MARK: Rows

    private static let columns = """
        t.reported_id, \(externalID("t.reported_id")), t.room_id, t.message_id, t.content, t.file_name, t.change_seq,
        t.against_admin, t.id, t.reporter_id, \(externalID("t.reporter_id")), t.reason, t.text, t.state, t.note,
        t.handled_by, t.handled_key, t.handled_at, t.version, t.created_at, t.updated_at,
        t.against_admin OR \(manages("t.room_id", "t.reported_id"))
        """

    private static func externalID(_ user: String) -> String {
        "(SELECT u.external_id FROM users u WHERE u.id = \(user))"
    }

    private static func externalID(_ user: UUID128) -> SQL {
        "(SELECT u.external_id FROM users u WHERE u.id = \(user))"
    }

    private static func manages(_ room: String, _ user: String) -> String {
        """
        EXISTS (SELECT FROM members s WHERE s.room_id = \(room) AND s.user_id = \(user)
            AND s.role >= \(Role.admin.rawValue) AND \(Member.active("s")))
        """
    }

    private static func subject(_ row: PGRow, at first: Int) -> ReportSubject {
        ReportSubject(
            user: row.uuid(first), externalID: row.optionalText(first + 1), room: row.optionalUUID(first + 2),
            message: row.optionalUUID(first + 3), content: row.optionalText(first + 4),
            fileName: row.optionalText(first + 5), changeSeq: row.optionalInt8(first + 6),
            isAdmin: row.bool(first + 7))
    }

    private static func report(_ row: PGRow) -> Report {
        let handledAt = row.optionalTime(17)
        let host = row.optionalText(16).map { ReportHandler.host(key: $0) }
        return Report(
            id: row.uuid(8), subject: subject(row, at: 0), reporter: row.uuid(9),
            reporterExternalID: row.optionalText(10), reason: ReportReason(rawValue: row.int2(11)) ?? .other,
            text: row.text(12), state: ReportState(rawValue: row.int2(13)) ?? .open, note: row.text(14),
            handler: row.optionalUUID(15).map { .user($0) } ?? host, handledAt: handledAt, version: row.int4(18),
            createdAt: row.time(19), updatedAt: row.time(20))
    }

    private static func view(_ row: PGRow) -> ReportView {
        ReportView(report(row), for: .room(hidesReporter: row.bool(21)))
    }

    private func read(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.repeatable(statements) } catch { throw StoreError(error) }
    }

    private func run(_ statements: [SQL]) throws(StoreError) -> [PGRows] {
        do { return try connection.pipeline(statements) } catch { throw StoreError(error) }
    }
}
