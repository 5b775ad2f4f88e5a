/// The identity that a token proves.
public struct Identity: Sendable, Equatable {
    public var user: UUID128
    /// Unix seconds.
    public var expiresAt: Int64
    /// Unix milliseconds.
    public var issuedAt: Int64?
    public var tokenID: String?
    public var name: String?
    /// The token's `sub`, if it is not a UUID.
    public var externalID: String?
    /// The token's `picture`.
    public var avatar: String?

    public init(
        user: UUID128, expiresAt: Int64, issuedAt: Int64? = nil, tokenID: String? = nil, name: String? = nil,
        externalID: String? = nil, avatar: String? = nil
    ) {
        self.user = user
        self.expiresAt = expiresAt
        self.issuedAt = issuedAt
        self.tokenID = tokenID
        self.name = name
        self.externalID = externalID
        self.avatar = avatar
    }
}
