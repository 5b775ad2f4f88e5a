// The shapes of `Data`, each defined once for both encodings: MessagePack on sockets, JSON over REST. The shapes of
// long lists are specialised for JSON here, because the API's module cannot see their bodies.

extension FileInfo {
    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(3 + (thumbnailURL == nil ? 0 : 1) + (media?.count ?? 0))
        writer.key("Name")
        writer.string(name)
        writer.key("Size")
        writer.int(size)
        writer.key("ContentType")
        writer.string(contentType)
        if let thumbnailURL {
            writer.key("ThumbnailURL")
            // A command from an older version may still contain an origin.
            let isPath = thumbnailURL.utf8.first == UInt8(ascii: "/")
            writer.string(isPath ? ServiceAddress.publicURL + thumbnailURL : thumbnailURL)
        }
        media?.writeFields(to: &writer)
        writer.endMap()
    }
}

extension Reaction {
    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(3)
        writer.key("Reaction")
        writer.string(emoji)
        writer.key("Count")
        writer.int(Int64(users.count))
        writer.key("Users")
        writer.beginArray(users.count)
        for user in users { writer.uuid(user) }
        writer.endArray()
        writer.endMap()
    }
}

/// The content of a message before an edit.
public struct EarlierContent: Sendable, Equatable {
    public var content: String
    /// Unix milliseconds.
    public var replacedAt: Int64
    /// The Seq of the edit that replaced it.
    public var changeSeq: Int64

    public init(content: String, replacedAt: Int64, changeSeq: Int64) {
        self.content = content
        self.replacedAt = replacedAt
        self.changeSeq = changeSeq
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(3)
        writer.key("Content")
        writer.string(content)
        writer.key("ReplacedAt")
        writer.timestamp(replacedAt)
        writer.key("ChangeSeq")
        writer.int(changeSeq)
        writer.endMap()
    }
}

/// A room as one of its members sees it.
public struct RoomView: Sendable, Equatable {
    public var room: Room
    public var lastMessage: Message?
    /// Messages of others after the user's last seen Seq; nil in a frame for all members.
    public var unread: Int64?
    public var role: Role?
    public var mutedUntil: Int64?
    /// The newest messages, newest first; nil when the request did not ask for them.
    public var messages: [Message]?

    public init(
        room: Room, lastMessage: Message? = nil, unread: Int64? = nil, role: Role? = nil, mutedUntil: Int64? = nil
    ) {
        self.room = room
        self.lastMessage = lastMessage
        self.unread = unread
        self.role = role
        self.mutedUntil = mutedUntil
    }

    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(messages == nil ? 15 : 16)
        if let messages {
            writer.key("Messages")
            writer.beginArray(messages.count)
            for message in messages { message.write(to: &writer) }
            writer.endArray()
        }
        writer.key("ID")
        writer.uuid(room.id)
        writer.key("Type")
        writer.string(room.type.name)
        writer.key("Name")
        writer.string(room.name)
        writer.key("Description")
        writer.string(room.description)
        writer.key("Avatar")
        writer.string(room.avatar)
        writer.key("OwnerID")
        writer.uuid(room.ownerID)
        writer.key("MemberCount")
        writer.int(Int64(room.memberCount))
        writer.key("MemberLimit")
        writer.optional(room.memberLimit) { $0.int(Int64($1)) }
        writer.key("LastSeq")
        writer.int(room.lastSeq)
        writer.key("Epoch")
        writer.int(room.epoch)
        writer.key("LastMessage")
        writer.optional(lastMessage) { $1.write(to: &$0) }
        writer.key("Unread")
        writer.optional(unread) { $0.int($1) }
        writer.key("Role")
        writer.optional(role) { $0.string($1.name) }
        writer.key("MutedUntil")
        writer.optional(mutedUntil) { $0.timestamp($1) }
        writer.key("CreatedAt")
        writer.timestamp(room.createdAt)
        writer.endMap()
    }
}

extension Member {
    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(9)
        (profile ?? Profile()).writeFields(as: userID, to: &writer)
        writer.key("Role")
        writer.string(role.name)
        writer.key("LastSeenSeq")
        writer.int(lastSeenSeq)
        writer.key("MutedUntil")
        writer.optional(mutedUntil) { $0.timestamp($1) }
        writer.key("BannedAt")
        writer.optional(bannedAt) { $0.timestamp($1) }
        writer.key("JoinedAt")
        writer.timestamp(joinedAt)
        writer.endMap()
    }
}

extension Profile {
    /// `Sender` of a message, and `Data` of `user_updated`.
    @inlinable
    public func write<W: WireWriter>(as user: UUID128, to writer: inout W) {
        writer.beginMap(4)
        writeFields(as: user, to: &writer)
        writer.endMap()
    }

    /// Four fields of a map.
    @inlinable
    public func writeFields<W: WireWriter>(as user: UUID128, to writer: inout W) {
        writer.key("UserID")
        writer.uuid(user)
        writer.key("ExternalID")
        writer.optional(externalID) { $0.string($1) }
        writer.key("Name")
        writer.string(name)
        writer.key("Avatar")
        writer.string(avatar)
    }
}

/// `Data` of a `seen` frame: `seq` is how far the user has read, not the frame's own Seq.
public struct SeenMark: Sendable, Equatable {
    public var roomID: UUID128
    public var userID: UUID128
    public var seq: Int64
    public var at: Int64

    public init(roomID: UUID128, userID: UUID128, seq: Int64, at: Int64) {
        self.roomID = roomID
        self.userID = userID
        self.seq = seq
        self.at = at
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(4)
        writer.key("RoomID")
        writer.uuid(roomID)
        writer.key("UserID")
        writer.uuid(userID)
        writer.key("Seq")
        writer.int(seq)
        writer.key("At")
        writer.timestamp(at)
        writer.endMap()
    }
}

/// The kind of change in a `room_updated` frame.
public enum RoomChange: String, Sendable, CaseIterable {
    case created, changed, deleted, joined, left, removed, role, owner, muted, unmuted, banned, unbanned, pinned,
        unpinned, purged
    /// This Seq contains nothing: see ``RoomFrame/skipped(_:in:)``.
    case skipped
    case invitationCreated = "invitation_created"
    case invitationRevoked = "invitation_revoked"
}

extension Invitation {
    /// - Parameter isPublic: true writes the shape for all members, without the link's token.
    public func write<W: WireWriter>(to writer: inout W, isPublic: Bool = false) {
        writer.beginMap(isPublic ? 8 : 9)
        writer.key("ID")
        writer.uuid(id)
        writer.key("RoomID")
        writer.uuid(roomID)
        if !isPublic {
            writer.key("Token")
            writer.string(token)
        }
        writer.key("CreatedBy")
        writer.uuid(createdBy)
        writer.key("ExpiresAt")
        writer.optional(expiresAt) { $0.timestamp($1) }
        writer.key("MaxUses")
        writer.optional(maxUses) { $0.int(Int64($1)) }
        writer.key("Uses")
        writer.int(Int64(uses))
        writer.key("RevokedAt")
        writer.optional(revokedAt) { $0.timestamp($1) }
        writer.key("CreatedAt")
        writer.timestamp(createdAt)
        writer.endMap()
    }
}

/// The pinned message and the time; without its content, which may be deleted later.
public struct PinMark: Sendable, Equatable {
    public var message: UUID128
    /// Unix milliseconds; nil when it was unpinned.
    public var at: Int64?
}

/// `Data` of a `room_updated` frame.
public struct RoomUpdate: Sendable, Equatable {
    public var roomID: UUID128
    public var change: RoomChange
    public var room: RoomView?
    public var member: Member?
    public var pin: PinMark?
    public var invitation: Invitation?
    /// Messages up to this Seq were removed for good.
    public var purgedThrough: Int64?
    public var seq: Int64

    public init(
        roomID: UUID128, change: RoomChange, room: RoomView? = nil, member: Member? = nil, pin: PinMark? = nil,
        invitation: Invitation? = nil, purgedThrough: Int64? = nil, seq: Int64
    ) {
        self.roomID = roomID
        self.change = change
        self.room = room
        self.member = member
        self.pin = pin
        self.invitation = invitation
        self.purgedThrough = purgedThrough
        self.seq = seq
    }

    public func write<W: WireWriter>(to writer: inout W) {
        let optionals = [room != nil, member != nil, pin != nil, pin != nil, invitation != nil, purgedThrough != nil]
        writer.beginMap(3 + optionals.count { $0 })
        writer.key("RoomID")
        writer.uuid(roomID)
        writer.key("Change")
        writer.string(change.rawValue)
        if let room {
            writer.key("Room")
            room.write(to: &writer)
        }
        if let member {
            writer.key("Member")
            member.write(to: &writer)
        }
        if let pin {
            writer.key("MessageID")
            writer.uuid(pin.message)
            writer.key("PinnedAt")
            writer.optional(pin.at) { $0.timestamp($1) }
        }
        if let invitation {
            writer.key("Invitation")
            invitation.write(to: &writer, isPublic: true)
        }
        if let purgedThrough {
            writer.key("PurgedThrough")
            writer.int(purgedThrough)
        }
        writer.key("Seq")
        writer.int(seq)
        writer.endMap()
    }
}
