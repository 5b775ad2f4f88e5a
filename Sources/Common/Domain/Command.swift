/// One change that someone asks of one room. Commands are checked for their form where they are accepted; whether they
/// are allowed is decided by the room's only writer, in the room's order.
public struct Command: Sendable, Equatable {
    /// UUIDv7, made where the command was accepted; also the id of the message (or room) that it makes. Meeting the
    /// same id again (redelivery) repeats frames and answers, never the work.
    public var id: UUID128
    public var room: UUID128
    public var actor: UUID128
    /// The client's own id for the request: (actor, sign) is stored once.
    public var sign: String?
    public var origin: CommandOrigin
    /// For logs and traces.
    public var requestID: String?
    /// Unix milliseconds at which it was accepted.
    public var acceptedAt: Int64
    /// The host application asks, as the actor: nobody's leave to be added is needed.
    public var isHost: Bool
    public var action: Action

    public init(
        id: UUID128, room: UUID128, actor: UUID128, sign: String? = nil, origin: CommandOrigin = .nobody,
        requestID: String? = nil, acceptedAt: Int64, isHost: Bool = false, action: Action
    ) {
        self.id = id
        self.room = room
        self.actor = actor
        self.sign = sign
        self.origin = origin
        self.requestID = requestID
        self.acceptedAt = acceptedAt
        self.isHost = isHost
        self.action = action
    }

    public enum Action: Sendable, Equatable {
        /// `receiver` is set when the room is the PRIVATE one of actor and receiver, made on first use.
        case send(MessageDraft, receiver: UUID128?)
        case seen(seq: Int64?)
        /// `base`: the room's Seq up to which the editor has seen everything; an edit after it is a conflict. nil: any.
        case edit(message: UUID128, content: String, base: Int64? = nil)
        case delete(message: UUID128)
        case react(message: UUID128, reaction: String, remove: Bool)
        case createRoom(RoomDraft)
        case updateRoom(RoomPatch)
        case deleteRoom
        case addMembers([UUID128])
        /// The actor themselves: leaving.
        case removeMember(UUID128)
        case setRole(user: UUID128, role: Role)
        case mute(user: UUID128, until: Int64?)
        case ban(user: UUID128, banned: Bool)
        case completeFile(message: UUID128, file: FileInfo)
        /// What was found out about a file of the room's, by looking into it; the actor is its message's sender.
        case describeFile(message: UUID128, file: FileInfo)
        /// What never became complete; the actor is its sender, in the room or not.
        case abandonFile(message: UUID128)
        case pin(message: UUID128, pinned: Bool)
        case createInvitation(InvitationDraft)
        case revokeInvitation(UUID128)
        /// The actor joins by an invitation.
        case join(invitation: UUID128)
        // The host application's alone: no client's door makes these, and no role is asked for.
        /// A SYSTEM message in its own words.
        case announce(String)
        /// What a user wrote, chose and was in this room; a part of it, when there is much.
        case erase(user: UUID128)
        /// Messages older than this (Unix milliseconds) are removed for good; a part of them, when there are many.
        case purge(before: Int64)

        /// For traces and operators; never what it carries.
        public var name: String {
            switch self {
            case .send: "send"
            case .seen: "seen"
            case .edit: "edit"
            case .delete: "delete"
            case .react: "react"
            case .createRoom: "create room"
            case .updateRoom: "update room"
            case .deleteRoom: "delete room"
            case .addMembers: "add members"
            case .removeMember: "remove member"
            case .setRole: "set role"
            case .mute: "mute"
            case .ban: "ban"
            case .completeFile: "complete file"
            case .describeFile: "describe file"
            case .abandonFile: "abandon file"
            case .pin: "pin"
            case .createInvitation: "create invitation"
            case .revokeInvitation: "revoke invitation"
            case .join: "join"
            case .announce: "announce"
            case .erase: "erase"
            case .purge: "purge"
            }
        }
    }
}

/// Who waits for the answer.
public enum CommandOrigin: Sendable, Equatable {
    case nobody
    case socket(SocketAddress)
    /// A REST worker: the broker's reply-to address and its own number for the request.
    case reply(to: String, correlation: String)
}

public struct RoomDraft: Sendable, Equatable {
    public var type: RoomType
    public var name: String
    public var description: String
    public var avatar: String
    /// Besides the actor.
    public var members: [UUID128]
    public var memberLimit: Int?

    public init(
        type: RoomType, name: String = "", description: String = "", avatar: String = "", members: [UUID128],
        memberLimit: Int? = nil
    ) {
        self.type = type
        self.name = name
        self.description = description
        self.avatar = avatar
        self.members = members
        self.memberLimit = memberLimit
    }
}

/// nil: stays as it is.
public struct RoomPatch: Sendable, Equatable {
    public var name: String?
    public var description: String?
    public var avatar: String?
    public var memberLimit: Int?

    public init(name: String? = nil, description: String? = nil, avatar: String? = nil, memberLimit: Int? = nil) {
        self.name = name
        self.description = description
        self.avatar = avatar
        self.memberLimit = memberLimit
    }
}

/// A message as its sender wrote it, checked by itself (not yet against the room).
public struct MessageDraft: Sendable, Equatable {
    public var content: String
    public var contentType: ContentType
    public var messageType: MessageType
    public var parent: UUID128?

    public init(
        content: String, contentType: ContentType = .text, messageType: MessageType = .direct, parent: UUID128? = nil
    ) {
        self.content = content
        self.contentType = contentType
        self.messageType = messageType
        self.parent = parent
    }
}
