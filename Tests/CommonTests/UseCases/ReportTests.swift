import ChatAdapters
import ChatCore
import TestSupport
import Testing

/// The rules, without a store.
@Suite struct ReportContentTests {
    private let ann = UUID128(high: 1, low: 1)
    private let bob = UUID128(high: 1, low: 2)
    private var ground: ReportGround

    init() {
        ground = ReportGround(
            subject: ReportSubject(
                user: bob, externalID: "b", room: UUID128(high: 2, low: 1), message: UUID128(high: 3, low: 1),
                content: "bad", changeSeq: 7), reporterExternalID: "a")
    }

    private func change(
        _ ground: ReportGround, _ text: String = "t", _ reason: ReportReason = .spam
    ) throws(Refusal) -> ReportChange? {
        try ReportContent.change(
            ground, by: ann, reason: reason, text: text, id: UUID128(high: 9, low: 1), at: 1_000_000)
    }

    private func refusal(_ ground: ReportGround) -> ErrorCode? {
        do throws(Refusal) { _ = try change(ground) } catch { return error.code }
        return nil
    }

    @Test func aReportCopiesTheMessageAndTellsTheHost() throws {
        let made = try #require(try change(ground))
        #expect(made.report.subject == ground.subject && made.report.state == .open && made.copies)
        let event = try JSONReader.decode(try #require(made.event).body)
        #expect(event["Event"] == .string("report.created") && event["ID"] == .string("\(made.report.id)/1"))
        #expect(event["RoomID"]?.string == "\(UUID128(high: 2, low: 1))" && event["Seq"]?.isNull == true)
        #expect(event["Data"]?["Content"] == .string("bad") && event["Data"]?["ReporterID"]?.string == "\(ann)")
        #expect(event["Data"]?["ReporterExternalID"] == .string("a"))
    }

    @Test func someThingsCannotBeReported() {
        var mine = ground
        mine.subject.user = ann
        #expect(refusal(mine) == .conflict)
        var system = ground
        system.isSystem = true
        #expect(refusal(system) == .conflict)
        var deleted = ground
        (deleted.isDeleted, deleted.subject.content) = (true, "")
        #expect(refusal(deleted) == .gone)
        var many = ground
        many.openCount = RequestLimit.openReports
        #expect(refusal(many) == .conflict)
        many.openCount -= 1
        #expect(refusal(many) == nil)
    }

    @Test mutating func anOpenReportKeepsItsCopy() throws {
        let first = try #require(try change(ground)).report
        (ground.earlier, ground.openCount) = (first, RequestLimit.openReports)
        ground.subject.content = "nice"
        #expect(try change(ground) == nil)
        let again = try #require(try change(ground, "more", .abuse))
        #expect(again.report.subject.content == "bad" && again.event == nil && !again.copies)
        #expect(again.report.version == 2 && again.report.text == "more" && again.report.reason == .abuse)
        // A retry after the message was deleted.
        (ground.isDeleted, ground.subject.content) = (true, "")
        #expect(try change(ground) == nil)
        #expect(try change(ground, "more")?.report.subject.content == "bad")
        // As bytes: the same letter in two spellings differs.
        ground.earlier?.text = "\u{e9}"
        #expect(try change(ground, "e\u{301}") != nil)
    }

    @Test mutating func aClosedReportIsOpenedByNewsOnly() throws {
        var closed = try #require(try change(ground)).report
        closed.state = .dismissed
        ground.earlier = closed
        #expect(try change(ground) == nil)
        ground.subject.content = "worse"
        let again = try #require(try change(ground))
        #expect(again.report.state == .open && again.report.subject.content == "worse" && again.copies)
        #expect(again.event?.name == "report.reopened" && again.event?.key.seq == 2)
        ground.openCount = RequestLimit.openReports
        #expect(refusal(ground) == .conflict)
    }

    @Test mutating func theReporterOfOneWhoManagedTheRoomStaysHidden() throws {
        ground.subject.isAdmin = true
        let first = try #require(try change(ground)).report
        ground.earlier = first
        ground.subject.isAdmin = false
        #expect(try change(ground, "more")?.report.subject.isAdmin == true)
    }

    @Test func theStepsOfAModerator() throws {
        let report = try #require(try change(ground)).report
        func take(
            _ state: ReportState, _ expected: ReportState, of report: Report, version: Int? = nil
        ) throws(Refusal) -> Report {
            let step = ReportStep(state: state, note: nil, expected: expected, version: version)
            return try HandleReport.take(step, of: report, by: .host(key: "k"), at: 5)
        }
        let reviewing = try take(.reviewing, .open, of: report)
        #expect(reviewing.version == 2 && reviewing.handledAt == 5 && reviewing.handler == .host(key: "k"))
        let resolved = try take(.resolved, .reviewing, of: reviewing, version: 2)
        #expect(try take(.open, .resolved, of: resolved).state == .open)
        #expect(throws: Refusal.self) { try take(.resolved, .open, of: reviewing) }
        #expect(throws: Refusal.self) { try take(.resolved, .reviewing, of: reviewing, version: 1) }
        #expect(throws: Refusal.self) { try take(.dismissed, .resolved, of: resolved) }
        for state in ReportState.allCases { #expect(!state.mayBecome(state)) }
    }
}

/// On a real database.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct StoredReportTests {
    private let database: TestDatabase
    private let rooms: PostgresRoomBatchStore
    private let reports: PostgresReports
    private let host: PostgresHostStore
    private var scene = Scene()
    private let admin = UUID128(high: 5, low: 1)
    private let reporter = UUID128(high: 5, low: 2)
    private let room: UUID128
    private let message: UUID128
    private let admins: UUID128

    init() throws {
        database = try TestDatabase()
        rooms = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        reports = PostgresReports(database.connection(), keepsFor: .seconds(86_400), hasHooks: true)
        host = PostgresHostStore(database.connection())
        (room, message, admins) = (scene.id(), scene.id(), scene.id())
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member, admin, reporter])
        try run(scene.owner, .createRoom(draft), id: room)
        try run(scene.owner, .setRole(user: admin, role: .admin))
        try run(scene.member, .send(MessageDraft(content: "bad"), receiver: nil), id: message)
        try run(admin, .send(MessageDraft(content: "an admin's"), receiver: nil), id: admins)
    }

    private mutating func run(_ actor: UUID128, _ action: Command.Action, id: UUID128? = nil) throws {
        let done = try rooms.execute([scene.command(room, actor, action, id: id)], now: 1_000_000)
        #expect(done.outcomes[0].refusal == nil, "\(action)")
    }

    /// - Returns: the stored report; nil when the ground changed meanwhile.
    @discardableResult
    private func report(
        _ ground: ReportGround?, by user: UUID128? = nil, text: String = "t", at now: Int64 = 1_000_000
    ) throws -> Report? {
        let change = try ReportContent.change(
            try #require(ground), by: user ?? reporter, reason: .abuse, text: text,
            id: UUID128.v7(at: systemClock()), at: now)
        guard let change else { return ground?.earlier }
        return try reports.put(change) ? change.report : nil
    }

    private func ground(_ id: UUID128? = nil, _ user: UUID128? = nil) throws -> ReportGround? {
        try reports.ground(ofMessage: id ?? message, for: user ?? reporter)
    }

    private func queue(_ user: UUID128, _ state: ReportState = .open) throws -> [ReportView]? {
        try reports.reports(in: room, for: user, ReportPage(state: state, limit: 100))
    }

    private func events() throws -> Int64 {
        try database.connection().query("SELECT count(*) FROM hook_events").first!.int8(0)
    }

    @Test mutating func aReportIsStoredOnceWithItsEvent() throws {
        let first = try #require(try report(try ground()))
        #expect(try report(try ground())?.id == first.id)
        #expect(try report(try ground(), text: "u")?.version == 2)
        #expect(try events() == 1)
        let all = try reports.reports(ReportPage(state: .open, limit: 9))
        #expect(all.map(\.report.text) == ["u"] && all[0].report.subject.content == "bad")
        #expect(try queue(scene.owner)?.map(\.report.id) == [first.id])
        #expect(try queue(scene.member) == nil && queue(scene.stranger) == nil)
    }

    @Test mutating func strangersCannotReportAndTheRemovedCannotGoOn() throws {
        #expect(try ground(nil, scene.stranger) == nil && ground(scene.id()) == nil)
        #expect(try reports.ground(ofUser: scene.stranger, for: reporter) == nil)
        #expect(try reports.ground(ofUser: scene.member, for: reporter) != nil)
        try report(try ground())
        try run(scene.owner, .removeMember(reporter))
        #expect(try ground() == nil && reports.ground(ofUser: scene.member, for: reporter) == nil)
        #expect(try queue(scene.owner)?.count == 1)
    }

    @Test mutating func oneOfTwoModeratorsIsTooLate() throws {
        let stored = try #require(try report(try ground()))
        let step = ReportStep(state: .reviewing, note: "mine", expected: .open)
        let one = try HandleReport.take(step, of: stored, by: .user(scene.owner), at: 5)
        let other = try HandleReport.take(step, of: stored, by: .user(admin), at: 6)
        #expect(try reports.settle(one))
        #expect(try !reports.settle(other))
        let view = try #require(try reports.report(stored.id))
        #expect(view.report.handler == .user(scene.owner) && view.report.note == "mine")
        // The reporter's own change, made from what was read before.
        let late = ReportChange(report: other, copies: false, event: nil)
        #expect(try !reports.put(late))
    }

    @Test mutating func aMessageThatChangesMeanwhileIsReadAgain() throws {
        let before = try ground()
        try run(scene.member, .edit(message: message, content: "nice"))
        #expect(try report(before) == nil && events() == 0)
        try run(scene.member, .delete(message: message))
        #expect(throws: Refusal.self) { try report(try ground()) }
    }

    @Test mutating func aCopyOutlivesTheMessageAndGoesWithItForGood() throws {
        try report(try ground())
        try run(scene.member, .delete(message: message))
        #expect(try queue(scene.owner)?.first?.report.subject.content == "bad")
        try run(.zero, .purge(before: 2_000_000))
        #expect(try queue(scene.owner)?.isEmpty == true)
    }

    @Test mutating func reportersOfThoseWhoManageTheRoomAreHidden() throws {
        try report(try ground())
        try report(try ground(admins))
        // An admin neither sees nor changes reports about them.
        #expect(try queue(admin)?.map(\.reader) == [.room(hidesReporter: false)])
        #expect(try queue(scene.owner)?.map(\.reader) == [.room(hidesReporter: false), .room(hidesReporter: true)])
        let about = try #require(try queue(scene.owner)?.last)
        #expect(try reports.report(about.report.id, in: room, for: admin) == nil)
        var writer = JSONWriter()
        about.write(to: &writer)
        let text = String(decoding: writer.take(), as: UTF8.self)
        #expect(!text.contains("\(reporter)"))
        // A MEMBER who manages the room now, and an ADMIN who did so.
        try run(scene.owner, .setRole(user: scene.member, role: .admin))
        try run(scene.owner, .setRole(user: admin, role: .member))
        #expect(try queue(scene.owner)?.allSatisfy { $0.reader == .room(hidesReporter: true) } == true)
    }

    @Test mutating func anErasureEmptiesTextsAndCopies() throws {
        try report(try ground(), text: "about bob")
        try report(try reports.ground(ofUser: scene.member, for: reporter), text: "about the user")
        try host.forget(scene.member)
        let all = try reports.reports(ReportPage(state: .open, limit: 9))
        #expect(all.allSatisfy { $0.report.subject.content == nil && !$0.report.text.isEmpty })
        try host.forget(reporter)
        #expect(try reports.reports(ReportPage(state: .open, limit: 9)).map(\.report.text) == ["", ""])
    }

    @Test mutating func theLimitOfOpenReportsIsExact() throws {
        for _ in 0..<RequestLimit.openReports {
            let id = scene.id()
            try run(scene.member, .send(MessageDraft(content: "x"), receiver: nil), id: id)
            try report(try ground(id))
        }
        let full = try #require(try ground())
        #expect(full.openCount == RequestLimit.openReports)
        #expect(throws: Refusal.self) { try report(full) }
        // Also when the count was read before another request used up the limit.
        var stale = full
        stale.openCount = 0
        #expect(try report(stale) == nil)
    }

    @Test mutating func oldClosedReportsAreRemoved() throws {
        let now = systemClock()
        let closed = try #require(try report(try ground(), at: now - 3 * 86_400_000))
        let step = ReportStep(state: .dismissed, expected: .open)
        #expect(try reports.settle(HandleReport.take(step, of: closed, by: .host(key: "k"), at: now - 2 * 86_400_000)))
        let open = try #require(try report(try ground(admins), at: now - 3 * 86_400_000))
        #expect(try reports.report(closed.id) == nil && reports.report(open.id) != nil)
    }

    @Test mutating func aPageOfManyIsReadByItsIndex() throws {
        let connection = database.connection()
        _ = try connection.query(
            """
            INSERT INTO reports (id, reporter_id, reported_id, room_id, against_admin, reason, text, state, version,
                created_at, updated_at)
            SELECT gen_random_uuid(), gen_random_uuid(), \(scene.member), \(room), false, 1, 'x', 1 + n % 4, 1, now(), now()
            FROM generate_series(1, 10000) n
            """)
        _ = try connection.query("ANALYZE reports")
        var (after, seen) = (nil as UUID128?, 0)
        repeat {
            let page = try #require(
                try reports.reports(in: room, for: scene.owner, ReportPage(state: .open, after: after, limit: 100)))
            (after, seen) = (page.last?.report.id, seen + page.count)
        } while after != nil
        #expect(seen == 2500)
        let plan = try connection.query(
            """
            EXPLAIN SELECT id FROM reports WHERE state = 1 AND id > \(UUID128.zero) ORDER BY id LIMIT 100
            """
        ).map { $0.text(0) }.joined(separator: "\n")
        #expect(plan.contains("reports_in_state") && !plan.contains("Sort"))
    }
}
