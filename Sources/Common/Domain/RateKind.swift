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
    /// Cookies without a session at the host; counted for an address, not for a user.
    case sessions

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
        case .sessions: "requests with cookies of no session"
        }
    }
}
