import ChatCore
import Glibc
import TestSupport
import Testing

@testable import ChatAdapters

/// A room with a long past, and a user with many rooms: any page costs the same few blocks. HISTORY_MESSAGES sets how
/// long; with UPDATE_DOCS its plans and times are written to docs/history.md.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct LargeRoomTests {
    private static let messages = getenv("HISTORY_MESSAGES").flatMap { Int64(String(cString: $0)) } ?? 20_000
    private static let rooms: Int64 = 1000
    /// Blocks of 8 KiB that a page of 50 messages may touch: 50 rows and the ways to them.
    private static let maxBlocks = 400

    /// For ten rooms: 31 messages of each, the path through its index, its matches, and the shown messages.
    private static let maxBlocksOfTenRooms = 2000

    private let connection: PostgresConnection
    private let reader: PostgresRoomReader
    private let room = UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0001)
    private let user = UUID128(high: 0x0190_0000_0000_7000, low: 0x9000_0000_0000_0001)

    init() throws {
        let url = try TestDatabase().url
        connection = PostgresConnection(url: url, applicationName: "test", statementTimeout: .seconds(600))
        reader = PostgresRoomReader(connection)
    }

    @Test func everyPageOfALongHistoryIsAFewBlocks() throws {
        try fillRoom()
        let middle = Self.messages / 2
        let pages: [(String, HistoryPage)] = [
            ("the newest", .newest), ("before the middle", .before(middle)), ("before the first page", .before(51)),
            ("after the middle", .after(middle)), ("from the beginning", .after(0)),
            ("around the middle", .around(middle)),
            ("changed since the middle", .changedSince(middle)), ("changed since the beginning", .changedSince(0)),
            ("changed since all were sent", .changedSince(Self.messages)),
        ]
        var report = Report(
            title: "A room with \(Self.messages) messages, a tenth of them changed later; pages of 50")
        for (name, page) in pages {
            let statement = PostgresRoomReader.page(room, page, 50)
            let plan = try explain(statement)
            #expect(plan.blocks <= Self.maxBlocks, "\(name): \(plan.text)")
            #expect(!plan.text.contains("Seq Scan"), "\(name): \(plan.text)")
            #expect(try reader.history(of: room, for: user, page, limit: 50)?.count == 50, "\(name)")
            report.add(name, plan, milliseconds: try median { _ = try connection.query(statement) })
        }
        try addSearches(to: &report)
        try fillRooms()
        let list = PostgresRoomReader.list(user, nil, 100)
        let plan = try explain(list)
        // Each room is read once, and each room of the page once more with its newest message.
        #expect(plan.blocks <= Int(Self.rooms) * 8, "\(plan.text)")
        #expect(!plan.text.contains("Seq Scan on m"), "\(plan.text)")
        let found = try reader.rooms(of: user, before: nil, limit: Int(Self.rooms) + 1)
        #expect(found.count == Int(Self.rooms) + 1)
        report.add(
            "the first 100 of a user's \(Self.rooms) rooms, with newest message and unread count", plan,
            milliseconds: try median { _ = try connection.query(list) })
        let all = PostgresRoomReader.list(user, nil, Int(Self.rooms))
        report.add(
            "all \(Self.rooms) of them", try explain(all), milliseconds: try median { _ = try connection.query(all) })
        if getenv("UPDATE_DOCS") != nil { try report.write(to: "docs/history.md") }
    }

    private func addSearches(to report: inout Report) throws {
        for (name, text) in [
            ("search: a number that one message has", "\(Self.messages - 1)"),
            ("search: the beginning of \(Self.messages / 900) numbers", "777"),
            ("search: a word that every message has", "said"),
        ] {
            let statement = PostgresRoomReader.hits(try #require(SearchWords(text)), room, user, nil, 50)
            let plan = try explain(statement)
            // At most two segments are read for a page: their matches and their index entries.
            #expect(plan.blocks <= Self.maxBlocks + 2 * 4096, "\(name): \(plan.text)")
            report.add(name, plan, milliseconds: try median { _ = try connection.query(statement) })
        }
        try addSearchesOfTenRooms(to: &report)
        let with = try median(of: 5, insertMore)
        try connection.script("DROP INDEX messages_room_words")
        let without = try median(of: 5, insertMore)
        report.note(
            "A message costs \(Report.rounded(with / 10)) µs of PostgreSQL's time with the index of words and "
                + "\(Report.rounded(without / 10)) without it (batches of 10,000 rows, five of each).")
    }

    /// Another user's ten rooms of 100 messages with the same words: the large room must not affect them.
    private func addSearchesOfTenRooms(to report: inout Report) throws {
        let other = UUID128(high: 0x0190_0000_0000_7000, low: 0x9000_0000_0000_0002)
        try connection.script(
            """
            INSERT INTO rooms (id, type, owner_id, member_count, last_seq, message_count, last_message_seq,
                last_activity_at, created_at, created_by)
            SELECT ('01900000-0000-7000-b000-' || lpad(to_hex(i), 12, '0'))::uuid, 2, '\(other)', 1, 100, 100, 100,
                now(), now(), '\(other)'
            FROM generate_series(1, 10) i;
            INSERT INTO members (room_id, user_id, role, joined_at, joined_seq)
            SELECT id, '\(other)', 3, now(), 0 FROM rooms WHERE owner_id = '\(other)';
            INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                created_at)
            SELECT gen_random_uuid(), r.id, i, i, '\(other)',
                'message number ' || i || ' of a room in which much has been said', 1, 1, 1, now()
            FROM rooms r, generate_series(1, 100) i WHERE r.owner_id = '\(other)';
            ANALYZE;
            """)
        for (name, text, found) in [
            ("search of ten rooms of 100: a number that each of them has", "77", 10),
            ("search of ten rooms of 100: the beginning of a word of every message", "sai", 50),
            ("search of ten rooms of 100: a word that only the large room has", "\(Self.messages - 1)", 0),
        ] {
            let statement = PostgresRoomReader.hits(try #require(SearchWords(text)), nil, other, nil, 50)
            // One warm-up run: a new connection reads the catalogue.
            #expect(try connection.query(statement).count == found, "\(name)")
            let plan = try explain(statement)
            #expect(plan.blocks <= Self.maxBlocksOfTenRooms, "\(name): \(plan.text)")
            report.add(name, plan, milliseconds: try median { _ = try connection.query(statement) })
        }
    }

    /// Ten thousand messages in one statement, rolled back afterwards.
    private func insertMore() throws {
        try connection.script(
            """
            BEGIN;
            INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                created_at)
            SELECT gen_random_uuid(), '\(room)', i, i, '\(user)',
                'message number ' || i || ' of a room in which much has been said', 1, 1, 1, now()
            FROM generate_series(\(Self.messages * 2), \(Self.messages * 2 + 9_999)) i;
            ROLLBACK;
            """)
    }

    private func fillRoom() throws {
        let count = Self.messages
        try connection.script(
            """
            INSERT INTO rooms (id, type, owner_id, member_count, last_seq, message_count, last_message_seq,
                last_activity_at, created_at, created_by)
            VALUES ('\(room)', 2, '\(user)', 1, \(count + count / 10), \(count), \(count), now(), now(), '\(user)');
            INSERT INTO members (room_id, user_id, role, joined_at, joined_seq) VALUES ('\(room)', '\(user)', 3, now(), 0);
            INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                created_at)
            SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, '\(room)', i,
                CASE WHEN i % 10 = 0 THEN \(count) + i / 10 ELSE i END, '\(user)',
                'message number ' || i || ' of a room in which much has been said', 1, 1, 1, now()
            FROM generate_series(1, \(count)) i;
            ANALYZE;
            """)
    }

    /// Rooms with ten messages each, all of one user.
    private func fillRooms() throws {
        try connection.script(
            """
            INSERT INTO rooms (id, type, owner_id, member_count, last_seq, message_count, last_message_seq,
                last_activity_at, created_at, created_by)
            SELECT ('01900000-0000-7000-a000-' || lpad(to_hex(i), 12, '0'))::uuid, 2, '\(user)', 1, 10, 10, 10,
                now() - i * interval '1 second', now(), '\(user)'
            FROM generate_series(1, \(Self.rooms)) i;
            INSERT INTO members (room_id, user_id, role, joined_at, joined_seq)
            SELECT id, '\(user)', 3, now(), 0 FROM rooms WHERE id <> '\(room)' AND owner_id = '\(user)';
            INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                created_at)
            SELECT gen_random_uuid(), r.id, i, i, '\(user)', 'x', 1, 1, 1, now()
            FROM rooms r, generate_series(1, 10) i WHERE r.id <> '\(room)' AND r.owner_id = '\(user)';
            ANALYZE;
            """)
    }

    private func explain(_ sql: SQL) throws -> Plan {
        Plan(lines: try connection.query(sql.explained).map { $0.text(0) })
    }

    /// Milliseconds.
    private func median(of rounds: Int = 21, _ run: () throws -> Void) throws -> Double {
        var times: [Int64] = []
        for _ in 0..<rounds {
            let start = monotonicNow()
            try run()
            times.append(monotonicNow() - start)
        }
        return Double(times.sorted()[rounds / 2]) / 1_000_000
    }

    private func monotonicNow() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// The output of EXPLAIN.
private struct Plan {
    let text: String
    /// Blocks of tables and indexes that were looked at.
    let blocks: Int

    init(lines: [String]) {
        let planning = lines.firstIndex { $0.hasPrefix("Planning") } ?? lines.count
        text = lines[..<planning].joined(separator: "\n")
        // The first line of buffers is the total.
        let buffers = lines.first { $0.contains("Buffers: shared") } ?? ""
        blocks = buffers.split(whereSeparator: { $0 == " " }).compactMap { word in
            word.hasPrefix("hit=") || word.hasPrefix("read=") ? Int(word.split(separator: "=")[1]) : nil
        }.reduce(0, +)
    }
}

private struct Report {
    let title: String
    private var rows = ""
    private var plans = ""
    private var notes = ""

    init(title: String) { self.title = title }

    mutating func add(_ name: String, _ plan: Plan, milliseconds: Double) {
        rows += "| \(name) | \(Self.rounded(milliseconds)) | \(plan.blocks) |\n"
        plans += "\n## \(name)\n\n```\n\(plan.text)\n```\n"
    }

    mutating func note(_ text: String) { notes += "\n\(text)\n" }

    func write(to path: String) throws {
        let text = """
            # Pages of a long history

            Made by `HISTORY_MESSAGES=1000000 UPDATE_DOCS=1 make test FILTER=LargeRoomTests`: the very statements of the
            service, on the test's PostgreSQL, everything in memory. Milliseconds are the median of 21, client and
            server on one busy machine; blocks are of 8 KiB. `make test` checks the blocks with 20,000 messages.

            \(title):

            | page | ms | blocks |
            |---|---|---|
            \(rows)\(notes)\(plans)
            """
        let file = try #require(fopen(path, "w"))
        fputs(text, file)
        fclose(file)
    }

    static func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
}
