import Glibc
import Testing

@testable import ChatProcess

private func folder() -> String {
    var template = Array("/tmp/chat-process-XXXXXX".utf8CString)
    mkdtemp(&template)
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

@Suite struct ScoreboardTests {
    @Test func readersSeeWhatAWorkerWrites() throws {
        let path = folder() + "/board"
        let board = try Scoreboard.create(
            at: path, pools: ["rooms", "messages"], counters: ["sends_total", "depth"])
        let reader = try Scoreboard.open(at: path)
        #expect(reader.pools == ["rooms", "messages"])
        #expect(reader.counters == ["sends_total", "depth"])
        let row = board.row(3)
        row.prepare(pool: 1, slot: 2, generation: 5)
        row[.pid] = 42
        row.beginRequest("GET", "/rooms/" + String(repeating: "é", count: 200), at: 1_000)
        #expect(reader.liveRows.map(\.index) == [3])
        #expect(reader.row(3).state == .busy)
        #expect(reader.row(3).request.hasPrefix("GET /rooms/éé"))
        row.endRequest(status: 404, bytes: 10, at: 3_000)
        row.add(2, to: 0)
        row.set(1, to: 9)
        #expect(reader.row(3)[.clientErrors] == 1)
        #expect(reader.row(3)[.lastDuration] == 2_000)
        #expect(reader.row(3).counter(0) == 2)
        board.ended(pool: 1).absorb(row)
        row.clear()
        #expect(reader.liveRows.isEmpty)
        #expect(reader.ended(pool: 1)[.requests] == 1)
        #expect(reader.ended(pool: 1).counter(0) == 2)
        #expect(reader.ended(pool: 1).counter(1) == 0)
    }

    @Test func histogramsOutliveTheirWorker() throws {
        let path = folder() + "/board"
        let names = ["seconds{kind=\"a\"}", "other_seconds"]
        let board = try Scoreboard.create(at: path, pools: ["rooms"], counters: ["n"], histograms: names)
        let reader = try Scoreboard.open(at: path)
        #expect(reader.histograms == names)
        #expect(reader.counters == ["n"])
        let row = board.row(Scoreboard.workerRows - 1)
        // At a bound, above it, above all, and what a clock that jumps may say.
        for duration in [500_000, 500_001, 60_000_000_000, -5, Nanoseconds.max] { row.histogram(1).observe(duration) }
        #expect(reader.row(row.index).histogram(1).numbers[..<2] == [2, 1])
        #expect(reader.row(row.index).histogram(1).numbers[Histogram.bounds.count] == 2)
        #expect(reader.row(row.index).histogram(0).numbers.allSatisfy { $0 == 0 })
        let before = row.histogram(1).numbers
        board.ended(pool: 0).absorb(row)
        row.clear()
        #expect(row.histogram(1).numbers.allSatisfy { $0 == 0 })
        #expect(reader.ended(pool: 0).histogram(1).numbers == before)
        #expect(row.counter(Scoreboard.maxCounters - 1) == 0)
    }

    @Test func otherFilesAreRefused() {
        #expect(throws: (any Error).self) { try Scoreboard.open(at: "/etc/hostname") }
        #expect(throws: (any Error).self) { try Scoreboard.open(at: "/nonexistent") }
    }
}

@Suite struct ListenAddressTests {
    @Test(arguments: [
        ("unix:/run/chat/rooms.sock", "unix:/run/chat/rooms.sock"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("[::1]:80", "[::1]:80"), (":8080", "0.0.0.0:8080"),
    ])
    func accepts(_ text: String, _ meaning: String) throws {
        #expect(try ListenAddress(parsing: text).description == meaning)
    }

    @Test(arguments: [
        "", "unix:", "unix:rooms.sock", "localhost", "host:0", "host:99999", "host:-1", "[::1:80",
        "unix:/a\nb",
        "unix:/" + String(repeating: "x", count: 107),
    ])
    func refuses(_ text: String) {
        #expect(throws: OperatorError.self) { try ListenAddress(parsing: text) }
    }

    @Test func ownSocketIsReplacedAndAForeignFileIsNot() throws {
        let path = folder() + "/a.sock"
        let address = try ListenAddress(parsing: "unix:\(path)", mode: 0o600)
        let first = try Listener.bind(address)
        let second = try Listener.bind(address)
        var status = stat()
        #expect(lstat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
        withExtendedLifetime(first) { second.removePath() }
        #expect(lstat(path, &status) != 0)
        close(open(path, O_CREAT | O_WRONLY, 0o644))
        #expect(throws: OperatorError.self) { try Listener.bind(address) }
    }
}

@Suite struct RunFolderTests {
    @Test func oneMasterOfAProgram() throws {
        let run = RunFolder(folder(), program: "fcgi-api")
        let lock = try run.lock()
        #expect(throws: OperatorError.self) { try run.lock() }
        _ = try RunFolder(run.path, program: "ws-relay").lock()
        withExtendedLifetime(lock) {}
    }

    @Test func askingWithoutAMasterSaysSo() {
        #expect(throws: OperatorError.self) {
            try askMaster("status", in: RunFolder("/nonexistent", program: "fcgi-api"))
        }
    }
}
