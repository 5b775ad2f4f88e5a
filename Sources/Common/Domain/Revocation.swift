/// Tokens that are no longer good although their time is not over.
public struct Revocation: Sendable, Equatable {
    public enum Subject: Sendable, Equatable {
        /// The one with this `jti`.
        case token(String)
        /// All of a user's that were issued before this Unix millisecond, or do not tell when.
        case user(UUID128, before: Int64)
    }

    public var subject: Subject
    /// Unix millisecond at which it was made.
    public var at: Int64

    public init(_ subject: Subject, at: Int64) {
        self.subject = subject
        self.at = at
    }
}

/// All revocations that a process knows.
public struct RevocationList: Sendable {
    /// Milliseconds: what is stored with an earlier time may become visible later by so much.
    private static let overlap: Int64 = 10_000

    private var tokens: Set<String> = []
    private var users: [UUID128: Int64] = [:]
    private var newest: Int64?

    public init() {}

    /// The time from which on there may be more; nil at the beginning.
    public var since: Int64? { newest.map { $0 - RevocationList.overlap } }

    /// - Returns: those that were not known.
    public mutating func add(_ revocations: [Revocation]) -> [Revocation] {
        revocations.filter { revocation in
            newest = max(newest ?? .min, revocation.at)
            switch revocation.subject {
            case .token(let id): return tokens.insert(id).inserted
            case .user(let user, let before):
                guard before > users[user] ?? .min else { return false }
                users[user] = before
                return true
            }
        }
    }

    public func covers(_ identity: Identity) -> Bool {
        if let id = identity.tokenID, tokens.contains(id) { return true }
        guard let before = users[identity.user] else { return false }
        return identity.issuedAt.map { $0 < before } ?? true
    }
}
