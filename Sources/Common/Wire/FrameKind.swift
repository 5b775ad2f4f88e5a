/// The `Type` of a frame from the server. The raw value is used between our own programs.
public enum FrameKind: UInt8, Sendable, CaseIterable {
    case response = 1
    case newMessage
    case messageUpdated
    case seen
    case typing
    case presence
    case roomUpdated
    case pong
    case resync
    case welcome
    case userUpdated
    /// Of one socket: its client should move to another relay.
    case move

    public var name: StaticString {
        switch self {
        case .response: "response"
        case .newMessage: "new_message"
        case .messageUpdated: "message_updated"
        case .seen: "seen"
        case .typing: "typing"
        case .presence: "presence"
        case .roomUpdated: "room_updated"
        case .pong: "pong"
        case .resync: "resync"
        case .welcome: "welcome"
        case .userUpdated: "user_updated"
        case .move: "move"
        }
    }
}
