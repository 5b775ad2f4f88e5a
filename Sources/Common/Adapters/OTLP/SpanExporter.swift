public import ChatCore
import Glibc
public import Logging

/// Sends finished spans to an OpenTelemetry collector, from a thread of its own, so that no request waits for it. The
/// queue is bounded; spans that do not fit are dropped and counted.
///
/// When the collector is unavailable or overloaded, its spans are sent again later, as long as the queue has room for
/// newer ones. When it refuses spans, they are dropped.
public final class SpanExporter: SpanOutlet, @unchecked Sendable {
    /// Spans so far: sent, and dropped because of a full queue, a refusal, or the end of the process.
    public struct Counts: Sendable, Equatable {
        public var exported = 0
        public var dropped = 0
    }

    /// Spans of one request.
    private static let batch = 512
    /// How long the end of a process waits for its last spans in all, and for one request with them.
    private static let drainTimeout = Duration.seconds(3)
    private static let endTimeout = Duration.milliseconds(1500)
    /// The first pause between two tries at an unavailable collector.
    private static let firstPause = Duration.seconds(1)
    private static let longestPause = Duration.seconds(30)

    private let settings: TracingSettings
    private let report: (Counts) -> Void
    /// Monotonic milliseconds.
    private let now: () -> Int64
    /// Waits for the monitor's change, or until a moment.
    private let wait: (Monitor, Int64) -> Void
    // Only the thread has these three.
    private let makeCollector: () -> any SpanCollector
    private lazy var collector = makeCollector()
    private var sending: Sending

    private let monitor = Monitor()
    // Every property below is accessed only while the monitor is held.
    private var waiting: [Span] = []
    /// Spans that the thread has taken and not sent: they count as waiting too.
    private var inHand = 0
    private var counts = Counts()
    private var isEnding = false
    private var hasEnded = false

    /// - Parameters:
    ///   - scope: the program's name.
    ///   - report: told the counts, on the exporter's thread.
    public convenience init(
        _ settings: TracingSettings, scope: String, worker: String, log: Logger,
        report: @escaping (Counts) -> Void
    ) {
        let json = SpanJSON(
            resource: Self.resource(settings.resource, program: scope, worker: worker), scope: scope,
            version: chatVersion)
        self.init(
            settings, log: log, now: monotonicMilliseconds, wait: { $0.wait(until: $1) }, report: report
        ) { HTTPSpanCollector(settings, json) }
        _ = startThread { while !self.turn() {} }
    }

    /// Without a thread: the caller does each ``turn()``.
    init(
        _ settings: TracingSettings, log: Logger, now: @escaping () -> Int64,
        wait: @escaping (Monitor, Int64) -> Void, report: @escaping (Counts) -> Void,
        collector: @escaping () -> any SpanCollector
    ) {
        self.settings = settings
        (self.now, self.wait) = (now, wait)
        self.report = report
        makeCollector = collector
        sending = Sending(news: CollectorNews(log, settings))
    }

    public func put(_ spans: [Span]) {
        monitor.locked {
            let room = max(0, settings.queueLength - waiting.count - inHand)
            waiting += spans.prefix(room)
            counts.dropped += max(0, spans.count - room)
            if waiting.count >= Self.batch { monitor.notify() }
        }
    }

    /// Sends the last spans and waits a bounded time for it. Call it at the end of the process.
    public func end() {
        let until = now() + Self.drainTimeout.milliseconds
        beginEnd()
        monitor.locked {
            while !hasEnded, now() < until { wait(monitor, until) }
        }
    }

    /// The next turn is the last one that waits for nothing.
    func beginEnd() {
        monitor.locked {
            isEnding = true
            monitor.notify()
        }
    }

    /// The operator's attributes replace ours of the same name.
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

    private struct Sending {
        var batch: [Span] = []
        var pause = SpanExporter.firstPause
        /// The moment before which the collector is left alone.
        var nextTry = Int64.min
        var news: CollectorNews
    }

    /// Waits for spans and sends one batch of them.
    ///
    /// - Returns: true when that was the end.
    func turn() -> Bool {
        let isLast = monitor.locked { () -> Bool in
            gather()
            return isEnding
        }
        if !sending.batch.isEmpty { send(timeout: isLast ? Self.endTimeout : settings.timeout) }
        let (total, isOver) = monitor.locked { () -> (Counts, Bool) in
            // At the end each request is tried once.
            if isLast, !sending.batch.isEmpty {
                counts.dropped += sending.batch.count + waiting.count
                (sending.batch, waiting) = ([], [])
            }
            return (counts, isLast && waiting.isEmpty)
        }
        report(total)
        sending.news.counted(total)
        if isOver {
            monitor.locked {
                hasEnded = true
                monitor.notify()
            }
        }
        return isOver
    }

    private func send(timeout: Duration) {
        let answer = collector.send(sending.batch, timeout: timeout)
        switch answer {
        case .taken(let refused):
            settle(exported: sending.batch.count - refused)
            (sending.pause, sending.nextTry) = (Self.firstPause, .min)
        case .refused: settle(exported: 0)
        case .away(_, let wait):
            let pause = min(Self.longestPause, max(wait ?? .zero, sending.pause))
            sending.nextTry = now() + pause.milliseconds
            sending.pause = min(Self.longestPause, sending.pause * 2)
        }
        sending.news.heard(answer)
    }

    /// Waits until a batch is full or its oldest spans have waited long enough, and takes it. At the end, and when
    /// nothing happens for a while, it returns at once.
    private func gather() {
        let until = now() + settings.delay.milliseconds
        while !isEnding {
            let now = now()
            let isDue = now >= until || sending.batch.count + waiting.count >= Self.batch
            if isDue && now >= sending.nextTry { break }
            wait(monitor, now < sending.nextTry ? sending.nextTry : until)
        }
        let taken = min(Self.batch - sending.batch.count, waiting.count)
        sending.batch += waiting.prefix(taken)
        waiting.removeFirst(taken)
        inHand = sending.batch.count
    }

    private func settle(exported: Int) {
        monitor.locked {
            counts.exported += max(0, exported)
            counts.dropped += sending.batch.count - max(0, exported)
            inHand = 0
        }
        sending.batch = []
    }
}
