/// Every code that a client can see, over REST (`Error.Code`) and WebSocket (`Error`: code, colon, sentence).
/// A code never changes its meaning; new ones may come.
public enum ErrorCode: String, Sendable, CaseIterable {
    // The form of a request.
    case malformed
    case unknownType = "unknown_type"
    case invalid
    case tooLarge = "too_large"
    case quotaExceeded = "quota_exceeded"
    /// A scanner found something in a file.
    case infected
    case unsupportedMediaType = "unsupported_media_type"
    case methodNotAllowed = "method_not_allowed"
    /// A tus client of another version.
    case unsupportedVersion = "unsupported_version"
    case checksumMismatch = "checksum_mismatch"
    // Who asks.
    case unauthorized
    case tokenExpired = "token_expired"
    // What they may. A room that is not there and one that is not theirs look the same.
    case notAMember = "not_a_member"
    case notFound = "not_found"
    case messageNotFound = "message_not_found"
    case forbidden
    case blocked
    case muted
    case banned
    /// The host application does not let the message be stored; the sentence is its reason.
    case rejected
    // The state of things.
    case conflict
    case roomFull = "room_full"
    case gone
    /// Another request changes it at this moment.
    case locked
    // Load and outages: try again after the given time.
    case rateLimited = "rate_limited"
    case busy
    case unavailable
    case internalError = "internal"

    /// The HTTP status that REST answers with.
    public var status: Int {
        switch self {
        case .malformed, .unknownType: 400
        case .unauthorized, .tokenExpired: 401
        case .forbidden, .blocked, .muted, .banned: 403
        case .notAMember, .notFound, .messageNotFound: 404
        case .methodNotAllowed: 405
        case .conflict, .roomFull: 409
        case .gone: 410
        case .unsupportedVersion: 412
        case .tooLarge, .quotaExceeded: 413
        case .unsupportedMediaType: 415
        case .invalid, .checksumMismatch, .infected, .rejected: 422
        case .locked: 423
        case .rateLimited: 429
        case .internalError: 500
        case .busy, .unavailable: 503
        }
    }
}

/// Why a request changes nothing: a stable code and a sentence for its sender.
public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: ErrorCode
    public var message: String
    /// The field that is wrong, where one is.
    public var field: String?
    /// Seconds after which another try makes sense (429 and 503).
    public var retryAfter: Int?

    public init(_ code: ErrorCode, _ message: String, field: String? = nil, retryAfter: Int? = nil) {
        self.code = code
        self.message = message
        self.field = field
        self.retryAfter = retryAfter
    }

    public var description: String { text }
    /// As WebSocket's `Error` says it.
    public var text: String { "\(code.rawValue): \(message)" }

    public static let notAMember = Refusal(.notAMember, "you are not a member of this room")
    public static let messageNotFound = Refusal(.messageNotFound, "there is no such message that you may see")

    public static func invalid(_ field: String, _ message: String) -> Refusal {
        Refusal(.invalid, "\(field) \(message)", field: field)
    }

    public static func busy(_ what: String) -> Refusal {
        Refusal(.busy, "\(what); try again in a second", retryAfter: 1)
    }

    public static func unavailable(_ what: String) -> Refusal {
        Refusal(.unavailable, "\(what) cannot be reached; try again in a few seconds", retryAfter: 3)
    }
}

extension Refusal {
    /// Reads the `Error` of an answer: code, colon, sentence.
    public init(answer text: String) {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2, let code = ErrorCode(rawValue: String(parts[0])) else {
            self = Refusal(.internalError, "the answer could not be read")
            return
        }
        let again = code == .busy || code == .unavailable || code == .rateLimited
        self = Refusal(code, String(parts[1].drop { $0 == " " }), retryAfter: again ? 1 : nil)
    }
}
