/// All codes that a client can receive, over REST (`Error.Code`) and WebSocket (`Error`: code, colon, sentence). A code
/// never changes its meaning; new ones may be added.
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
    // Authentication.
    case unauthorized
    case tokenExpired = "token_expired"
    // Permission. A room that does not exist and one that the user may not see give the same answer.
    case notAMember = "not_a_member"
    case notFound = "not_found"
    case messageNotFound = "message_not_found"
    case forbidden
    case blocked
    case muted
    /// The next message in this room must wait.
    case slowMode = "slow_mode"
    case banned
    /// The host application rejected the message; the sentence is its reason.
    case rejected
    // Conflicts with the current state.
    case conflict
    /// The Sign or Idempotency-Key was used before, for a different request.
    case idempotencyMismatch = "idempotency_mismatch"
    case roomFull = "room_full"
    case tooManyRooms = "too_many_rooms"
    case gone
    /// Another request is changing it at this moment.
    case locked
    /// The search exceeded its time limit: rarer words, or a single room, make it faster.
    case searchTooSlow = "search_too_slow"
    // Load and outages: retry after the given time.
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
        case .conflict, .roomFull, .tooManyRooms: 409
        case .gone: 410
        case .unsupportedVersion: 412
        case .tooLarge, .quotaExceeded: 413
        case .unsupportedMediaType: 415
        case .invalid, .idempotencyMismatch, .checksumMismatch, .infected, .rejected, .searchTooSlow: 422
        case .locked: 423
        case .rateLimited, .slowMode: 429
        case .internalError: 500
        case .busy, .unavailable: 503
        }
    }
}

/// The reason why a request changes nothing: a stable code and a sentence for its sender.
public struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
    public var code: ErrorCode
    public var message: String
    /// The field at fault, if there is one.
    public var field: String?
    /// Milliseconds after which a retry makes sense (429, 503, `muted`).
    public var retryAfterMilliseconds: Int?

    /// The same in whole seconds, rounded up.
    public var retryAfter: Int? { retryAfterMilliseconds.map { $0 / 1000 + ($0 % 1000 > 0 ? 1 : 0) } }

    /// - Parameter retryAfter: seconds.
    public init(_ code: ErrorCode, _ message: String, field: String? = nil, retryAfter: Int? = nil) {
        self.init(code, message, field: field, retryAfterMilliseconds: retryAfter.map { $0 * 1000 })
    }

    public init(_ code: ErrorCode, _ message: String, field: String? = nil, retryAfterMilliseconds: Int?) {
        self.code = code
        self.message = message
        self.field = field
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }

    public var description: String { text }
    /// The form of the WebSocket's `Error`.
    public var text: String { "\(code.rawValue): \(message)" }

    public static let notAMember = Refusal(.notAMember, "you are not a member of this room")
    public static let messageNotFound = Refusal(.messageNotFound, "there is no such message that you may see")

    public static func invalid(_ field: String, _ message: String) -> Refusal {
        Refusal(.invalid, "\(field) \(message)", field: field)
    }

    public static let otherRequest = Refusal(
        .idempotencyMismatch, "this Sign belongs to another request: use a new one", field: "Sign")

    public static func busy(_ what: String) -> Refusal {
        Refusal(.busy, "\(what); try again in a second", retryAfter: 1)
    }

    public static func unavailable(_ what: String) -> Refusal {
        Refusal(.unavailable, "\(what) cannot be reached; try again in a few seconds", retryAfter: 3)
    }
}

extension Refusal {
    /// Reads the `Error` of an answer: code, colon, sentence.
    ///
    /// - Parameters:
    ///   - field: its `Field`.
    ///   - wait: its `RetryAfter`. Older programs do not write these two.
    public init(answer text: String, field: String? = nil, retryAfterMilliseconds wait: Int64? = nil) {
        let parts = text.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1).map { Substring($0) }
        guard parts.count == 2, let code = ErrorCode(rawValue: String(parts[0])) else {
            self = Refusal(.internalError, "the answer could not be read")
            return
        }
        let again = code == .busy || code == .unavailable || code == .rateLimited
        self = Refusal(
            code, String(Substring(parts[1].utf8.drop { $0 == 0x20 })), field: field,
            retryAfterMilliseconds: wait.map { Int(clamping: max($0, 0)) } ?? (again ? 1000 : nil))
    }
}
