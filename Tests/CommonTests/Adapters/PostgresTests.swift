import ChatAdapters
import ChatCore
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite struct LostPoolerTests {
    /// Pgpool-II says FATAL and XX000, without the untranslated severity.
    @Test func aPoolerThatLostItsServerIsAnOutageAndNoRefusal() throws {
        let welcome = "R\0\0\0\u{8}\0\0\0\0Z\0\0\0\u{5}I"
        let end = "SFATAL\0CXX000\0Munable to read data from DB node 0\0\0"
        let port = scriptedServer([[welcome, "E\0\0\0" + String(UnicodeScalar(UInt8(end.utf8.count + 4))) + end]])
        let connection = PostgresConnection(
            url: "host=127.0.0.1 port=\(port) user=x dbname=x sslmode=disable gssencmode=disable",
            applicationName: "test")
        let error = try #require(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error.state == "XX000" && error.isTransient && error.isAway)
    }
}

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct PostgresConnectionTests {
    @Test func valuesRoundTrip() throws {
        let id = UUID128(high: 1, low: 2)
        let row = try #require(
            try TestServers.postgres().query(
                """
                SELECT \("text ä"), \(.text(nil))::text, \(Int64.min), \(id), \(.bytes([0, 1, 255])), \(.time(1_700_000_000_123)),
                    \(.bool(true)), \(.int2(-3)), \(.int4(7)), \(.texts(["a", nil, "c"]))::text[], \([id, id]), \("")
                """
            ).first)
        #expect(row.text(0) == "text ä")
        #expect(row.isNull(1))
        #expect(row.int8(2) == .min)
        #expect(row.uuid(3) == id)
        #expect(row.bytes(4) == [0, 1, 255])
        #expect(row.time(5) == 1_700_000_000_123)
        #expect(row.bool(6))
        #expect(row.int2(7) == -3)
        #expect(row.int4(8) == 7)
        #expect(row.uuids(10) == [id, id])
        #expect(row.text(11) == "")
    }

    @Test func anErrorSaysWhatAndTheNextStatementWorks() throws {
        let connection = TestServers.postgres()
        let error = try #require(throws: PostgresError.self) { try connection.query("SELECT no_such_column") }
        #expect(error.state == "42703")
        #expect(!error.isTransient)
        #expect(try connection.query("SELECT 1::int8").first?.int8(0) == 1)
    }

    private func end(_ connection: PostgresConnection) throws {
        let pid = try #require(try connection.query("SELECT pg_backend_pid()").first?.int4(0))
        let ended = try TestServers.postgres().query("SELECT pg_terminate_backend(\(.int4(Int32(pid))), 5000)")
        #expect(ended.first?.bool(0) == true)
    }

    @Test func aConnectionThatWasClosedWhileIdleIsOpenedAgain() throws {
        let connection = TestServers.postgres()
        for _ in 0..<3 {
            try end(connection)
            #expect(try connection.query("SELECT 1::int8").first?.int8(0) == 1)
        }
    }

    /// Somebody who stopped in a transaction comes back: the statement can be tried again, and the server was there all the time.
    @Test func aTransactionThatPausedTooLongIsEndedByTheServerAndWasNoOutage() throws {
        let connection = PostgresConnection(
            url: TestServers.settings!.database.url, applicationName: "test", transactionPause: .milliseconds(100))
        let pid = try #require(
            try connection.pipeline(["BEGIN", "SELECT pg_backend_pid()"])[1].first?.int4(0))
        let others = TestServers.postgres()
        let isThere: SQL = "SELECT 1 FROM pg_stat_activity WHERE pid = \(.int4(Int32(pid)))"
        while try others.query(isThere).first != nil { usleep(10_000) }
        let error = try #require(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error.isTransient)
        #expect(error.state != "25P03" || !error.isAway)
        #expect(try connection.query("SELECT 1::int8").first?.int8(0) == 1)
    }

    /// The rest of a transaction never runs outside of it.
    @Test func aConnectionThatWasClosedInATransactionIsAnError() throws {
        let connection = TestServers.postgres()
        _ = try connection.query("BEGIN")
        try end(connection)
        let error = try #require(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error.isTransient)
        #expect(try connection.query("SELECT 1::int8").first?.int8(0) == 1)
    }

    @Test func whatMayRunTwiceDoesNotNoticeALostConnection() throws {
        let connection = TestServers.postgres()
        let pid = try #require(try connection.query("SELECT pg_backend_pid()").first?.int4(0))
        _ = try TestServers.postgres().query("SELECT pg_terminate_backend(\(.int4(Int32(pid))), 5000)")
        #expect(try connection.repeatable(["SELECT 1::int8"])[0].first?.int8(0) == 1)
    }

    @Test func noAnswerInTimeIsAnError() {
        let connection = PostgresConnection(
            url: TestServers.settings!.database.url, applicationName: "test", statementTimeout: .milliseconds(200))
        #expect(throws: PostgresError.self) { try connection.query("SELECT pg_sleep(30)") }
    }

    /// The statement takes longer than the server may be silent.
    @Test func aSlowStatementIsNoSilence() throws {
        let connection = PostgresConnection(
            url: TestServers.settings!.database.url, applicationName: "test", watch: TestServers.postgres())
        #expect(try connection.query("SELECT 1::int8 FROM pg_sleep(5)").first?.int8(0) == 1)
    }

    @Test func aServerThatAnswersNobodyIsSilent() throws {
        let url = TestServers.settings!.database.url
        // Nobody is there for the question beside it.
        let nobody = PostgresConnection(url: "host=127.0.0.1 port=1 dbname=x", applicationName: "test")
        let connection = PostgresConnection(url: url, applicationName: "test", watch: nobody)
        let error = try #require(throws: PostgresError.self) { try connection.query("SELECT pg_sleep(30)") }
        #expect(error.isAway && error.isTransient)
        #expect(error.description.contains("beside it"))
    }

    @Test func whetherItAnswers() {
        #expect(TestServers.postgres().answers(within: .seconds(2)))
        let nobody = PostgresConnection(url: "host=127.0.0.1 port=1 dbname=x", applicationName: "test")
        #expect(!nobody.answers(within: .seconds(2)))
    }

    @Test func nobodyThere() {
        let connection = PostgresConnection(url: "host=127.0.0.1 port=1 dbname=x", applicationName: "test")
        let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error?.isTransient == true)
    }
}

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct MigrationTests {
    @Test func upDownAndUpAgainLeaveTheSame() throws {
        let database = try TestDatabase()
        func tables() throws -> [String] {
            try database.connection().query(
                "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1"
            ).map { $0.text(0) }
        }
        let before = try tables()
        #expect(before.contains("messages"))
        while try database.migrations().down() != nil {}
        #expect(try tables() == ["schema_migrations"])
        _ = try database.migrations().up()
        #expect(try tables() == before)
        #expect(try database.migrations().status().allSatisfy(\.isApplied))
    }

    @Test func manyAtOnceApplyEachOnce() async throws {
        let database = try TestDatabase(migrated: false)
        let applied = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 { group.addTask { try database.migrations().up().count } }
            return try await group.reduce(0, +)
        }
        #expect(applied == (try database.migrations().status().count))
    }
}
