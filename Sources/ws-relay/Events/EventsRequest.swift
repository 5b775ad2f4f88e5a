import ChatCore

/// A client's request at `/api/v1/events`: the frames of its rooms as Server-Sent Events, or, with `wait`, the next
/// frames as one answer.
struct EventsRequest: Equatable, Sendable {
    static let paths: Set<String> = ["/api/v1/events", "/events"]
    /// Seconds that a long poll may wait: less than proxies allow.
    static let waits: ClosedRange<UInt32> = 1...60
    private static let parameters: Set<String> = ["token", "ticket", "wait", "last_event_id"]

    /// A secret: never logged, and dropped once it is verified.
    let credential: Upgrade.Credential
    /// The client's address as a proxy names it.
    let forwardedFor: String?
    /// The client's position; nil: it begins.
    let cursor: EventCursor?
    /// Nil: a stream.
    let wait: UInt32?
    /// The page that may read the answer.
    private let origin: String?

    /// Throws an `HTTPRefusal`, or `RequestHead.Malformed`.
    init(_ head: RequestHead, origins: OriginRule) throws {
        guard head.method == "GET" else { throw HTTPRefusal.methodNotAllowed }
        guard let host = try head.only("host"), !host.isEmpty else { throw HTTPRefusal.malformed("no Host") }
        guard head.list("transfer-encoding").isEmpty, try head.only("content-length") ?? "0" == "0" else {
            throw HTTPRefusal.malformed("this request has no body")
        }
        let query = try Self.query(head.query)
        let origin = try head.only("origin")
        guard origins.admits(origin: origin, host: host) else { throw HTTPRefusal.forbiddenOrigin }
        let credential = try Self.credential(head, query)
        if let credential {
            (self.credential, self.origin) = (credential, origin)
        } else if let cookie = try Self.cookie(head) {
            // The cookie is only for our own pages, even if the list names other origins.
            guard origins.isOwn(origin: origin, host: host) else { throw HTTPRefusal.forbiddenOrigin }
            (self.credential, self.origin) = (.token(cookie), nil)
        } else {
            throw HTTPRefusal.unauthorized
        }
        forwardedFor = try head.only("x-real-ip")
        wait = try query["wait"].map(Self.seconds)
        cursor = try Self.cursor(head, query)
    }

    private static func query(_ text: String) throws -> [String: String] {
        var found: [String: String] = [:]
        for (name, value) in try QueryString.pairs(text) {
            guard parameters.contains(where: { areSameBytes($0, name) }) else {
                throw HTTPRefusal.invalid(field: name, "this address has no such parameter")
            }
            guard found.updateValue(value, forKey: name) == nil else {
                throw HTTPRefusal.invalid(field: name, "is given twice")
            }
        }
        return found
    }

    private static func credential(_ head: RequestHead, _ query: [String: String]) throws -> Upgrade.Credential? {
        if let value = try head.only("authorization") {
            guard let token = Upgrade.bearerToken(value), !token.isEmpty else { return nil }
            return .token(token)
        }
        if let token = query["token"], !token.isEmpty { return .token(token) }
        if let ticket = query["ticket"], !ticket.isEmpty { return .ticket(ticket) }
        return nil
    }

    /// The cookie of `POST /session`: a browser sends it by itself, also when it reconnects.
    private static func cookie(_ head: RequestHead) throws -> String? {
        guard let token = SessionCookie.token(in: try head.only("cookie")), !token.isEmpty else { return nil }
        return token
    }

    private static func seconds(_ text: String) throws -> UInt32 {
        guard text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt32(text), waits.contains(number)
        else { throw HTTPRefusal.invalid(field: "wait", "is a number of seconds from 1 to 60") }
        return number
    }

    /// The header, which a browser sends when it reconnects, is newer than the parameter in the address.
    private static func cursor(_ head: RequestHead, _ query: [String: String]) throws -> EventCursor? {
        let header = try head.only("last-event-id") ?? ""
        let text = header.isEmpty ? query["last_event_id"] ?? "" : header
        guard !text.isEmpty else { return nil }
        guard let cursor = EventCursor(id: text) else {
            throw HTTPRefusal.invalid(
                field: header.isEmpty ? "last_event_id" : "Last-Event-ID", "is not an event's id")
        }
        return cursor
    }

    /// The answer's head, before the events.
    var streamHead: [UInt8] {
        Array(
            (["HTTP/1.1 200 OK", "Content-Type: text/event-stream; charset=utf-8"] + headers).joined(separator: "\r\n")
                .utf8)
            + Array("\r\n\r\nretry: 1000\n\n".utf8)
    }

    /// Headers of a stream and of the answer to a long poll.
    var headers: [String] { ["Cache-Control: no-store", "X-Accel-Buffering: no", "Connection: close"] + pageHeaders }

    var pageHeaders: [String] { origin.map(Self.pageHeaders) ?? [] }

    private static func pageHeaders(_ origin: String) -> [String] {
        ["Access-Control-Allow-Origin: \(origin)", "Access-Control-Expose-Headers: Retry-After", "Vary: Origin"]
    }

    /// Browsers ask before a page of another origin may send `Authorization`. The token is the protection.
    static func preflight(_ head: RequestHead, origins: OriginRule) throws -> [UInt8]? {
        guard head.method == "OPTIONS", let origin = try head.only("origin"),
            try head.only("access-control-request-method") != nil
        else { return nil }
        guard origins.admits(origin: origin, host: try head.only("host")) else { throw HTTPRefusal.forbiddenOrigin }
        let lines =
            ["HTTP/1.1 204 No Content"] + pageHeaders(origin) + [
                "Access-Control-Allow-Methods: GET", "Access-Control-Max-Age: 7200",
                "Access-Control-Allow-Headers: Authorization, Last-Event-ID, Cache-Control, X-Request-ID",
                "Connection: close", "", "",
            ]
        return Array(lines.joined(separator: "\r\n").utf8)
    }
}
