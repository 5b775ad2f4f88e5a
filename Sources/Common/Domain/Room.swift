public enum RoomType: Int16, Sendable, CaseIterable {
    case privateRoom = 1
    case group = 2
    case channel = 3

    /// The name on the wire.
    public var name: String {
        switch self {
        case .privateRoom: "PRIVATE"
        case .group: "GROUP"
        case .channel: "CHANNEL"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

public enum Role: Int16, Sendable, CaseIterable, Comparable {
    case member = 1
    case admin = 2
    case owner = 3

    public var name: String {
        switch self {
        case .member: "MEMBER"
        case .admin: "ADMIN"
        case .owner: "OWNER"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }

    public static func < (a: Role, b: Role) -> Bool { a.rawValue < b.rawValue }
}

/// A room as it is stored. Times are Unix milliseconds.
public struct Room: Sendable, Equatable {
    public var id: UUID128
    public var type: RoomType
    public var name: String
    public var description: String
    public var avatar: String
    public var ownerID: UUID128
    public var memberCount: Int
    /// The room's own member limit; nil: the limit set for its type.
    public var memberLimit: Int?
    /// Slow mode: a MEMBER may send one message in so many seconds; 0: off.
    public var slowModeSeconds: Int
    /// The Seq of the room's newest change; 0 after its creation.
    public var lastSeq: Int64
    /// Users' messages ever sent here: unread counts are subtracted from this number.
    public var messageCount: Int64
    /// The Seq of the newest message; 0: none.
    public var lastMessageSeq: Int64
    public var lastActivityAt: Int64
    public var createdAt: Int64
    /// The creator; stays the same when the room changes its owner.
    public var createdBy: UUID128
    /// The creator's Idempotency-Key.
    public var createdSign: String?
    public var deletedAt: Int64?
    /// A changed epoch means that a part of the history was lost and that Seqs were given a second time.
    public var epoch: Int64
    public var metadata: Metadata?

    public init(
        id: UUID128, type: RoomType, name: String = "", description: String = "", avatar: String = "",
        ownerID: UUID128, memberCount: Int = 0, memberLimit: Int? = nil, lastSeq: Int64 = 0, messageCount: Int64 = 0,
        lastMessageSeq: Int64 = 0, lastActivityAt: Int64, createdAt: Int64,
        createdBy: UUID128? = nil, createdSign: String? = nil, deletedAt: Int64? = nil, epoch: Int64 = 1,
        metadata: Metadata? = nil, slowModeSeconds: Int = 0
    ) {
        self.epoch = epoch
        self.slowModeSeconds = slowModeSeconds
        self.metadata = metadata
        self.id = id
        self.type = type
        self.name = name
        self.description = description
        self.avatar = avatar
        self.ownerID = ownerID
        self.memberCount = memberCount
        self.memberLimit = memberLimit
        self.lastSeq = lastSeq
        self.messageCount = messageCount
        self.lastMessageSeq = lastMessageSeq
        self.lastActivityAt = lastActivityAt
        self.createdAt = createdAt
        self.createdBy = createdBy ?? ownerID
        self.createdSign = createdSign
        self.deletedAt = deletedAt
    }
}

extension Room {
    /// An import stores it at this moment, or was killed meanwhile: its `deletedAt` is PostgreSQL's `infinity`.
    public var isBeingImported: Bool { deletedAt.map { $0 > writableTimes.upperBound } ?? false }
}

/// One user's membership in a room. Times are Unix milliseconds.
public struct Member: Sendable, Equatable {
    public var roomID: UUID128
    public var userID: UUID128
    public var role: Role
    public var lastSeenSeq: Int64
    /// Users' messages of the room up to ``lastSeenSeq``, and this member's own among them: unread is
    /// (room's messageCount - seenCount) - (sentCount - seenSentCount), so it cannot drift.
    public var seenCount: Int64
    public var seenSentCount: Int64
    /// Messages that this member has ever sent here.
    public var sentCount: Int64
    public var mutedUntil: Int64?
    /// When the newest message in slow mode was accepted; nil: none yet.
    public var lastSentAt: Int64?
    public var bannedAt: Int64?
    public var joinedAt: Int64
    public var joinedSeq: Int64
    /// When they left or were removed; nil for a current member.
    public var leftAt: Int64?
    /// nil: nothing is known of the user.
    public var profile: Profile?
    /// About the user in this room; a user who leaves and comes back has none.
    public var metadata: Metadata?

    public init(
        roomID: UUID128, userID: UUID128, role: Role, lastSeenSeq: Int64 = 0, seenCount: Int64 = 0,
        seenSentCount: Int64 = 0, sentCount: Int64 = 0, mutedUntil: Int64? = nil, bannedAt: Int64? = nil,
        joinedAt: Int64, joinedSeq: Int64 = 0, leftAt: Int64? = nil, profile: Profile? = nil,
        metadata: Metadata? = nil, lastSentAt: Int64? = nil
    ) {
        self.lastSentAt = lastSentAt
        self.roomID = roomID
        self.userID = userID
        self.role = role
        self.lastSeenSeq = lastSeenSeq
        self.seenCount = seenCount
        self.seenSentCount = seenSentCount
        self.sentCount = sentCount
        self.mutedUntil = mutedUntil
        self.bannedAt = bannedAt
        self.joinedAt = joinedAt
        self.joinedSeq = joinedSeq
        self.leftAt = leftAt
        self.profile = profile
        self.metadata = metadata
    }

    public var isActive: Bool { leftAt == nil && bannedAt == nil }

    /// Messages of others after this member's last seen Seq.
    public func unread(in room: Room) -> Int64 {
        (room.messageCount - seenCount) - (sentCount - seenSentCount)
    }
}
