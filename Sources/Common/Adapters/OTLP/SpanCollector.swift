import ChatCore
import Logging

/// A collector of spans, for one thread.
protocol SpanCollector {
    func send(_ spans: [Span], timeout: Duration) -> CollectorAnswer
}

enum CollectorAnswer: Equatable {
    /// All but so many.
    case taken(refused: Int)
    case refused(String)
    /// With the time for which it wants to be left alone.
    case away(String, wait: Duration?)
}

/// A collector that speaks OTLP over HTTP, in JSON.
final class HTTPSpanCollector: SpanCollector {
    private let client: HTTPClient
    private let settings: TracingSettings
    private let json: SpanJSON

    init(_ settings: TracingSettings, _ json: SpanJSON) {
        client = HTTPClient(authorities: settings.authorities)
        self.settings = settings
        self.json = json
    }

    func send(_ spans: [Span], timeout: Duration) -> CollectorAnswer {
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
                let wait = answer.retryAfter.map { Duration.seconds(min(max(0, $0), 3600)) }
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

/// The log of the exporter: each trouble is said once, and so is its end. Dropped spans are said with the first one and
/// whenever their number has doubled.
struct CollectorNews {
    private let log: Logger
    private let place: String
    private let queueLength: Int
    private var isAway = false
    private var isRefusing = false
    private var dropped = 0
    private var toldDrops = 0

    init(_ log: Logger, _ settings: TracingSettings) {
        (self.log, place, queueLength) = (log, settings.shownURL, settings.queueLength)
    }

    mutating func heard(_ answer: CollectorAnswer) {
        switch answer {
        case .taken:
            if isAway || isRefusing {
                log.notice("the collector of traces is back", metadata: ["collector": "\(place)"])
            }
            (isAway, isRefusing) = (false, false)
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
        guard counts.dropped > dropped, counts.dropped / 2 >= toldDrops, !isRefusing else { return }
        toldDrops = counts.dropped
        log.warning("spans of traces are dropped", metadata: ["dropped": "\(counts.dropped)", "collector": "\(place)"])
    }
}
