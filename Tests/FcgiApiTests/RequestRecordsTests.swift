import ChatCore
import Glibc
import Testing

@testable import fcgi_api

/// Lines of the access log.
@Suite struct AccessLogTests {
    private func line(
        _ format: String, _ values: [String: String] = [:], nanoseconds: Int64 = 0, waited: Int? = nil,
        user: UUID128? = nil
    ) throws -> String {
        var pool = Settings.testPool
        pool.accessFormat = format
        let all = ["REQUEST_METHOD": "GET", "REQUEST_URI": "/rooms"].merging(values) { $1 }
        let call = Call(try request(all), now: 1_700_000_000_123)
        call.user = user
        var response = Response(status: 201)
        response.body = Array("12345".utf8)
        let line = AccessLog(AccessFormat(of: pool), "rooms", to: -1)
            .line(call, response, nanoseconds: nanoseconds, waited: waited)
        return String(decoding: line, as: UTF8.self)
    }

    @Test func itHasWhatTheFormatNames() throws {
        let text = try line(
            "%R %u %t %m %r %s %b %n %i %p 100%%", ["REMOTE_ADDR": "192.0.2.1", "HTTP_X_REQUEST_ID": "r-1"], user: bob)
        #expect(text == "192.0.2.1 \(bob) 2023-11-14T22:13:20.123Z GET /rooms 201 5 rooms r-1 \(getpid()) 100%")
    }

    @Test func timesHaveSecondsOrMilliseconds() throws {
        #expect(try line("%d %{ms}d", nanoseconds: 1_005_999_999) == "1.005 1005")
        #expect(try line("%w %{ms}w", waited: 7) == "0.007 7")
        #expect(try line("%w %{ms}w") == "- -")
    }

    @Test func whatIsNotThereIsAHyphen() throws {
        #expect(try line("%R %u") == "- -")
    }

    /// It may be a token.
    @Test func aQueryIsNeverShown() throws {
        #expect(try !line("%m %r", ["REQUEST_URI": "/rooms?token=secret"]).contains("secret"))
    }

    @Test func textFromOutsideEndsNoLineAndNoQuotation() throws {
        let text = try line("\"%R\"", ["REMOTE_ADDR": "a\"b\\c\n\u{7f}\u{e9}"])
        #expect(text == #""a\x22b\x5cc\x0a\x7f\xc3\xa9""#)
        #expect(try line("%R", ["REMOTE_ADDR": String(repeating: "x", count: 5000)]).utf8.count == 2048)
    }

    @Test func aLineIsWrittenAtOnceWithItsEnd() throws {
        var ends: [Int32] = [-1, -1]
        pipe(&ends)
        defer { close(ends[0]) }
        var pool = Settings.testPool
        pool.accessFormat = "%s"
        do {
            let log = AccessLog(AccessFormat(of: pool), "rooms", to: ends[1])
            let call = Call(try request(["REQUEST_METHOD": "GET", "REQUEST_URI": "/"]), now: 1)
            for _ in 0..<2 { log.note(call, Response(status: 204), nanoseconds: 1, waited: nil) }
        }
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = read(ends[0], &bytes, bytes.count)
        #expect(String(decoding: bytes.prefix(max(0, count)), as: UTF8.self) == "204\n204\n")
    }
}

/// The spans of requests.
@Suite struct RequestTraceTests {
    private final class Outlet: SpanOutlet, @unchecked Sendable {
        var spans: [Span] = []
        func put(_ spans: [Span]) { self.spans += spans }
    }

    private let outlet = Outlet()
    private static let now: Int64 = 1_700_000_000_000_000_000

    private func record(
        _ values: [String: String] = [:], status: Int = 200, sampler: String = "parentbased_always_on",
        _ change: (Call) -> Void = { _ in }
    ) throws {
        let all = ["REQUEST_METHOD": "GET", "REQUEST_URI": "/users/name-of-somebody"].merging(values) { $1 }
        let call = Call(try request(all), now: 1)
        change(call)
        RequestTrace(
            tracer: Tracer(TraceSampler(sampler, ratio: 1), outlet), pool: "rooms", unixClock: { Self.now }
        ).record(call, status: status, lasted: 5_000_000)
    }

    private func value(_ name: String) -> Span.Value? {
        outlet.spans.first?.attributes.first { $0.name == name }?.value
    }

    private let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"

    @Test func aRequestHasItsRouteTimesAndStatus() throws {
        try record { $0.operation = Operation("GET", "/users/{id}") }
        let span = try #require(outlet.spans.first)
        #expect(span.name == "GET /users/{id}" && span.kind == .server && span.parent == nil && !span.hasFailed)
        #expect((span.start, span.end) == (Self.now - 5_000_000, Self.now))
        #expect(value("http.route") == .text("/users/{id}") && value("http.response.status_code") == .number(200))
        // Never the address: it has ids of users.
        #expect(!"\(span)".contains("name-of-somebody"))
    }

    @Test func aClientsTraceIsContinuedAndItsDecisionCounts() throws {
        try record(["HTTP_TRACEPARENT": parent + "01"], sampler: "parentbased_always_off")
        #expect(outlet.spans.map(\.parent) == [0xb7ad_6b71_6920_3331] && outlet.spans[0].isParentRemote)
        #expect(outlet.spans[0].trace == UUID128(high: 0x0af7_6519_16cd_43dd, low: 0x8448_eb21_1c80_319c))
        try record(["HTTP_TRACEPARENT": parent + "00"])
        #expect(outlet.spans.count == 1)
    }

    @Test func aCommandsRequestHasTheCommandsPlace() throws {
        var command = Command(
            id: UUID128(high: 7, low: 8), room: kitchen, actor: bob, acceptedAt: 1, action: .deleteRoom)
        try record {
            $0.trace(&command, TraceSampler("always_on", ratio: 1))
            $0.command = command.id
        }
        #expect(outlet.spans.map(\.trace) == [command.id])
        #expect(outlet.spans.map(\.id) == [TraceParent(of: command.id).span])
        #expect(value("chat.command.id") == .text(command.id.description))
    }

    @Test func onlyTheServersFaultsFail() throws {
        try record(status: 404) { $0.refusal = .notFound }
        try record(status: 500) { $0.refusal = .internalError }
        #expect(outlet.spans.map(\.hasFailed) == [false, true])
        #expect(value("error.type") == .text(ErrorCode.notFound.rawValue))
    }

    @Test func anInventedMethodIsNoNewName() throws {
        try record(["REQUEST_METHOD": "BREW-\(bob)"])
        #expect(outlet.spans.map(\.name) == ["_OTHER"])
    }

    @Test(
        arguments: [
            ("1699999999.500", 495), ("1700000001.000", 0), ("1.0", 3_600_000), ("0", nil), ("-1", nil), ("nan", nil),
            ("1e300", nil), ("", nil), ("x", nil),
        ] as [(String, Int64?)])
    func theWaitBeforeAWorkerIsBounded(sent: String, wait: Int64?) throws {
        try record(["CHAT_SENT": sent])
        #expect(value("chat.queue_wait_ms") == wait.map { .number($0) })
    }
}

extension Settings {
    fileprivate static var testPool: PoolSettings { Settings.test().fcgi.pools[0] }
}
