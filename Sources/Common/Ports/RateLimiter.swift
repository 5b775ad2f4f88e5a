/// Limits how often each user may do something, counted over all programs.
public protocol RateLimiter: AnyObject {
    /// Counts one and returns nil, or counts nothing and returns the milliseconds to wait.
    ///
    /// Guarantee: when the counters cannot be reached, everything is allowed.
    func take(_ kind: RateKind, _ user: UUID128) -> Int?

    /// Counts more of what was allowed already: it cost more than one.
    func add(_ count: Int, _ kind: RateKind, _ user: UUID128)
}

extension RateLimiter {
    public func add(_ count: Int, _ kind: RateKind, _ user: UUID128) {}
}

/// The separately counted kinds. The raw value is part of the counter's key.
public enum RateKind: String, Sendable, CaseIterable {
    /// Messages, and changes to them.
    case sends
    /// Seen marks.
    case seen
    /// Changes of rooms, members and one's own settings.
    case changes
    case rooms
    /// Invitation links, their use, and users who are added.
    case invitations
    case searches
    /// Reads over REST; a large answer counts as several.
    case reads
    /// Requests of uploads: forms, chunks, links, parts of tus.
    case uploads
    /// New WebSockets.
    case connections

    /// The kind that counts a command; nil: it is not limited.
    public init?(_ action: Command.Action) {
        switch action {
        case .send, .edit, .delete, .react, .pin: self = .sends
        case .createRoom: self = .rooms
        case .addMembers, .createInvitation, .join: self = .invitations
        case .seen: self = .seen
        case .updateRoom, .deleteRoom, .removeMember, .setRole, .mute, .ban, .revokeInvitation: self = .changes
        case .completeFile, .describeFile, .abandonFile, .announce, .erase, .purge: return nil
        }
    }

    /// For the sentence "too many …".
    public var plural: String {
        switch self {
        case .sends: "messages"
        case .seen: "seen marks"
        case .changes: "changes"
        case .rooms: "new rooms"
        case .invitations: "invitations"
        case .searches: "searches"
        case .reads: "reads"
        case .uploads: "uploads"
        case .connections: "new connections"
        }
    }
}

extension Refusal {
    public static func tooMany(_ kind: RateKind, milliseconds: Int) -> Refusal {
        let seconds = (milliseconds + 999) / 1000
        return Refusal(
            .rateLimited, "too many \(kind.plural); try again in \(seconds) s", retryAfterMilliseconds: milliseconds)
    }
}
