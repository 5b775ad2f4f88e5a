/// A token's claims about its user.
public struct UserClaims: Sendable, Hashable {
    public var user: UUID128
    public var externalID: String?
    public var name: String?
    public var avatar: String?
    /// Unix milliseconds at which the token was issued; 0: unknown.
    public var at: Int64

    /// Nil when there is nothing to store. A name or picture that no client could show is ignored: no token is
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
    /// Stores the claims that are new.
    ///
    /// - Returns: the users whose visible profile changed.
    func learn(_ claims: [UserClaims]) throws(StoreError) -> [UUID128]
    /// The users among `ids` that `user` may see, in the same order: `user` itself, and members of rooms that both are
    /// in now.
    ///
    /// - Parameter user: nil: the host application, which sees all known users.
    func users(_ ids: [UUID128], for user: UUID128?) throws(StoreError) -> [UserView]
    /// Users whose names have words that begin with these, by name; neither `user` nor deactivated ones.
    ///
    /// - Parameters:
    ///   - scope: ``UserSearch/rooms``: members of the 100 newest rooms of `user` that have at most 1000 members.
    ///     ``UserSearch/everybody``: of the first 5000 that are found, those who do not block `user`.
    ///   - user: nil: the host application, which may find everybody.
    func search(
        _ words: NameWords, _ scope: UserSearch, for user: UUID128?, limit: Int
    ) throws(StoreError) -> [UserView]
    /// Changes the given fields of a user, who need not be known yet.
    ///
    /// - Returns: the user, and whether the visible profile changed; nil: the Metadata is no longer ``UserPatch/base``,
    ///   and nothing was changed.
    func change(_ user: HostUser, _ patch: UserPatch) throws(StoreError) -> (UserView, isNews: Bool)?
}

/// Tells those who share rooms with a user how the user is described now.
public protocol UserNews: AnyObject {
    /// Best effort: a client that missed it sees it with the user's next message.
    func tell(_ users: [UUID128])
}

/// A user as the API shows them.
public struct UserView: WireShape, Sendable, Equatable {
    public var id: UUID128
    public var profile: Profile
    /// The text of a JSON object.
    public var metadata: String

    public init(id: UUID128, profile: Profile = Profile(), metadata: String = "{}") {
        self.id = id
        self.profile = profile
        self.metadata = metadata
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            profile.writeFields(as: id, to: &$0)
            $0.field("Metadata", (try? JSONReader.decode(Array(metadata.utf8))) ?? .map([]))
        }
    }
}

/// nil: stays as it is.
public struct UserPatch: Sendable, Equatable {
    public var name: String?
    public var avatar: String?
    public var metadata: String?
    /// A patch of the stored value; the result becomes `metadata`.
    public var merged: MetadataPatch?
    /// The value from which `metadata` was made; nil: replaces any value.
    public var base: String?

    public init(name: String? = nil, avatar: String? = nil, metadata: String? = nil) {
        self.name = name
        self.avatar = avatar
        self.metadata = metadata
    }
}
