import ChatCore
import ChatProcess
import Logging

/// Answers requests: routes them, wraps refusals in their envelope, counts and logs.
final class Api {
    private let router: Router
    private let scoreboard: ScoreboardRow
    private let log: Logger
    private let clock: Clock
    /// A request that takes at least this long counts as slow; nil: none does.
    private let slow: Duration?
    private let origins: AllowedOrigins
    private let services: EndpointServices?
    private let keys: HostKeys?
    /// nil: nothing is traced.
    private let trace: RequestTrace?
    /// False: the time for which a request waited for a worker is unknown.
    private let measuresWait: Bool
    /// The longest accepted wait; nil: no limit.
    private let maxWait: Duration?
    private let access: AccessLog?

    init(
        router: Router, scoreboard: ScoreboardRow, log: Logger, clock: @escaping Clock, slow: Duration?,
        origins: AllowedOrigins = AllowedOrigins(), services: EndpointServices? = nil, keys: HostKeys? = nil,
        trace: RequestTrace? = nil, measuresWait: Bool = false,
        maxWait: Duration? = nil, access: AccessLog? = nil
    ) {
        self.router = router
        self.scoreboard = scoreboard
        self.log = log
        self.clock = clock
        self.slow = slow
        self.origins = origins
        self.services = services
        self.keys = keys
        self.trace = trace
        self.measuresWait = measuresWait
        self.maxWait = maxWait
        self.access = access
    }

    func answer(_ request: Request) -> Response {
        let start = monotonicNow()
        let call = Call(request, now: clock())
        scoreboard.beginRequest(request.method, request.shownPath, at: start)
        LineLog.begin(request: call.requestID)
        defer { LineLog.begin(request: nil) }
        let waited = measuresWait ? request.waited(until: call.now) : nil
        if let waited { scoreboard.histogram(ApiTimings.wait).observe(Nanoseconds(waited) * 1_000_000) }
        var response = routed(call, waited)
        if response.status < 400 { services?.rememberWrite(call) }
        // Added also when no endpoint answered.
        if request.isTus { response.headers.append(("Tus-Resumable", TusEndpoints.version)) }
        response.headers.append(("X-Request-ID", call.requestID))
        response.headers += Protection.headers(beside: response) + origins.headers(request)
        // An answer is for one user, and valid only at this moment.
        if !response.headers.contains(where: { $0.name == "Cache-Control" || $0.name == "X-Accel-Redirect" }) {
            response.headers.append(("Cache-Control", "no-store"))
        }
        response.putPrefix(request.prefix)
        services?.countRest(of: response, call)
        keys?.record(call, status: response.status)
        if let command = call.command { response.headers.append(("traceparent", "\(TraceParent(of: command))")) }
        let end = monotonicNow()
        scoreboard.endRequest(status: response.status, bytes: response.body.count, at: end)
        scoreboard.histogram(ApiTimings.place(of: request.path)).observe(end - start)
        trace?.record(call, status: response.status, lasted: end - start)
        record(call, response, milliseconds: Double((end - start) / 1000) / 1000)
        access?.note(call, response, nanoseconds: end - start, waited: waited)
        return response
    }

    private func routed(_ call: Call, _ waited: Int?) -> Response {
        do throws(Refusal) {
            try shed(waited)
            if let answer = origins.preflight(call.request) { return answer }
            return try call.route(router)
        } catch {
            var response = Response.refusal(error, requestID: call.requestID)
            call.refusal = error.code
            if let methods = error.allow { response.headers.append(("Allow", methods)) }
            return response
        }
    }

    /// Refuses a request whose client has probably given up by now. Answering it would delay all later requests as
    /// much. `RetryAfter` grows with the wait so far.
    private func shed(_ waited: Int?) throws(Refusal) {
        guard let waited, let maxWait, .milliseconds(waited) > maxWait else { return }
        scoreboard.add(to: ApiCounter.shed.rawValue)
        throw Refusal(
            .busy, "the request waited too long for its turn; try again later", field: nil,
            retryAfterMilliseconds: min(max(waited, 1000), 10_000))
    }

    /// Answers a request that is too malformed to be read.
    func refuse(_ refusal: Refusal) -> Response {
        let id = UUID128.v7(at: clock()).description
        log.info("refused", metadata: ["reason": "\(refusal.message)", "request": "\(id)"])
        var response = Response.refusal(refusal, requestID: id)
        if refusal == .lengthRequired { response.status = 411 }
        response.headers += Protection.headers(beside: response) + [("Cache-Control", "no-store")]
        return response
    }

    /// Never logs the query: it may contain a token.
    private func record(_ call: Call, _ response: Response, milliseconds: Double) {
        let isSlow = slow.map { .milliseconds(milliseconds) >= $0 } ?? false
        let level: Logger.Level = response.status >= 500 ? .error : isSlow ? .warning : .info
        guard level >= log.logLevel else { return }
        var values: Logger.Metadata = [
            "status": .stringConvertible(response.status), "bytes": .stringConvertible(response.body.count),
            "ms": .stringConvertible(milliseconds),
            "request": "\(call.requestID)",
        ]
        if let user = call.user { values["user"] = "\(user)" }
        if let key = call.key { values["key"] = "\(key.name)" }
        log.log(
            level: level, "\(isSlow ? "slow " : "")\(call.request.method) \(call.request.shownPath)", metadata: values)
    }
}
