/// A revocation of tokens before they expire.
public struct Revocation: Sendable, Equatable {
    public enum Subject: Sendable, Equatable {
        /// The token with this `jti`.
        case token(String)
        /// All tokens of a user that were issued before this Unix millisecond, or have no `iat`.
        case user(UUID128, before: Int64)
    }

    public var subject: Subject
    /// Unix millisecond of the revocation.
    public var at: Int64

    public init(_ subject: Subject, at: Int64) {
        self.subject = subject
        self.at = at
    }
}

/// All revocations that this process knows.
public struct RevocationList: Sendable {
    /// A revocation may become visible this much later than its stored time.
    private static let overlap = Duration.seconds(10)

    private var tokens: Set<String> = []
    private var users: [UUID128: Int64] = [:]
    private var newest: Int64?

    public init() {}

    /// Read again from this time on; nil: from the beginning.
    public var since: Int64? { newest.map { $0 - RevocationList.overlap.milliseconds } }

    /// - Returns: the revocations that are new.
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
