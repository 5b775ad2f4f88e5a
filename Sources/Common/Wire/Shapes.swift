// The shapes of `Data`, each defined once for both encodings: MessagePack on sockets, JSON over REST. The shapes of
// long lists are specialised for JSON here, because the API's module cannot see their bodies.

extension FileInfo: WireShape {
    public func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("Name", name)
            $0.field("Size", size)
            $0.field("ContentType", contentType)
            $0.field("ThumbnailURL", ifAny: wholeThumbnailURL)
            media?.writeFields(to: &$0)
        }
    }

    private var wholeThumbnailURL: String? {
        // A command from an older version may still contain an origin.
        guard let thumbnailURL, thumbnailURL.utf8.first == UInt8(ascii: "/") else { return thumbnailURL }
        return ServiceAddress.publicURL + thumbnailURL
    }
}

extension Reaction: WireShape {
    public func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("Reaction", emoji)
            $0.field("Count", users.count)
            $0.field("Users", users)
        }
    }
}

/// The content of a message before an edit.
public struct EarlierContent: WireShape, Sendable, Equatable {
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
        writer.map {
            $0.field("Content", content)
            $0.field("ReplacedAt", time: replacedAt)
            $0.field("ChangeSeq", changeSeq)
        }
    }
}

/// A room as one of its members sees it.
public struct RoomView: WireShape, Sendable, Equatable {
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
        writer.map {
            $0.field("Messages", ifAny: messages)
            $0.field("ID", room.id)
            $0.field("Type", room.type.name)
            $0.field("Name", room.name)
            $0.field("Description", room.description)
            $0.field("Avatar", room.avatar)
            $0.field("OwnerID", room.ownerID)
            $0.field("MemberCount", room.memberCount)
            $0.field("MemberLimit", room.memberLimit)
            $0.field("SlowModeSeconds", room.slowModeSeconds)
            $0.field("LastSeq", room.lastSeq)
            $0.field("Epoch", room.epoch)
            $0.field("LastMessage", lastMessage)
            $0.field("Unread", unread)
            $0.field("Role", role?.name)
            $0.field("MutedUntil", time: mutedUntil)
            $0.field("CreatedAt", time: room.createdAt)
            $0.field("Metadata", ifAny: room.metadata)
        }
    }
}

extension Member: WireShape {
    @_specialize(where W == JSONWriter)
    public func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            (profile ?? Profile()).writeFields(as: userID, to: &$0)
            $0.field("Role", role.name)
            $0.field("LastSeenSeq", lastSeenSeq)
            $0.field("MutedUntil", time: mutedUntil)
            $0.field("BannedAt", time: bannedAt)
            $0.field("JoinedAt", time: joinedAt)
            $0.field("Metadata", ifAny: metadata)
        }
    }
}

extension Profile {
    /// `Sender` of a message, and `Data` of `user_updated`.
    @inlinable
    public func write<W: WireWriter>(as user: UUID128, to writer: inout W) {
        writer.map { writeFields(as: user, to: &$0) }
    }

    /// Writes the fields into a map that has other fields too.
    @inlinable
    public func writeFields<W: WireWriter>(as user: UUID128, to writer: inout W) {
        writer.field("UserID", user)
        writer.field("ExternalID", externalID)
        writer.field("Name", name)
        writer.field("Avatar", avatar)
    }
}

/// `Data` of a `seen` frame: `seq` is how far the user has read, not the frame's own Seq.
public struct SeenMark: WireShape, Sendable, Equatable {
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
        writer.map {
            $0.field("RoomID", roomID)
            $0.field("UserID", userID)
            $0.field("Seq", seq)
            $0.field("At", time: at)
        }
    }
}

/// The kind of change in a `room_updated` frame.
public enum RoomChange: String, Sendable, CaseIterable {
    case created, changed, deleted, joined, left, removed, role, owner, muted, unmuted, banned, unbanned, pinned,
        unpinned, purged, metadata
    /// This Seq contains nothing: see ``RoomFrame/skipped(_:in:)``.
    case skipped
    case invitationCreated = "invitation_created"
    case invitationRevoked = "invitation_revoked"
}

extension Invitation {
    /// - Parameter isPublic: true writes the shape for all members, without the link's token.
    public func write<W: WireWriter>(to writer: inout W, isPublic: Bool = false) {
        writer.map {
            $0.field("ID", id)
            $0.field("RoomID", roomID)
            if !isPublic { $0.field("Token", token) }
            $0.field("CreatedBy", createdBy)
            $0.field("ExpiresAt", time: expiresAt)
            $0.field("MaxUses", maxUses)
            $0.field("Uses", uses)
            $0.field("RevokedAt", time: revokedAt)
            $0.field("CreatedAt", time: createdAt)
        }
    }
}

/// The pinned message and the time; without its content, which may be deleted later.
public struct PinMark: Sendable, Equatable {
    public var message: UUID128
    /// Unix milliseconds; nil when it was unpinned.
    public var at: Int64?
}

/// `Data` of a `room_updated` frame.
public struct RoomUpdate: WireShape, Sendable, Equatable {
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
        writer.map {
            $0.field("RoomID", roomID)
            $0.field("Change", change.rawValue)
            $0.field("Room", ifAny: room)
            $0.field("Member", ifAny: member)
            if let pin {
                $0.field("MessageID", pin.message)
                $0.field("PinnedAt", time: pin.at)
            }
            if let invitation { $0.field("Invitation") { invitation.write(to: &$0, isPublic: true) } }
            $0.field("PurgedThrough", ifAny: purgedThrough)
            $0.field("Seq", seq)
        }
    }
}
