public struct RoomSettings: Sendable {
    public var groupLimit: Int
    public var channelLimit: Int
    /// How long the sender may edit a message.
    public var editTime: Duration
    /// Limits per room: pinned messages, and open invitations.
    public var pins: Int
    public var invitations: Int
    /// The lifetime of an invitation that names none.
    public var invitationTime: Duration
    /// Rooms that one user may be in, of all types.
    public var roomsPerUser: Int
    /// Rooms of one creator to which others may add the same user.
    public var addedRooms: Int
    /// Banned users of a room who were never in it.
    public var bans: Int

    /// The part of ``roomsPerUser`` that other users may fill by adding.
    public var roomsByOthers: Int { roomsPerUser - roomsPerUser / 5 }

    /// A frame that removes all members counts them in 16 bits.
    public static let maxMembers = RequestLimit.roomMembers

    init(_ values: inout SettingsReader) {
        groupLimit = values.number("ROOM_GROUP_LIMIT", default: 50, in: 2...Self.maxMembers)
        channelLimit = values.number("ROOM_CHANNEL_LIMIT", default: 100, in: 2...Self.maxMembers)
        editTime = values.seconds("MESSAGE_EDIT_SECONDS", default: 86_400, in: 0...Int(Int32.max))
        pins = values.number("ROOM_PIN_LIMIT", default: 50, in: 1...1000)
        invitations = values.number("ROOM_INVITATION_LIMIT", default: 100, in: 1...10_000)
        invitationTime = values.seconds("INVITATION_SECONDS", default: 604_800, in: 60...Int(Int32.max))
        // A socket counts its caught-up rooms in 16 bits.
        roomsPerUser = values.number("ROOMS_PER_USER", default: 10_000, in: 1...50_000)
        addedRooms = values.number("ADDED_ROOMS_PER_USER", default: 1000, in: 1...50_000)
        bans = values.number("ROOM_BAN_LIMIT", default: 10_000, in: 1...100_000)
    }

    /// The default member limit of this type of room.
    public func limit(of type: RoomType) -> Int {
        switch type {
        case .privateRoom: 2
        case .group: groupLimit
        case .channel: channelLimit
        }
    }
}
