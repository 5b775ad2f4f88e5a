/// A link into a room: anyone with its token may join until it expires, is used up or is revoked. Times are Unix
/// milliseconds.
public struct Invitation: Sendable, Equatable {
    /// The id of the command that created it.
    public var id: UUID128
    public var roomID: UUID128
    /// The secret in the link: it grants entry to the room. Only OWNER and ADMIN see it, and no frame contains it.
    public var token: String
    public var createdBy: UUID128
    /// The creator's Idempotency-Key.
    public var sign: String?
    /// nil: never.
    public var expiresAt: Int64?
    /// How many users may join by it; nil: unlimited.
    public var maxUses: Int?
    public var uses: Int
    public var createdAt: Int64
    public var revokedAt: Int64?

    public init(
        id: UUID128, roomID: UUID128, token: String, createdBy: UUID128, sign: String? = nil, expiresAt: Int64? = nil,
        maxUses: Int? = nil, uses: Int = 0, createdAt: Int64, revokedAt: Int64? = nil
    ) {
        self.id = id
        self.roomID = roomID
        self.token = token
        self.createdBy = createdBy
        self.sign = sign
        self.expiresAt = expiresAt
        self.maxUses = maxUses
        self.uses = uses
        self.createdAt = createdAt
        self.revokedAt = revokedAt
    }

    /// The reason why nobody can join by it any more; nil while users can.
    func ended(at now: Int64) -> String? {
        if revokedAt != nil { return "the invitation was revoked" }
        if let expiresAt, expiresAt <= now { return "the invitation has expired" }
        if let maxUses, uses >= maxUses { return "the invitation is used up" }
        return nil
    }
}

/// An invitation as its creator requests it.
public struct InvitationDraft: Sendable, Equatable {
    public var token: String
    public var expiresAt: Int64?
    public var maxUses: Int?

    public init(token: String, expiresAt: Int64? = nil, maxUses: Int? = nil) {
        self.token = token
        self.expiresAt = expiresAt
        self.maxUses = maxUses
    }
}
