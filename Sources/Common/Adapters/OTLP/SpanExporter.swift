public import ChatCore
import Glibc
public import Logging

/// Sends finished spans to an OpenTelemetry collector, from a thread of its own: nothing that serves somebody waits for
/// it. The queue is bounded; spans that it cannot take are dropped and counted.
///
/// A collector that is away or overloaded gets its spans again later, while there is room for newer ones; one that
/// refuses them does not.
public final class SpanExporter: SpanOutlet, @unchecked Sendable {
    /// Spans so far: sent, and dropped because of a full queue, a refusal, or the end of the process.
    public struct Counts: Sendable, Equatable {
        public var exported = 0
        public var dropped = 0
    }

    /// Spans of one request.
    private static let batch = 512
    /// How long the end of a process waits for its last spans, and for one of their requests.
    private static let drainTimeout = Duration.seconds(3)
    private static let endTimeout = Duration.milliseconds(1500)
    /// Between two tries at a collector that is away.
    private static let firstPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)

    private let settings: TracingSettings
    private let json: SpanJSON
    private let log: Logger
    private let report: (Counts) -> Void

    private let monitor = Monitor()
    // Every property below is accessed only while the monitor is held.
    private var waiting: [Span] = []
    /// Spans that the thread has taken and not sent: they count as waiting, too.
    private var inHand = 0
    private var counts = Counts()
    private var isEnding = false
    private var hasEnded = false

    /// - Parameters:
    ///   - scope: the program's name.
    ///   - report: told the counts, on the exporter's thread.
    public init(
        _ settings: TracingSettings, scope: String, worker: String, log: Logger,
        report: @escaping (Counts) -> Void
    ) {
        self.settings = settings
        json = SpanJSON(
            resource: Self.resource(settings.resource, program: scope, worker: worker), scope: scope,
            version: chatVersion)
        self.log = log
        self.report = report
        _ = startThread { self.run() }
    }

    public func put(_ spans: [Span]) {
        monitor.locked {
            let room = max(0, settings.queueLength - waiting.count - inHand)
            waiting += spans.prefix(room)
            counts.dropped += max(0, spans.count - room)
            if waiting.count >= Self.batch { monitor.notify() }
        }
    }

    /// Sends the last spans, and waits for that for a bounded time. Call it at the end of the process.
    public func end() {
        let until = monotonicMilliseconds() + Self.drainTimeout.milliseconds
        monitor.locked {
            isEnding = true
            monitor.notify()
            while !hasEnded, monotonicMilliseconds() < until { monitor.wait(until: until) }
        }
    }

    /// Those of the operator win.
    private static func resource(_ given: [Span.Attribute], program: String, worker: String) -> [Span.Attribute] {
        let host = HostName.machine
        let own: [Span.Attribute] = [
            .init("service.name", .text(program)), .init("service.namespace", .text("chat")),
            .init("service.version", .text(chatVersion)),
            .init("service.instance.id", .text("\(host)/\(program)/\(worker)")), .init("host.name", .text(host)),
            .init("process.pid", .number(Int64(getpid()))), .init("process.executable.name", .text(program)),
            .init("telemetry.sdk.name", .text("chat")), .init("telemetry.sdk.language", .text("swift")),
            .init("telemetry.sdk.version", .text(chatVersion)),
        ]
        return own.filter { one in !given.contains { $0.name.utf8.elementsEqual(one.name.utf8) } } + given
    }

    // MARK: The thread

    private func run() {
        let collector = Collector(settings, json)
        var (batch, pause, nextTry) = ([Span](), Self.firstPause.milliseconds, Int64.min)
        var news = News(log, settings)
        while true {
            let isLast = monitor.locked { () -> Bool in
                gather(into: &batch, notBefore: nextTry)
                return isEnding
            }
            if !batch.isEmpty {
                let outcome = collector.send(batch, timeout: isLast ? Self.endTimeout : settings.timeout)
                switch outcome {
                case .taken(let refused):
                    settle(&batch, exported: batch.count - refused)
                    (pause, nextTry) = (Self.firstPause.milliseconds, .min)
                case .refused: settle(&batch, exported: 0)
                case .away(_, let wait):
                    nextTry = monotonicMilliseconds() + min(Self.longestPause.milliseconds, max(wait ?? 0, pause))
                    pause = min(Self.longestPause.milliseconds, pause * 2)
                }
                news.heard(outcome)
            }
            let (now, isOver) = monitor.locked { () -> (Counts, Bool) in
                // At the end each request is tried once.
                if isLast, !batch.isEmpty {
                    counts.dropped += batch.count + waiting.count
                    (batch, waiting) = ([], [])
                }
                return (counts, isLast && waiting.isEmpty)
            }
            report(now)
            news.counted(now)
            guard isOver else { continue }
            return monitor.locked {
                hasEnded = true
                monitor.notify()
            }
        }
    }

    /// Waits until a batch is full or its oldest spans have waited long enough, and takes it. At the end, and when
    /// nothing happens for a while, it returns at once.
    private func gather(into batch: inout [Span], notBefore: Int64) {
        let until = monotonicMilliseconds() + settings.delay.milliseconds
        while !isEnding {
            let now = monotonicMilliseconds()
            let isDue = now >= until || batch.count + waiting.count >= Self.batch
            if isDue && now >= notBefore { break }
            monitor.wait(until: now < notBefore ? notBefore : until)
        }
        let taken = min(Self.batch - batch.count, waiting.count)
        batch += waiting.prefix(taken)
        waiting.removeFirst(taken)
        inHand = batch.count
    }

    private func settle(_ batch: inout [Span], exported: Int) {
        monitor.locked {
            counts.exported += max(0, exported)
            counts.dropped += batch.count - max(0, exported)
            inHand = 0
        }
        batch = []
    }
}

/// The log of the exporter: each trouble is said once, and so is its end.
private struct News {
    private let log: Logger
    private let place: String
    private let queueLength: Int
    private var isAway = false
    private var isRefusing = false
    private var dropped = 0
    private var hasToldDrops = false

    init(_ log: Logger, _ settings: TracingSettings) {
        (self.log, place, queueLength) = (log, settings.shownURL, settings.queueLength)
    }

    mutating func heard(_ outcome: Collector.Outcome) {
        switch outcome {
        case .taken:
            if isAway || isRefusing {
                log.notice("the collector of traces is back", metadata: ["collector": "\(place)"])
            }
            (isAway, isRefusing, hasToldDrops) = (false, false, false)
        case .away(let why, _):
            guard !isAway else { return }
            isAway = true
            log.warning(
                "the collector of traces is away: \(queueLength) spans wait for it, further ones are dropped",
                metadata: ["collector": "\(place)", "error": "\(why)"])
        case .refused(let why):
            guard !isRefusing else { return }
            isRefusing = true
            log.error(
                "the collector refuses traces: they are dropped",
                metadata: ["collector": "\(place)", "error": "\(why)"])
        }
    }

    mutating func counted(_ counts: SpanExporter.Counts) {
        defer { dropped = counts.dropped }
        guard counts.dropped > dropped, !isRefusing, !hasToldDrops else { return }
        hasToldDrops = true
        log.warning("spans of traces are dropped", metadata: ["dropped": "\(counts.dropped)", "collector": "\(place)"])
    }
}

/// One collector, for one thread.
private final class Collector {
    enum Outcome {
        /// All but so many.
        case taken(refused: Int)
        case refused(String)
        /// With the milliseconds for which it wants to be left alone.
        case away(String, wait: Int64?)
    }

    private let client: HTTPClient
    private let settings: TracingSettings
    private let json: SpanJSON

    init(_ settings: TracingSettings, _ json: SpanJSON) {
        client = HTTPClient(authorities: settings.authorities)
        self.settings = settings
        self.json = json
    }

    func send(_ spans: [Span], timeout: Duration) -> Outcome {
        var request = HTTPTransfer(method: "POST", url: settings.url)
        request.headers = ["Content-Type: application/json", "User-Agent: chat/\(chatVersion)"] + settings.headers
        request.body = .bytes(json.encode(spans))
        request.timeout = min(timeout, settings.timeout)
        do throws(HTTPTransfer.Failure) {
            let answer = try client.send(request)
            switch answer.status {
            case 200..<300: return .taken(refused: min(spans.count, Self.refused(in: answer.body)))
            // Those that the protocol wants to be tried again.
            case 429, 502, 503, 504:
                let wait = answer.retryAfter.map { Int64(min(max(0, $0), 3600)) * 1000 }
                return .away("it answered \(answer.status)", wait: wait)
            default: return .refused("it answered \(answer.status)")
            }
        } catch {
            return .away(error.description, wait: nil)
        }
    }

    /// `{"partialSuccess": {"rejectedSpans": "2"}}`; anything else means that it took all.
    private static func refused(in body: [UInt8]) -> Int {
        guard let value = try? JSONReader.decode(body), let number = value["partialSuccess"]?["rejectedSpans"] else {
            return 0
        }
        return max(0, number.int.map { Int(clamping: $0) } ?? number.string.flatMap { Int($0) } ?? 0)
    }
}
