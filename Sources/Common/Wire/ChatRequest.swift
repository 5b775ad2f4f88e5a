/// The requests of a client on a socket; REST builds the same values from its bodies.
public enum ChatRequest: Sendable, Equatable {
    case message(room: UUID128?, receiver: HostUser?, draft: MessageDraft)
    case seen(room: UUID128, seq: Int64?)
    case typing(room: UUID128)
    /// Of a message: its content, its Metadata, or both.
    case edit(Command.Action, of: UUID128)
    case delete(message: UUID128)
    case react(message: UUID128, reaction: String, remove: Bool)
    case resume([ResumePoint])
    case auth(token: String)
    /// "Your frames arrived": a sign of life for clients whose library hides pings or does not answer them.
    case ack
    case ping
}

/// The end of a client's copy of a room.
public struct ResumePoint: Sendable, Equatable {
    public var room: UUID128
    public var seq: Int64
    /// The room's epoch when the copy was made; nil: the client does not store epochs.
    public var epoch: Int64?

    public init(room: UUID128, seq: Int64, epoch: Int64? = nil) {
        self.room = room
        self.seq = seq
        self.epoch = epoch
    }
}

extension ChatRequest {
    /// Reads a client's map. `sign` is set as soon as it is known, so that a refusal can repeat it.
    public static func parse(_ value: WireValue, sign: inout String?) throws(Refusal) -> ChatRequest {
        guard case .map = value else { throw Refusal(.malformed, "a frame is a map with a Type") }
        let fields = RequestFields(value)
        sign = try fields.sign()
        guard let type = try fields.text("Type") else { throw .invalid("Type", "is missing") }
        switch type {
        case "message":
            let room = try fields.uuid("RoomID")
            let receiver = try fields.user("ReceiverID")
            guard room != nil || receiver != nil else { throw .invalid("RoomID", "or ReceiverID is missing") }
            return .message(room: room, receiver: receiver, draft: try MessageDraft(fields))
        case "seen": return .seen(room: try fields.required("RoomID"), seq: try fields.seq("Seq"))
        case "typing": return .typing(room: try fields.required("RoomID"))
        case "edit":
            let message = try fields.required("MessageID")
            return .edit(try fields.edit(of: message), of: message)
        case "delete": return .delete(message: try fields.required("MessageID"))
        case "react":
            return .react(
                message: try fields.required("MessageID"), reaction: try fields.reaction(),
                remove: try fields.flag("Remove"))
        case "resume": return .resume(try fields.resumePoints())
        case "auth":
            guard let token = try fields.text("Token") else { throw .invalid("Token", "is missing") }
            return .auth(token: token)
        case "ack": return .ack
        case "ping": return .ping
        default: throw Refusal(.unknownType, "there is no request of this Type", field: "Type")
        }
    }
}

extension MessageDraft {
    public init(_ fields: RequestFields) throws(Refusal) {
        contentType =
            try fields.name("ContentType", ContentType.init(name:), "is not text, image, video, audio or file")
            ?? .text
        messageType =
            try fields.name("MessageType", MessageType.init(name:), "is not direct, replied or forwarded")
            ?? .direct
        guard messageType != .system else { throw .invalid("MessageType", "system is reserved for the room") }
        parent = try fields.uuid("ParentMessageID")
        guard (parent != nil) == (messageType != .direct) else {
            throw .invalid(
                "ParentMessageID",
                parent == nil
                    ? "is missing: a \(messageType.name) message has one" : "is only allowed with replied or forwarded")
        }
        // A forwarded message takes the content of the original.
        content = messageType == .forwarded && fields.isAbsent("Content") ? "" : try fields.content(of: contentType)
        metadata = try fields.metadata()
    }
}
