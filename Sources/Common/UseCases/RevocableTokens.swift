/// Verifies tokens and refuses revoked ones.
public final class RevocableTokens: TokenVerifier {
    /// The list is read again after this time: half of the promised delay.
    public static let freshness = Duration.milliseconds(500)

    private let tokens: any TokenVerifier
    private let store: (any RevocationStore)?
    private let clock: Clock
    private var list = RevocationList()
    private var asked: Int64 = .min

    /// - Parameter store: read when the list is older than ``freshness``; nil: the owner calls `learn`.
    public init(_ tokens: any TokenVerifier, store: (any RevocationStore)? = nil, clock: @escaping Clock = systemClock)
    {
        self.tokens = tokens
        self.store = store
        self.clock = clock
    }

    public func verify(_ token: String) throws(Refusal) -> Identity {
        let identity = try tokens.verify(token)
        try check(identity)
        return identity
    }

    /// Checks an identity that was verified earlier.
    public func check(_ identity: Identity) throws(Refusal) {
        refresh()
        guard !list.covers(identity) else { throw Refusal(.unauthorized, "the token was revoked") }
    }

    /// The time from which to read next.
    public var since: Int64? { list.since }

    /// - Returns: the revocations that are new.
    public func learn(_ revocations: [Revocation]) -> [Revocation] { list.add(revocations) }

    /// While the store is unavailable the known list stays valid: nothing can be revoked then.
    private func refresh() {
        guard let store, clock() &- asked >= Self.freshness.milliseconds || asked == .min else { return }
        asked = clock()
        if let news = try? store.revocations(since: list.since) { _ = list.add(news) }
    }
}
