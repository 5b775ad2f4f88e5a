public enum ContentType: Int16, Sendable, CaseIterable {
    case text = 1
    case image, video, audio, file

    public var name: String {
        switch self {
        case .text: "text"
        case .image: "image"
        case .video: "video"
        case .audio: "audio"
        case .file: "file"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

public enum MessageType: Int16, Sendable, CaseIterable {
    case direct = 1
    case replied, forwarded
    /// A message of the room itself (someone joined …); clients never send it.
    case system

    public var name: String {
        switch self {
        case .direct: "direct"
        case .replied: "replied"
        case .forwarded: "forwarded"
        case .system: "system"
        }
    }

    public init?(name: String) {
        guard let match = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = match
    }
}

public enum MessageStatus: Int16, Sendable, CaseIterable {
    case sent = 1
    /// The file is incomplete: only its sender sees the message, and it has no Seq.
    case uploading
    case seen
    case deleted

    public var name: String {
        switch self {
        case .sent: "sent"
        case .uploading: "uploading"
        case .seen: "seen"
        case .deleted: "deleted"
        }
    }
}

/// Details of a message's file. Sizes are bytes.
public struct FileInfo: Sendable, Equatable {
    public var name: String
    public var size: Int64
    public var contentType: String
    public var thumbnailURL: String?
    /// Nil until the file was inspected, and for everything but pictures, video and audio.
    public var media: FileMedia?

    public init(
        name: String, size: Int64, contentType: String, thumbnailURL: String? = nil, media: FileMedia? = nil
    ) {
        self.name = name
        self.size = size
        self.contentType = contentType
        self.thumbnailURL = thumbnailURL
        self.media = media
    }
}

/// One emoji on a message and the users who chose it.
public struct Reaction: Sendable, Equatable {
    public var emoji: String
    public var users: [UUID128]

    public init(emoji: String, users: [UUID128]) {
        self.emoji = emoji
        self.users = users
    }
}

/// A message as it is stored. Times are Unix milliseconds.
public struct Message: Sendable, Equatable {
    /// The id of its command: a redelivered command refers to the same message.
    public var id: UUID128
    public var roomID: UUID128
    public var senderID: UUID128
    /// How the host describes the sender today; nil: it does not. Not stored with the message.
    public var sender: Profile?
    /// Its position in the room's order, from 1. While its file is incomplete it has none; the value is then a negative
    /// number, which no client sees (see ``noPlace(_:)``).
    public var seq: Int64
    /// The Seq of its newest change (edit, deletion, reaction, completed upload); `seq` when there was none.
    public var changeSeq: Int64
    public var content: String
    public var contentType: ContentType
    public var messageType: MessageType
    public var parentMessageID: UUID128?
    /// The message that was forwarded: the first one of the chain.
    public var forwardedFrom: UUID128?
    /// The sender's own id for it, at most 64 bytes: (sender, sign) is stored once.
    public var sign: String?
    public var status: MessageStatus
    public var file: FileInfo?
    public var reactions: [Reaction]
    public var editedAt: Int64?
    public var deletedAt: Int64?
    /// When it was pinned; nil: not pinned.
    public var pinnedAt: Int64?
    public var createdAt: Int64
    public var metadata: Metadata?

    public init(
        id: UUID128, roomID: UUID128, senderID: UUID128, seq: Int64, changeSeq: Int64, content: String,
        contentType: ContentType, messageType: MessageType, parentMessageID: UUID128? = nil,
        forwardedFrom: UUID128? = nil, sign: String? = nil, status: MessageStatus = .sent, file: FileInfo? = nil,
        reactions: [Reaction] = [], editedAt: Int64? = nil, deletedAt: Int64? = nil, pinnedAt: Int64? = nil,
        createdAt: Int64, sender: Profile? = nil, metadata: Metadata? = nil
    ) {
        self.id = id
        self.roomID = roomID
        self.senderID = senderID
        self.sender = sender
        self.seq = seq
        self.changeSeq = changeSeq
        self.content = content
        self.contentType = contentType
        self.messageType = messageType
        self.parentMessageID = parentMessageID
        self.forwardedFrom = forwardedFrom
        self.sign = sign
        self.status = status
        self.file = file
        self.reactions = reactions
        self.editedAt = editedAt
        self.deletedAt = deletedAt
        self.pinnedAt = pinnedAt
        self.createdAt = createdAt
        self.metadata = metadata
    }
}

extension Message {
    /// Whether it has a Seq: everybody may see it, or could until it was deleted.
    public var hasPlace: Bool { seq > 0 }

    /// A stand-in for a Seq, unique in the room: made of the 62 random bits of its id.
    public static func noPlace(_ id: UUID128) -> Int64 { -1 - Int64(id.low & 0x3fff_ffff_ffff_ffff) }
}
