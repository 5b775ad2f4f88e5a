import ChatAdapters
import ChatCore
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct QueueWorkersTests {
    private func report(_ host: String, _ slot: Int, worker: UInt64, prefix: String = "chat") -> QueueWorkerReport {
        QueueWorkerReport(
            seat: QueueSeat(host: host, slot: slot), worker: UUID128(high: 1, low: worker), generation: 2,
            lines: [0: 17, 999: .max], working: [999], setting: "10 by room", prefix: prefix)
    }

    @Test func allSeeWhatEachReportsAndTicketsGrow() throws {
        let database = try TestDatabase()
        let (one, other) = (
            PostgresQueueWorkers(database.connection()), PostgresQueueWorkers(database.connection())
        )
        let (first, second) = (report("a:/run", 0, worker: 1), report("b:/run \"ä", 1, worker: 2))
        let before = try one.report(first)
        #expect(before.all == [first])
        let after = try other.report(second)
        #expect(after.all == [first, second] && after.ticket > before.ticket)
        #expect(try one.report(first).ticket > after.ticket)
        #expect(try one.all() == [first, second])
    }

    @Test func aSuccessorKeepsThePlaceAndTheDeadAreForgotten() throws {
        let database = try TestDatabase()
        let connection = database.connection()
        let workers = PostgresQueueWorkers(connection)
        let (old, new) = (report("a:/run", 0, worker: 1), report("a:/run", 0, worker: 2))
        _ = try workers.report(old)
        _ = try workers.report(new)
        try workers.end(old)
        #expect(try workers.all() == [new])
        try workers.end(new)
        #expect(try workers.all() == [])
        _ = try workers.report(old)
        _ = try connection.query("UPDATE queue_workers SET seen_at = seen_at - interval '11 seconds'")
        #expect(try workers.all() == [])
        _ = try connection.query("UPDATE queue_workers SET seen_at = seen_at - interval '1 hour'")
        _ = try workers.report(report("b:/run", 0, worker: 3))
        #expect(try connection.query("SELECT count(*) FROM queue_workers")[0].int8(0) == 1)
    }

    /// The database's clock was set back.
    @Test func rowsOfTheFutureAreNotBelievedAndForgotten() throws {
        let database = try TestDatabase()
        let connection = database.connection()
        let workers = PostgresQueueWorkers(connection)
        _ = try workers.report(report("a:/run", 0, worker: 1))
        _ = try connection.query("UPDATE queue_workers SET seen_at = seen_at + interval '1 minute'")
        #expect(try workers.all() == [])
        _ = try connection.query("UPDATE queue_workers SET seen_at = seen_at + interval '1 year'")
        _ = try workers.report(report("b:/run", 0, worker: 2))
        #expect(try connection.query("SELECT count(*) FROM queue_workers")[0].int8(0) == 1)
    }

    @Test func anotherPrefixIsRefusedWhileAnotherHostUsesOne() throws {
        let database = try TestDatabase()
        let workers = PostgresQueueWorkers(database.connection())
        let installation = PostgresInstallation(database.connection())
        try installation.check(prefix: "other", of: "b:/run")
        _ = try workers.report(report("a:/run", 0, worker: 1))
        try installation.check(prefix: "chat", of: "b:/run")
        // A host may change its own, one program after the other.
        try installation.check(prefix: "other", of: "a:/run")
        #expect {
            try installation.check(prefix: "other", of: "b:/run")
        } throws: { error in
            let text = "\(error)"
            return text.contains("is other") && text.contains("a:/run use chat") && !text.contains("\n")
        }
        try workers.end(report("a:/run", 0, worker: 1))
        try installation.check(prefix: "other", of: "b:/run")
    }
}
