/// How often each user may do something, counted over all programs.
public protocol RateLimiter: AnyObject {
    /// Counts one and gives nil, or counts nothing and gives the milliseconds after which one may be counted.
    ///
    /// Guarantee: never stands in the way when the counts cannot be reached; then everything passes.
    func take(_ kind: RateKind, _ user: UUID128) -> Int?
}

/// What is counted, each by itself. The raw value stands in the key of the count.
public enum RateKind: String, Sendable, CaseIterable {
    /// Messages and what is done to them.
    case sends
    /// Seen marks.
    case seen
    /// Of rooms, members and settings of one's own.
    case changes
    case rooms
    /// Links, their use, and users who are added.
    case invitations
    case searches
    /// New WebSockets.
    case connections

    /// What a command counts as; nil: it is not limited.
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

    /// For people: "too many …".
    public var plural: String {
        switch self {
        case .sends: "messages"
        case .seen: "seen marks"
        case .changes: "changes"
        case .rooms: "new rooms"
        case .invitations: "invitations"
        case .searches: "searches"
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
