import ChatCore
import TestSupport
import Testing

@testable import ChatAdapters

/// Search results, their order and pages; and the cost of one search.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct SearchTests {
    private let database: TestDatabase
    private let connection: PostgresConnection
    private let reader: PostgresRoomReader
    private let me = UUID128(high: 0x0190_0000_0000_7000, low: 0x9000_0000_0000_0001)

    init() throws {
        database = try TestDatabase()
        connection = PostgresConnection(url: database.url, applicationName: "test", statementTimeout: .seconds(60))
        reader = PostgresRoomReader(connection, searchTimeout: .seconds(20))
    }

    private struct Row {
        var room: UUID128
        var seq: Int64
        /// Unix milliseconds.
        var at: Int64
        var content: String
    }

    private func room(_ number: UInt64) -> UUID128 {
        UUID128(high: 0x0190_0000_0000_7000, low: 0xa000_0000_0000_0000 + number)
    }

    private func add(_ rows: [Row], joined: String = "NULL") throws {
        for (id, rows) in Dictionary(grouping: rows, by: \.room) {
            let (last, newest) = (rows.map(\.seq).max()!, rows.map(\.at).max()!)
            _ = try connection.query(
                """
                INSERT INTO rooms (id, type, owner_id, member_count, last_seq, message_count, last_message_seq,
                    last_activity_at, created_at, created_by)
                VALUES (\(id), 2, \(me), 1, \(last), \(last), \(last), \(.time(newest)), now(), \(me))
                """)
            _ = try connection.query(
                """
                INSERT INTO members (room_id, user_id, role, joined_at, joined_seq, left_at)
                VALUES (\(id), \(me), 3, now(), 0, \(unsafeSQL: joined))
                """)
            _ = try connection.query(
                """
                INSERT INTO messages (id, room_id, seq, change_seq, sender_id, content, content_type, message_type, status,
                    created_at)
                SELECT gen_random_uuid(), \(id), seq, seq, \(me), content, 1, 1, 1, at
                FROM unnest(\(.int8s(rows.map(\.seq))), \(.texts(rows.map(\.content))), \(.times(rows.map(\.at))))
                    AS t (seq, content, at)
                """)
        }
    }

    private func found(_ text: String, in room: UUID128? = nil, limit: Int = 100) throws -> [SearchHit] {
        let words = try #require(SearchWords(text))
        return try #require(try reader.search(words, in: room, for: me, after: nil, limit: limit))
    }

    /// Every hit, read in pages of `limit` with the cursor's text form.
    private func paged(_ text: String, in room: UUID128?, limit: Int) throws -> [SearchCursor] {
        let words = try #require(SearchWords(text))
        var all: [SearchCursor] = []
        while true {
            let after = try all.last.map { try #require(SearchCursor(text: $0.text)) }
            let page = try #require(try reader.search(words, in: room, for: me, after: after, limit: limit))
            all += page.map(\.place)
            guard page.count == limit else { return all }
        }
    }

    /// Rooms of all sizes; some times go backwards (a file is as old as the start of its upload) and many are equal.
    @Test func pagesAreWhatReadingEverythingFinds() throws {
        var random = Xorshift(state: 88)
        var rows: [Row] = []
        let vocabulary = (0..<40).map { "w\($0)" } + ["common", "commons", "rare"]
        for (number, size) in [1, 5, 31, 32, 33, 40, 60, 100, 400, 4_095, 4_097, 9_000].enumerated() {
            var clock: Int64 = 1_790_000_000_000 + Int64(number) * 10
            for seq in 1...Int64(size) where seq == size || random.next(10) > 0 {
                clock += Int64(random.next(3))
                let at = random.next(50) == 0 ? clock - Int64(random.next(5_000)) : clock
                let words = (0..<1 + random.next(4)).map { _ in
                    let word = vocabulary[Int(random.next(vocabulary.count))]
                    return word == "rare" && random.next(20) > 0 ? "w0" : word
                }
                rows.append(Row(room: room(UInt64(number)), seq: seq, at: at, content: words.joined(separator: " ")))
            }
        }
        try add(rows)
        // Rooms of others, and rooms that the user has left, are not searched.
        try add([Row(room: room(77), seq: 1, at: 1_790_000_000_000, content: "rare common w1")], joined: "now()")
        for (query, only) in [
            ("rare", nil), ("w7", nil), ("common rare", nil), ("w39 w3", nil), ("nothing", nil), ("w2", UInt64(11)),
            ("common w5", 11), ("commons", 9), ("w1-w2", nil),
        ] as [(String, UInt64?)] {
            let only = only.map { room($0) }
            let expected = everything(rows.filter { only == nil || $0.room == only }, query)
            if query != "nothing" { #expect(!expected.isEmpty, "\(query)") }
            for limit in [3, 50] {
                // Pages of three only when there are few.
                guard limit == 50 || expected.count < 200 else { continue }
                #expect(try paged(query, in: only, limit: limit) == expected, "\(query), pages of \(limit)")
            }
        }
    }

    /// The same result by reading all messages.
    private func everything(_ rows: [Row], _ query: String) -> [SearchCursor] {
        let phrase = query.split(separator: "-").map(String.init)
        let words = query.split(separator: " ").map(String.init)
        func matches(_ content: String) -> Bool {
            let tokens = content.split(separator: " ").map(String.init)
            guard phrase.count == 1 else {
                return zip(tokens, tokens.dropFirst()).contains { $0 == phrase[0] && $1.starts(with: phrase[1]) }
            }
            return words.dropLast().allSatisfy(tokens.contains) && tokens.contains { $0.starts(with: words.last!) }
        }
        var hits: [SearchCursor] = []
        for (id, rows) in Dictionary(grouping: rows, by: \.room) {
            var at = Int64.max
            for row in rows.sorted(by: { $0.seq > $1.seq }) where matches(row.content) {
                at = min(at, row.at * 1000)
                hits.append(SearchCursor(at: at, room: id, seq: row.seq))
            }
        }
        return hits.sorted { ($0.at, $0.room.low, $0.seq) > ($1.at, $1.room.low, $1.seq) }
    }

    @Test func oneSpellingFindsTheOther() throws {
        let texts: [(content: String, found: [String], not: [String])] = [
            ("M\u{fc}ller trinkt", ["Mu\u{308}ller", "muller", "MÜLLER"], ["moller"]),
            ("Mu\u{308}ller isst", ["M\u{fc}ller"], []),
            ("die Straße in Łódź", ["strasse", "STRASSE", "lodz", "Łódź"], []),
            ("ΣΊΣΥΦΟΣ rollt", ["σίσυφος", "σισυφοσ"], []),
            ("Ｆｕｌｌ ｗｉｄｔｈ ﬁle", ["full width", "file"], []),
            ("Ёлка и йод", ["елка", "йод"], ["иод"]),
            ("我家在上海东边", ["上海", "我家", "东边", "边", "上海东", "我家在上海东边"], ["海上", "上东", "家上"]),
            ("カラオケが好き abc上海def", ["ラオ", "好き", "abc上海", "上海def", "海d"], ["bc上"]),
            ("서울에서만나요", ["에서", "만나"], ["나만"]),
            (
                "mail to a.b@example.com now", ["example", "com", "example.com", "a.b@example.com", "b@exam"],
                ["example.net"]
            ),
            ("report_2026-final.pdf", ["final", "2026", "report_2026", "final.pd", "pdf"], ["final.report"]),
            ("https://host.example/path/to?x=1", ["host.example", "path", "to?x"], ["path/from"]),
            ("a <everything> b &amp; it's", ["everything", "amp", "it's"], []),
            ("so\u{ad}ft hy\u{200b}phen", ["soft", "hyphen"], []),
        ]
        // Before the index's first Seq and after it.
        for (number, first) in [(1, Int64(1)), (2, 100)] {
            try add(
                texts.enumerated().map { index, text in
                    Row(
                        room: room(UInt64(number)), seq: first + Int64(index), at: 1_790_000_000_000 + Int64(index),
                        content: text.content)
                })
            for (index, text) in texts.enumerated() {
                for query in text.found {
                    let hits = try found(query, in: room(UInt64(number)))
                    let hit = hits.first { $0.message.seq == first + Int64(index) }
                    #expect(hit != nil, "\(query) in \(text.content)")
                    #expect(hit?.marks.isEmpty == false, "\(query) in \(text.content)")
                    let length = text.content.unicodeScalars.count
                    #expect(hit?.marks.allSatisfy { $0.lowerBound >= 0 && $0.upperBound <= length } == true)
                }
                for query in text.not {
                    let hits = try found(query, in: room(UInt64(number)))
                    #expect(!hits.contains { $0.message.seq == first + Int64(index) }, "\(query) in \(text.content)")
                }
            }
        }
        #expect(try found("海", in: room(1)).map(\.marks).contains([4..<5]))
        #expect(try found("strasse", in: room(1)).first?.marks == [4..<10])
        #expect(try found("muller isst", in: room(1)).first?.marks == [0..<7, 8..<12])
        for harmless in ["'", "\\", "a & | !", "👍", "<->:*", "''':*", "%_", "\u{1}\u{2}", "ﷺﷺﷺ", "."] {
            _ = try found(harmless)
        }
    }

    /// The index must accept every message: its writer would retry forever.
    @Test func everyTextCanBeStored() throws {
        let han = String(String.UnicodeScalarView((0..<5_461).map { Unicode.Scalar(0x4e00 + $0)! }))
        let texts = [
            String(repeating: "x", count: 16_384), String(repeating: "é", count: 8_192), han,
            String(repeating: "\u{fdfa}", count: 5_461), String(repeating: "㍿", count: 5_461),
            String(repeating: "\u{301}", count: 8_192),
            (0..<4_000).map { String($0, radix: 36) }.joined(separator: " "), String(repeating: "ﬃ", count: 5_461), "",
            String(repeating: "a-", count: 8_192), String(repeating: "\u{1}", count: 100),
            String(repeating: "y", count: 500),
        ]
        try add(
            texts.enumerated().map { Row(room: room(1), seq: 4_090 + Int64($0), at: 1_790_000_000_000, content: $1) })
        #expect(try found(String(repeating: "y", count: 210)).count == 1)
        #expect(try found(String(repeating: "y", count: 150)).count == 1)
        #expect(try found("一丁").count == 1)
        // A search without hits ends too.
        for letter in ["x", "㍿", "\u{fdfa}", "é", "\u{301}", "ﬃ"] {
            _ = try found(String(repeating: letter, count: 256))
        }
    }

    /// A run of punctuation is replaced at once for the index, and character by character for the marks.
    @Test func theWordsOfTheIndexAreThoseOfThePlainText() throws {
        var random = Xorshift(state: 7)
        let letters = Array("aB3 .,-_@/:'\"\u{1}\u{7f}~\t\n  é我ﬁ").map(String.init)
        let texts = (0..<2_000).map { _ in
            (0..<random.next(40)).map { _ in letters[random.next(letters.count)] }.joined()
        }
        let different = try connection.query(
            """
            SELECT content FROM unnest(\(.texts(texts))) t (content) WHERE chat_lexemes(content)
                IS DISTINCT FROM to_tsvector(chat_language(), chat_spaced(chat_plain(content)))
            """)
        #expect(different.count == 0)
    }

    /// Most texts are not parsed for the index. Each word of a random text is in it as the parser would find it: also
    /// the numbers that it cuts, as 5e3f.
    @Test func theWordsOfATextThatIsNotParsedAreThoseOfTheParser() throws {
        var random = Xorshift(state: 9)
        let letters = Array("aBeE03579 .,-_@/:+'\"\\%\u{1}\u{7f}~\t\n é").map(String.init)
        let texts = (0..<4_000).map { _ in
            (0..<random.next(random.next(220) + 1)).map { _ in letters[random.next(letters.count)] }.joined()
        }
        let different = try connection.query(
            """
            SELECT content FROM unnest(\(.texts(texts + [String(repeating: "x", count: 300)]))) t (content)
            WHERE chat_room_words(\(me), 40, content) IS DISTINCT FROM array_to_tsvector((
                SELECT coalesce(array_agg(chat_room_key(\(me), 0) || left(word, 200)), ARRAY[chat_room_key(\(me), 0)])
                FROM unnest(tsvector_to_array(chat_lexemes(content))) word))
            """)
        #expect(different.count == 0)
    }

    /// pg_restore evaluates the index's expression so.
    @Test func theWordsOfTheIndexNeedNoSearchPath() throws {
        let schema = try #require(try connection.query("SELECT current_schema()::text").first?.text(0))
        try connection.script("SET search_path = ''")
        let found = try connection.query(
            "SELECT \(unsafeSQL: schema).chat_room_words(\(me), 40, 'one two')::text LIKE '%:one%:two%'")
        #expect(found.first?.bool(0) == true)
    }

    @Test func aUserHasOneSearchAtATimeAndALimitedOne() throws {
        try add([Row(room: room(1), seq: 1, at: 1_790_000_000_000, content: "bread")])
        let words = try #require(SearchWords("bread"))
        let holder = database.connection()
        _ = try holder.query("BEGIN")
        _ = try holder.query("SELECT pg_advisory_xact_lock(7224, hashtext(\("\(me)")))")
        let running = #expect(throws: StoreError.self) {
            try reader.search(words, in: nil, for: me, after: nil, limit: 9)
        }
        #expect(running?.trouble == .running)
        #expect(try reader.search(words, in: nil, for: UUID128(high: 1, low: 1), after: nil, limit: 9)?.isEmpty == true)
        _ = try holder.query("ROLLBACK")
        #expect(try found("bread").count == 1)
        _ = try holder.query("BEGIN")
        _ = try holder.query("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        let hasty = PostgresRoomReader(connection, searchTimeout: .milliseconds(100))
        let slow = #expect(throws: StoreError.self) { try hasty.search(words, in: nil, for: me, after: nil, limit: 9) }
        #expect(slow?.trouble == .tooSlow)
        _ = try holder.query("ROLLBACK")
        #expect(try found("bread").count == 1)
        #expect(try connection.query("SHOW statement_timeout").first?.text(0) == "1min")
    }

    @Test func anotherLanguageMakesTheIndexAgainAlsoAfterATryThatWasCutOff() throws {
        try add((1...60).map { Row(room: room(1), seq: $0, at: 1_790_000_000_000, content: "many loaves are eaten") })
        #expect(try found("eating").isEmpty)
        let language = PostgresSearchLanguage(database.connection())
        #expect(try language.use("english"))
        // On the connection that was open before, also for rows that it stores.
        #expect(try found("eating").count == 60)
        try add([Row(room: room(2), seq: 50, at: 1_790_000_000_000, content: "they were eating")])
        #expect(try found("eats", in: room(2)).count == 1)
        #expect(try !language.use("english"))
        try connection.script("COMMENT ON INDEX messages_room_words IS 'to be made again'")
        #expect(try language.use("english"))
        #expect(try !language.use("english"))
        #expect(throws: MigrationError.self) { try language.use("klingon") }
    }

    /// The state that pg_restore leaves of a dump that was made before migration 0022.
    @Test func aRestoredDatabaseWithoutTheIndexGetsIt() throws {
        func definition() throws -> String? {
            try connection.query("SELECT pg_get_indexdef(to_regclass('messages_room_words'))").first?.optionalText(0)
        }
        let before = try #require(try definition())
        _ = try connection.query("DROP INDEX messages_room_words")
        _ = try connection.query("DELETE FROM schema_migrations WHERE name ~ 'words_(at|after)_a_restore'")
        #expect(try database.migrations().up().count == 2)
        #expect(try definition() == before)
    }

    @Test func anIndexThatIsMadeOutsideOfATransactionMayBeMadeTwice() throws {
        let name = try #require(
            try database.migrations().status().map(\.name).first { $0.contains("search_by_room_index") })
        _ = try connection.query("DELETE FROM schema_migrations WHERE name = \(name)")
        // The remains of an interrupted run.
        _ = try connection.query(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'messages_room_words'::regclass")
        #expect(try database.migrations().up() == [name])
        let valid = try connection.query(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'messages_room_words'::regclass")
        #expect(valid.first?.bool(0) == true)
        #expect(PostgresMigrations.statements(of: "-- x\nA\n  B;\n-- y;\nC;\n") == ["A\n  B;\n", "C;\n"])
    }
}

/// The same numbers every time.
private struct Xorshift {
    var state: UInt64

    mutating func next(_ limit: Int) -> Int {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return Int(state % UInt64(limit))
    }
}
