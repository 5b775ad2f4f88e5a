import ChatCore

/// One request during its handling, with its user and its log id.
final class Call {
    let request: Request
    let requestID: String
    /// The time of its arrival in this worker.
    let now: Int64
    fileprivate(set) var values: [String: String] = [:]
    /// Set by `EndpointServices.user(_:)`; for the access log.
    var user: UUID128?
    /// The host application acts for `user`: no rate limit applies.
    var isHost = false
    /// The host's key by which the request was admitted.
    var key: ServerKey?
    /// The user that the key's request names.
    var hosted: HostUser?
    /// The identity that the host application knows by the request's cookies.
    var session: Identity?
    /// The user for whom the request was made, for the audit log.
    var onBehalf: UUID128?
    /// The route that takes it; nil: none was found yet.
    var operation: Operation?
    /// The host's own ids of users that the request names.
    private(set) var names: [UUID128: String] = [:]
    /// Whether a rate has counted the request: each counts once.
    var isCounted = false
    /// Whether it counts as a read: then the bytes of its answer count too.
    var isRead = false
    /// The command that the request became.
    var command: UUID128?
    /// The span of this request, once it is known; with tracing only.
    private(set) var span: TraceParent?
    /// The code of the refusal that answers it.
    var refusal: ErrorCode?

    init(_ request: Request, now: Int64) {
        self.request = request
        self.now = now
        requestID = Call.accepted(request.header("x-request-id")) ?? UUID128.v7(at: now).description
    }

    func route(_ router: Router) throws(Refusal) -> Response {
        let (handle, values) = try router.find(request.method, request.path)
        self.values = values
        return try handle(self)
    }

    /// A UUID from a `{…}` of the path. Other text names nothing, so it gives 404.
    func uuid(_ name: String) throws(Refusal) -> UUID128 {
        guard let id = values[name].flatMap({ UUID128($0) }) else {
            throw Refusal(.notFound, "the address contains something that is not a UUID", field: name)
        }
        return id
    }

    /// A `{…}` of the path that is a user in either form.
    func userID(_ name: String) throws(Refusal) -> UUID128 { note(try RequestFields.user(text(name), name)) }

    /// The users of a list, in either form; each user once.
    func userIDs(_ fields: RequestFields, _ key: String, limit: Int = 1000) throws(Refusal) -> [UUID128] {
        try fields.users(key, limit: limit).map(note)
    }

    /// Remembers how the host names a user, for the command that the request becomes.
    func note(_ user: HostUser) -> UUID128 {
        if let name = user.externalID { names[user.id] = name }
        return user.id
    }

    /// The client's place in a trace.
    var traceParent: TraceParent? { request.header("traceparent").flatMap { TraceParent($0) } }

    /// Gives the request its span, which is the parent of the command's. A client's trace is continued; otherwise the
    /// first command gives the trace its id.
    func trace(_ command: inout Command, _ sampler: TraceSampler) {
        if let span {
            command.trace = span
        } else if let parent = traceParent {
            let isSampled = sampler.records(parent.trace, parent: parent.isSampled)
            span = TraceParent(trace: parent.trace, span: command.id.low | 1, isSampled: isSampled)
            command.trace = span
        } else {
            span = TraceParent(of: command.id, isSampled: sampler.records(command.id))
        }
    }

    func text(_ name: String) -> String { values[name] ?? "" }

    /// `Idempotency-Key` is the `Sign` of a request whose body has none. Libraries and proxies add that header by
    /// themselves: a `Sign` in the body is the one that was meant.
    func sign(_ fields: RequestFields) throws(Refusal) -> String? {
        let key = request.header("idempotency-key")
        if let key { try RequestFields.check(sign: key, field: "Idempotency-Key") }
        return try fields.sign() ?? key
    }

    /// Another program's id is accepted when it is safe in a log and a header.
    private static func accepted(_ id: String?) -> String? {
        guard let id, (1...64).contains(id.utf8.count) else { return nil }
        let plain = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return plain ? id : nil
    }
}
