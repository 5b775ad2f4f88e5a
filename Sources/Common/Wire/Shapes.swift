// The shapes of `Data`, each in one place for both encodings: MessagePack on sockets, JSON over REST.
// Those of long lists are compiled for JSON here, since the API's module sees no body to do that with.

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
            writer.string(thumbnailURL)
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

/// A room as one of its members sees it.
public struct RoomView: Sendable, Equatable {
    public var room: Room
    public var lastMessage: Message?
    /// Messages of others after my last seen Seq; nil where nobody in particular looks (a frame to all members).
    public var unread: Int64?
    public var role: Role?
    public var mutedUntil: Int64?

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
        writer.beginMap(13)
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
        writer.key("LastSeq")
        writer.int(room.lastSeq)
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
        writer.beginMap(6)
        writer.key("UserID")
        writer.uuid(userID)
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

/// `Data` of a `seen` frame: `seq` is how far the user has read, not the frame's own place in the order.
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

/// What a `room_updated` frame says happened.
public enum RoomChange: String, Sendable, CaseIterable {
    case created, changed, deleted, joined, left, removed, role, owner, muted, unmuted, banned, unbanned, pinned,
        unpinned
}

/// `Data` of a `room_updated` frame.
public struct RoomUpdate: Sendable, Equatable {
    public var roomID: UUID128
    public var change: RoomChange
    public var room: RoomView?
    public var member: Member?
    public var seq: Int64

    public init(roomID: UUID128, change: RoomChange, room: RoomView? = nil, member: Member? = nil, seq: Int64) {
        self.roomID = roomID
        self.change = change
        self.room = room
        self.member = member
        self.seq = seq
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(3 + (room == nil ? 0 : 1) + (member == nil ? 0 : 1))
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
        writer.key("Seq")
        writer.int(seq)
        writer.endMap()
    }
}
