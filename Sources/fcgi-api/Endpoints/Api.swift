import ChatCore
import ChatProcess
import Logging

/// Answers requests: routes them, wraps refusals in their envelope, counts and logs.
final class Api {
    private let router: Router
    private let scoreboard: ScoreboardRow
    private let log: Logger
    private let clock: Clock
    /// Milliseconds from which a request counts as slow; 0: never.
    private let slow: Int
    private let origins: AllowedOrigins
    private let doors: Doors?
    private let keys: HostKeys?
    /// nil: nothing is traced.
    private let trace: RequestTrace?

    init(
        router: Router, scoreboard: ScoreboardRow, log: Logger, clock: @escaping Clock, slow: Int,
        origins: AllowedOrigins = AllowedOrigins(), doors: Doors? = nil, keys: HostKeys? = nil,
        trace: RequestTrace? = nil
    ) {
        self.router = router
        self.scoreboard = scoreboard
        self.log = log
        self.clock = clock
        self.slow = slow
        self.origins = origins
        self.doors = doors
        self.keys = keys
        self.trace = trace
    }

    func answer(_ request: Request) -> Response {
        let start = monotonicNow()
        let call = Call(request, now: clock())
        scoreboard.beginRequest(request.method, request.shownPath, at: start)
        LineLog.begin(request: call.requestID)
        defer { LineLog.begin(request: nil) }
        var response: Response
        do throws(Refusal) {
            if let answer = origins.preflight(request) {
                response = answer
            } else {
                response = try call.route(router)
            }
        } catch {
            response = .refusal(error, requestID: call.requestID)
            call.refusal = error.code
            if let methods = error.allow { response.headers.append(("Allow", methods)) }
        }
        // Added also when no endpoint answered.
        if request.isTus { response.headers.append(("Tus-Resumable", TusEndpoints.version)) }
        response.headers.append(("X-Request-ID", call.requestID))
        response.headers += Protection.headers(beside: response) + origins.headers(request)
        // An answer is one user's, and true at this moment only.
        if !response.headers.contains(where: { $0.name == "Cache-Control" || $0.name == "X-Accel-Redirect" }) {
            response.headers.append(("Cache-Control", "no-store"))
        }
        response.putPrefix(request.prefix)
        doors?.countRest(of: response, call)
        keys?.record(call, status: response.status)
        if let command = call.command { response.headers.append(("traceparent", "\(TraceParent(of: command))")) }
        let end = monotonicNow()
        scoreboard.endRequest(status: response.status, bytes: response.body.count, at: end)
        scoreboard.histogram(ApiTimings.place(of: request.path)).observe(end - start)
        trace?.record(call, status: response.status, lasted: end - start)
        record(call, response, milliseconds: Double((end - start) / 1000) / 1000)
        return response
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
        let isSlow = slow > 0 && milliseconds >= Double(slow)
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
