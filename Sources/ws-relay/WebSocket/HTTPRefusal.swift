import ChatCore

/// All HTTP answers of this relay except the upgrade, in the error envelope of the REST API.
enum HTTPRefusal: Error, Equatable, Sendable {
    case malformed(String)
    /// A parameter or header of this name.
    case invalid(field: String, String)
    case unauthorized
    case forbiddenOrigin
    case notFound
    case methodNotAllowed
    case headTimedOut
    case upgradeRequired
    /// Too many connections, of this user or in a short time; seconds until a retry makes sense.
    case tooMany(retryAfter: Int)
    /// A long poll that a newer connection replaced.
    case replaced
    /// A long poll of a user with more rooms than an id names.
    case tooManyRooms
    /// The relay is full, starting or ending.
    case unavailable(retryAfter: Int)

    private var parts: (status: String, code: String, message: String, headers: [String]) {
        switch self {
        case .malformed(let why): ("400 Bad Request", "malformed", why, [])
        case .invalid(let field, let why): ("400 Bad Request", "malformed", "\(field): \(why)", [])
        case .unauthorized:
            ("401 Unauthorized", "unauthorized", "a valid token is needed", ["WWW-Authenticate: Bearer"])
        case .forbiddenOrigin: ("403 Forbidden", "forbidden", "pages of this origin may not connect", [])
        case .notFound: ("404 Not Found", "not_found", "there is nothing here", [])
        case .methodNotAllowed: ("405 Method Not Allowed", "method_not_allowed", "only GET", ["Allow: GET"])
        case .headTimedOut: ("408 Request Timeout", "timeout", "the request took too long to arrive", [])
        case .upgradeRequired:
            (
                "426 Upgrade Required", "upgrade_required", "this is a WebSocket of version 13",
                ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
            )
        case .tooMany(let wait):
            ("429 Too Many Requests", "rate_limited", "too many connections", ["Retry-After: \(wait)"])
        case .replaced:
            ("409 Conflict", "conflict", "a newer connection of this user took this one's place", [])
        case .tooManyRooms:
            (
                "409 Conflict", ErrorCode.tooManyRooms.rawValue,
                "long polls are for users of at most \(EventCursor.maxRooms) rooms: use a WebSocket or a stream", []
            )
        case .unavailable(let wait):
            ("503 Service Unavailable", "unavailable", "the relay accepts no sockets now", ["Retry-After: \(wait)"])
        }
    }

    var status: Int { Int(parts.status.prefix(3)) ?? 500 }

    /// The caller has checked or made `requestID`.
    func answer(requestID: String, _ more: [String] = []) -> [UInt8] {
        let (status, code, message, headers) = parts
        var body = JSONWriter()
        body.map {
            $0.field("Success", false)
            $0.map("Error") {
                $0.field("Code", code)
                $0.field("Message", message)
                if case .invalid(let field, _) = self { $0.field("Field", field) }
            }
            $0.field("RequestID", requestID)
        }
        return Self.response(status, body.take(), headers + more + ["X-Request-ID: \(requestID)", "Connection: close"])
    }

    static let healthy = response(
        "200 OK", Array(#"{"Success":true,"Data":{"Status":"ok"}}"#.utf8), ["Connection: close"])

    /// To a balancer that asks before it sends clients.
    static let draining = response(
        "503 Service Unavailable", Array(#"{"Success":false,"Data":{"Status":"draining"}}"#.utf8),
        ["Retry-After: 5", "Connection: close"])

    static func response(_ status: String, _ body: [UInt8], _ headers: [String]) -> [UInt8] {
        let lines =
            ["HTTP/1.1 \(status)", "Content-Type: application/json", "Content-Length: \(body.count)"] + headers + [
                "", "",
            ]
        return Array(lines.joined(separator: "\r\n").utf8) + body
    }
}
