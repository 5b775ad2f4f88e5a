import ChatCore

/// Makes the span of each recorded request, after its answer.
struct RequestTrace {
    let tracer: Tracer
    let pool: String
    /// Nanoseconds.
    var unixClock = unixNanoseconds

    private static let methods: Set = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    /// A longer wait means that the clock was changed.
    private static let longestWait = Duration.seconds(3600)

    /// - Parameter lasted: nanoseconds.
    func record(_ call: Call, status: Int, lasted: Int64) {
        let parent = call.traceParent
        let trace = call.span?.trace ?? parent?.trace ?? UUID128(high: Span.newID(), low: Span.newID())
        guard call.span?.isSampled ?? tracer.sampler.records(trace, parent: parent?.isSampled) else { return }
        let end = unixClock()
        let method = Self.methods.contains(call.request.method) ? call.request.method : "_OTHER"
        var attributes: [Span.Attribute] = [
            .init("http.request.method", .text(method)), .init("http.response.status_code", .number(Int64(status))),
            .init("chat.pool", .text(pool)),
        ]
        // The address is left out: it contains ids of users, which may be names.
        if let operation = call.operation { attributes.append(.init("http.route", .text(operation.route))) }
        if let wait = wait(call.request, before: end - lasted) {
            attributes.append(.init("chat.queue_wait_ms", .number(wait)))
        }
        if let command = call.command { attributes.append(.init("chat.command.id", .text(command.description))) }
        if let code = call.refusal { attributes.append(.init("error.type", .text(code.rawValue))) }
        tracer.outlet.put([
            Span(
                trace: trace, id: call.span?.span ?? Span.newID(), parent: parent?.span, isParentRemote: parent != nil,
                name: call.operation?.name ?? method, kind: .server, start: end - lasted, end: end,
                attributes: attributes, hasFailed: status >= 500)
        ])
    }

    /// Milliseconds from the web server's time stamp until a worker took the request; nil: there is no time stamp.
    private func wait(_ request: Request, before start: Int64) -> Int64? {
        guard let text = request.parameter("CHAT_SENT"), let seconds = Double(text), seconds > 0, seconds < 1e11 else {
            return nil
        }
        return min(Self.longestWait.milliseconds, max(0, start / 1_000_000 - Int64(seconds * 1000)))
    }
}
