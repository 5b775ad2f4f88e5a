/// The rights of a key of the host application; each scope includes those before it.
public enum KeyScope: Int16, Sendable, CaseIterable, Comparable {
    /// Reads as any user.
    case read = 1
    /// Does what users do, as any user.
    case write
    /// Removes rooms and members without being one of them.
    case moderate
    /// Erases for good, and reads the audit log.
    case admin

    /// The name on the command line and in answers.
    public var name: String {
        switch self {
        case .read: "read"
        case .write: "write"
        case .moderate: "moderate"
        case .admin: "admin"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    public static func < (a: KeyScope, b: KeyScope) -> Bool { a.rawValue < b.rawValue }
}

/// A key of the host application, without its text.
public struct ServerKey: Sendable, Equatable {
    /// The beginning of every key's text; no JWT begins like this.
    public static let prefix = "chk_"
    /// Hexadecimal digits behind the prefix: 256 random bits.
    public static let digits = 64
    /// Keys that are valid at the same time.
    public static let limit = 100

    public var name: String
    public var scope: KeyScope
    /// Unix milliseconds.
    public var createdAt: Int64
    public var revokedAt: Int64?

    public init(name: String, scope: KeyScope, createdAt: Int64 = 0, revokedAt: Int64? = nil) {
        self.name = name
        self.scope = scope
        self.createdAt = createdAt
        self.revokedAt = revokedAt
    }

    /// 1 to 64 letters, digits, `.`, `_` and `-`.
    public static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "._-".utf8.contains(byte)
                }
            }
    }

    /// Whether the text has the form of a key, known or not.
    public static func isText(_ text: String) -> Bool {
        text.utf8.count == prefix.utf8.count + digits && text.utf8.starts(with: prefix.utf8)
            && text.utf8.dropFirst(prefix.utf8.count).allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): true
                default: false
                }
            }
    }
}

/// One entry of the audit log: a request that was made with a key.
public struct AuditEntry: Sendable, Equatable {
    /// Grows with each entry; 0: not stored yet.
    public var id: Int64
    /// Unix milliseconds.
    public var at: Int64
    /// The key's name.
    public var key: String
    /// Method and pattern of the route.
    public var operation: String
    public var path: String
    /// The user for whom it was done.
    public var user: UUID128?
    /// The host's own id of that user, if it is known.
    public var externalID: String?
    /// The answer's HTTP status.
    public var status: Int
    public var requestID: String

    public init(
        id: Int64 = 0, at: Int64 = 0, key: String, operation: String, path: String, user: UUID128?,
        externalID: String? = nil, status: Int, requestID: String
    ) {
        self.id = id
        self.at = at
        self.key = key
        self.operation = operation
        self.path = path
        self.user = user
        self.externalID = externalID
        self.status = status
        self.requestID = requestID
    }
}
