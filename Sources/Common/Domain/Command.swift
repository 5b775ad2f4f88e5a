/// One change that a user requests in one room. The form of a command is checked where it is accepted. The room's
/// single writer decides whether it is allowed, in the room's order.
public struct Command: Sendable, Equatable {
    /// UUIDv7, made where the command was accepted; also the id of the message or room that it creates. When the same
    /// id comes again (redelivery), only its frames and answers are repeated, never its effect.
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
    /// Sent by the host application as the actor: consent to be added is not needed.
    public var isHost: Bool
    /// The host's own ids of users that the command names.
    public var names: [UUID128: String]
    public var action: Action
    /// A digest of the request with this Sign: another request with the same Sign has another digest. nil: not
    /// compared.
    public var digest: UUID128?
    /// The place in a trace to which it belongs; nil: a trace of its own, ``TraceParent/init(of:isSampled:)``.
    public var trace: TraceParent?

    public init(
        id: UUID128, room: UUID128, actor: UUID128, sign: String? = nil, origin: CommandOrigin = .nobody,
        requestID: String? = nil, acceptedAt: Int64, isHost: Bool = false, names: [UUID128: String] = [:],
        action: Action
    ) {
        self.id = id
        self.room = room
        self.actor = actor
        self.sign = sign
        self.origin = origin
        self.requestID = requestID
        self.acceptedAt = acceptedAt
        self.isHost = isHost
        self.names = names
        self.action = action
    }

    /// A command of no user for a room that does not exist: it is refused and changes nothing. `/readyz` sends it to
    /// test the path of all commands. Counters and logs ignore it.
    public static func probe(_ now: Int64) -> Command {
        Command(id: .v7(at: now), room: .v7(at: now), actor: .zero, acceptedAt: now, action: .seen(seq: nil))
    }

    public var isProbe: Bool { actor == .zero && !isHost && action == .seen(seq: nil) }

    public enum Action: Sendable, Equatable {
        /// `receiver` is set when the room is the PRIVATE one of actor and receiver, made on first use.
        case send(MessageDraft, receiver: UUID128?)
        case seen(seq: Int64?)
        /// `base`: the room's Seq up to which the editor has seen everything; a later edit is a conflict. nil: no
        /// check.
        case edit(message: UUID128, content: String, base: Int64? = nil, metadata: MetadataPatch? = nil)
        case delete(message: UUID128)
        case react(message: UUID128, reaction: String, remove: Bool)
        case createRoom(RoomDraft)
        case updateRoom(RoomPatch)
        case deleteRoom
        case addMembers([UUID128])
        /// Removing oneself means leaving.
        case removeMember(UUID128)
        case setRole(user: UUID128, role: Role)
        case mute(user: UUID128, until: Int64?)
        case ban(user: UUID128, banned: Bool)
        case completeFile(message: UUID128, file: FileInfo)
        /// Sets the details found by inspecting a file; the actor is the message's sender.
        case describeFile(message: UUID128, file: FileInfo)
        /// Ends an upload that never completed; the actor is its sender, also one who has left the room.
        case abandonFile(message: UUID128)
        case pin(message: UUID128, pinned: Bool)
        case createInvitation(InvitationDraft)
        case revokeInvitation(UUID128)
        /// The actor joins by an invitation.
        case join(invitation: UUID128)
        case messageMetadata(message: UUID128, MetadataPatch)
        case memberMetadata(user: UUID128, MetadataPatch)
        // The host application's commands: clients cannot send these, and no role is checked.
        /// A SYSTEM message in its own words.
        case announce(String)
        /// Removes a user's messages, reactions and membership from this room; in several parts when there are many.
        case erase(user: UUID128)
        /// Removes messages older than this (Unix milliseconds) for good; in several parts when there are many.
        case purge(before: Int64)
    }

    /// The raw value is the kind's number on the broker; a number that was in a release is never used for another kind.
    public enum Kind: Int64, Sendable, CaseIterable {
        case send = 1
        case seen, edit, delete, react, createRoom, updateRoom, deleteRoom, addMembers, removeMember, setRole, mute, ban
        case completeFile, abandonFile, describeFile
        case pin = 20
        case createInvitation, revokeInvitation, join, messageMetadata, memberMetadata
        case announce = 30
        case erase, purge

        /// For traces and operators; it never shows the content.
        public var name: String { row.name }
        /// Counts it against its actor's limits; nil: it is not limited.
        public var rate: RateKind? { row.rate }

        private var row: (name: String, rate: RateKind?) {
            switch self {
            case .send: ("send", .sends)
            case .seen: ("seen", .seen)
            case .edit: ("edit", .sends)
            case .delete: ("delete", .sends)
            case .react: ("react", .sends)
            case .createRoom: ("create room", .rooms)
            case .updateRoom: ("update room", .changes)
            case .deleteRoom: ("delete room", .changes)
            case .addMembers: ("add members", .invitations)
            case .removeMember: ("remove member", .changes)
            case .setRole: ("set role", .changes)
            case .mute: ("mute", .changes)
            case .ban: ("ban", .changes)
            case .completeFile: ("complete file", nil)
            case .abandonFile: ("abandon file", nil)
            case .describeFile: ("describe file", nil)
            case .pin: ("pin", .sends)
            case .createInvitation: ("create invitation", .invitations)
            case .revokeInvitation: ("revoke invitation", .changes)
            case .join: ("join", .invitations)
            case .messageMetadata: ("message metadata", .sends)
            case .memberMetadata: ("member metadata", .changes)
            case .announce: ("announce", nil)
            case .erase: ("erase", nil)
            case .purge: ("purge", nil)
            }
        }
    }
}

/// A socket, unique among all relays: neither number is ever reused.
public struct SocketAddress: Sendable, Hashable {
    public var relay: UInt64
    public var socket: UInt64

    public init(relay: UInt64, socket: UInt64) {
        self.relay = relay
        self.socket = socket
    }
}

/// The recipient of the answer.
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
    /// Members besides the actor.
    public var members: [UUID128]
    public var memberLimit: Int?
    public var metadata: Metadata?
    public var slowModeSeconds: Int

    public init(
        type: RoomType, name: String = "", description: String = "", avatar: String = "", members: [UUID128],
        memberLimit: Int? = nil, metadata: Metadata? = nil, slowModeSeconds: Int = 0
    ) {
        self.slowModeSeconds = slowModeSeconds
        self.type = type
        self.metadata = metadata
        self.name = name
        self.description = description
        self.avatar = avatar
        self.members = members
        self.memberLimit = memberLimit
    }
}

/// nil: no change.
public struct RoomPatch: Sendable, Equatable {
    public var name: String?
    public var description: String?
    public var avatar: String?
    public var memberLimit: Int?
    public var metadata: MetadataPatch?
    public var slowModeSeconds: Int?

    public init(
        name: String? = nil, description: String? = nil, avatar: String? = nil, memberLimit: Int? = nil,
        metadata: MetadataPatch? = nil, slowModeSeconds: Int? = nil
    ) {
        self.slowModeSeconds = slowModeSeconds
        self.name = name
        self.metadata = metadata
        self.description = description
        self.avatar = avatar
        self.memberLimit = memberLimit
    }
}

/// A message as its sender wrote it: checked by itself, not yet against the room.
public struct MessageDraft: Sendable, Equatable {
    public var content: String
    public var contentType: ContentType
    public var messageType: MessageType
    public var parent: UUID128?
    public var metadata: Metadata?

    public init(
        content: String, contentType: ContentType = .text, messageType: MessageType = .direct, parent: UUID128? = nil,
        metadata: Metadata? = nil
    ) {
        self.metadata = metadata
        self.content = content
        self.contentType = contentType
        self.messageType = messageType
        self.parent = parent
    }
}
