import ChatCore
import Logging
import TestSupport
import Testing

@testable import ChatAdapters

/// The exporter without its thread, with its own time, and collectors that a test plays.
@Suite struct SpanExporterTests {
    private final class Collector: SpanCollector {
        /// The next answers; the last one is given from then on.
        var answers: [CollectorAnswer] = [.taken(refused: 0)]
        /// The numbers of spans that were sent, and when.
        var sent: [(at: Int64, spans: [UInt64])] = []
        var timeouts: [Duration] = []
        var now: () -> Int64 = { 0 }

        func send(_ spans: [Span], timeout: Duration) -> CollectorAnswer {
            sent.append((now(), spans.map(\.id)))
            timeouts.append(timeout)
            return answers.count > 1 ? answers.removeFirst() : answers[0]
        }
    }

    private final class Scene {
        let collector = Collector()
        var now: Int64 = 1_000_000
        var counts = SpanExporter.Counts()
        let memory = MemoryLog()
        private(set) var exporter: SpanExporter!
        private var number: UInt64 = 0

        init(_ values: [String: String] = [:]) {
            let settings = Settings.test(
                values.merging(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@collector:4318"]) { own, _ in own })
            exporter = SpanExporter(
                settings.tracing, log: memory.log, now: { [unowned self] in now },
                wait: { [unowned self] _, until in now = max(now, until) },
                report: { [unowned self] in counts = $0 }, collector: { [collector] in collector })
            collector.now = { [unowned self] in now }
        }

        /// Spans with the next numbers, from 1.
        func put(_ count: Int) {
            exporter.put(
                (0..<count).map { _ in
                    number += 1
                    return Span(
                        trace: UUID128(high: 1, low: 1), id: number, parent: nil, name: "x", kind: .inside, start: 1,
                        end: 2)
                })
        }

        @discardableResult func turn() -> Bool { exporter.turn() }
    }

    @Test func spansGatherForTheSettingsTimeAndAreSentTogether() {
        let scene = Scene(["OTEL_BSP_SCHEDULE_DELAY": "700"])
        scene.put(2)
        scene.put(1)
        #expect(!scene.turn())
        #expect(scene.collector.sent.map(\.spans) == [[1, 2, 3]])
        #expect(scene.collector.sent.map(\.at) == [1_000_700])
        #expect(scene.counts == .init(exported: 3, dropped: 0))
    }

    @Test func aFullRequestIsSentAtOnce() {
        let scene = Scene()
        scene.put(600)
        scene.turn()
        #expect(scene.collector.sent.map(\.spans.count) == [512])
        #expect(scene.now == 1_000_000)
        scene.turn()
        #expect(scene.collector.sent.map(\.spans.count) == [512, 88])
        #expect(scene.counts == .init(exported: 600, dropped: 0))
    }

    @Test func withoutSpansNothingIsSent() {
        let scene = Scene()
        scene.turn()
        #expect(scene.collector.sent.isEmpty && scene.now > 1_000_000)
    }

    @Test func theQueueIsBoundedAndCountsWhatItDrops() {
        let scene = Scene(["OTEL_BSP_MAX_QUEUE_SIZE": "10"])
        scene.put(8)
        scene.put(8)
        scene.turn()
        #expect(scene.collector.sent.map(\.spans) == [Array(1...10)])
        #expect(scene.counts == .init(exported: 10, dropped: 6))
    }

    /// Those that wait for a collector which is away take room from newer ones, too.
    @Test func spansInHandCountAsWaiting() {
        let scene = Scene(["OTEL_BSP_MAX_QUEUE_SIZE": "10"])
        scene.collector.answers = [.away("no", wait: nil), .taken(refused: 0)]
        scene.put(8)
        scene.turn()
        scene.put(8)
        scene.turn()
        #expect(scene.collector.sent.map(\.spans) == [Array(1...8), Array(1...10)])
        #expect(scene.counts == .init(exported: 10, dropped: 6))
    }

    @Test func aCollectorThatIsAwayGetsItsSpansAgainAfterLongerAndLongerPauses() {
        let scene = Scene(["OTEL_BSP_SCHEDULE_DELAY": "10"])
        scene.collector.answers = [.away("no", wait: nil)]
        scene.put(1)
        for _ in 0..<8 { scene.turn() }
        let times = scene.collector.sent.map(\.at)
        #expect(zip(times.dropFirst(), times).map { $0 - $1 } == [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
        #expect(scene.counts == .init())
        scene.collector.answers = [.taken(refused: 0)]
        scene.turn()
        #expect(scene.counts == .init(exported: 1, dropped: 0))
        // The next outage begins with a short pause again.
        scene.collector.answers = [.away("no", wait: nil)]
        scene.put(1)
        scene.turn()
        scene.turn()
        let last = scene.collector.sent.suffix(2).map(\.at)
        #expect(last[1] - last[0] == 1000)
    }

    @Test func aCollectorSaysHowLongItWantsToBeLeftAloneWithinABound() {
        let scene = Scene(["OTEL_BSP_SCHEDULE_DELAY": "10"])
        scene.collector.answers = [.away("429", wait: .seconds(7)), .away("429", wait: .seconds(3600))]
        scene.put(1)
        for _ in 0..<3 { scene.turn() }
        let times = scene.collector.sent.map(\.at)
        #expect(zip(times.dropFirst(), times).map { $0 - $1 } == [7000, 30_000])
    }

    @Test func refusedSpansAreDroppedAndTheNextAreTried() {
        let scene = Scene()
        scene.collector.answers = [.refused("it answered 400"), .taken(refused: 1)]
        scene.put(2)
        scene.turn()
        #expect(scene.counts == .init(exported: 0, dropped: 2))
        scene.put(3)
        scene.turn()
        #expect(scene.counts == .init(exported: 2, dropped: 3))
    }

    @Test func theEndSendsEverythingAtOnceInRequestsWithAShortTimeout() {
        let scene = Scene()
        scene.put(600)
        scene.exporter.beginEnd()
        #expect(!scene.turn())
        #expect(scene.turn())
        #expect(scene.collector.sent.map(\.spans.count) == [512, 88])
        #expect(scene.collector.timeouts.allSatisfy { $0 < Settings.test().tracing.timeout })
        #expect(scene.now == 1_000_000 && scene.counts.exported == 600)
    }

    @Test func theEndTriesACollectorThatIsAwayOnce() {
        let scene = Scene()
        scene.collector.answers = [.away("no", wait: .seconds(30))]
        scene.put(600)
        scene.turn()
        scene.exporter.beginEnd()
        #expect(scene.turn())
        #expect(scene.collector.sent.count == 2)
        #expect(scene.counts == .init(exported: 0, dropped: 600))
    }

    /// Its thread hangs in a request, or is not there at all as here.
    @Test func theEndIsWaitedForForABoundedTime() {
        let scene = Scene()
        scene.exporter.end()
        #expect(scene.now > 1_000_000 && scene.now < 1_010_000)
    }

    @Test func anOutageIsLoggedOnceAndSoIsItsEnd() {
        let scene = Scene()
        scene.collector.answers = [.away("no", wait: nil), .away("no", wait: nil), .taken(refused: 0)]
        scene.put(1)
        for _ in 0..<3 { scene.turn() }
        #expect(scene.memory.lines.count == 2)
        #expect(scene.memory.lines.last?.contains("is back") == true)
        #expect(scene.memory.lines.allSatisfy { !$0.contains("secret") })
    }

    /// A queue that is too short for a collector that works must not fill the log.
    @Test func droppedSpansAreLoggedOnceAndWheneverTheyHaveDoubled() {
        let scene = Scene(["OTEL_BSP_MAX_QUEUE_SIZE": "1"])
        for _ in 0..<100 {
            scene.put(2)
            scene.turn()
        }
        #expect(scene.counts.dropped == 100)
        let told = scene.memory.lines.filter { $0.contains("spans of traces are dropped") }
        #expect(told.map { $0.contains("dropped=1 ") || $0.hasSuffix("dropped=1") }.first == true)
        #expect(told.count == 7)
    }
}

/// The meaning of a real collector's answers.
@Suite struct SpanCollectorTests {
    private func answer(to reply: String, _ values: [String: String] = [:]) throws -> (CollectorAnswer, String) {
        let server = try TestHTTPServer([reply])
        let settings = Settings.test(
            values.merging(["OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_EXPORTER_OTLP_HEADERS": "key=word"]) {
                own, _ in own
            }
        ).tracing
        let collector = HTTPSpanCollector(settings, SpanJSON(resource: [], scope: "test", version: "1"))
        let span = Span(trace: UUID128(high: 1, low: 1), parent: nil, name: "x", kind: .inside, start: 1, end: 2)
        return (collector.send([span, span, span], timeout: .seconds(10)), server.heads.first ?? "")
    }

    private static func body(_ text: String) -> String {
        "HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\nConnection: close\r\n\r\n\(text)"
    }

    @Test func itsRequestIsJSONWithTheSettingsHeaders() throws {
        let (answer, head) = try answer(to: TestHTTPServer.answer(200))
        #expect(answer == .taken(refused: 0))
        #expect(head.hasPrefix("POST /v1/traces HTTP/1.1"))
        #expect(TestHTTPServer.field("content-type", of: head) == "application/json")
        #expect(TestHTTPServer.field("key", of: head) == "word")
    }

    @Test(arguments: [
        (#"{"partialSuccess": {"rejectedSpans": "2"}}"#, 2), (#"{"partialSuccess": {"rejectedSpans": 1}}"#, 1),
        // Never more than were sent, and never fewer than none.
        (#"{"partialSuccess": {"rejectedSpans": 99}}"#, 3), (#"{"partialSuccess": {"rejectedSpans": -1}}"#, 0),
        (#"{"partialSuccess": {"rejectedSpans": "9223372036854775808"}}"#, 0), ("nonsense", 0), ("{}", 0),
    ])
    func itMayRefuseSome(body: String, refused: Int) throws {
        #expect(try answer(to: Self.body(body)).0 == .taken(refused: refused))
    }

    @Test(arguments: [429, 502, 503, 504])
    func someErrorsMeanLater(status: Int) throws {
        #expect(try answer(to: TestHTTPServer.answer(status)).0 == .away("it answered \(status)", wait: nil))
        #expect(
            try answer(to: TestHTTPServer.answer(status, "Retry-After: 5")).0
                == .away("it answered \(status)", wait: .seconds(5)))
    }

    @Test(arguments: [400, 401, 404, 413, 500])
    func otherErrorsAreRefusals(status: Int) throws {
        #expect(try answer(to: TestHTTPServer.answer(status)).0 == .refused("it answered \(status)"))
    }

    @Test func noConnectionMeansLater() throws {
        let settings = Settings.test(["OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"]).tracing
        let collector = HTTPSpanCollector(settings, SpanJSON(resource: [], scope: "test", version: "1"))
        guard case .away(_, nil) = collector.send([], timeout: .seconds(5)) else {
            Issue.record("a collector that does not listen is not away")
            return
        }
    }
}
