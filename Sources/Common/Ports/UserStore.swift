/// A token's claims about its bearer.
public struct UserClaims: Sendable, Hashable {
    public var user: UUID128
    public var externalID: String?
    public var name: String?
    public var avatar: String?
    /// Unix milliseconds at which the token was issued; 0: it does not say.
    public var at: Int64

    /// Nil when there is nothing to keep. A name or picture that no client could show is passed over: no token is
    /// refused for it.
    public init?(_ identity: Identity) {
        user = identity.user
        externalID = identity.externalID
        name = identity.name.flatMap { Profile.isName($0) ? $0 : nil }
        avatar = identity.avatar.flatMap { Profile.isAvatar($0) ? $0 : nil }
        at = identity.issuedAt ?? 0
        if externalID == nil, name == nil, avatar == nil { return nil }
    }
}

/// Users as the host application describes them.
public protocol UserStore: AnyObject {
    /// Keeps what tokens say, where it is news.
    ///
    /// - Returns: the users whose profile is another one than before.
    func learn(_ claims: [UserClaims]) throws(StoreError) -> [UUID128]
}
