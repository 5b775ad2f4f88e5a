/// The part of the store that a batch of commands needs, with their changes and the frames for the rooms.
///
/// A pure value: the writer loads it, executes each command on it in order, and stores the changes in one transaction.
public struct RoomBatch: Sendable {
    public struct MemberKey: Hashable, Sendable {
        public var room: UUID128
        public var user: UUID128

        public init(_ room: UUID128, _ user: UUID128) {
            self.room = room
            self.user = user
        }
    }

    /// Compares bytes, as the store does: two spellings of one letter are two Signs.
    public struct SignKey: Hashable, Sendable {
        public var sender: UUID128
        public var sign: String

        public static func == (a: SignKey, b: SignKey) -> Bool {
            a.sender == b.sender && areSameBytes(a.sign, b.sign)
        }

        public func hash(into hasher: inout Hasher) {
            hasher.combine(sender)
            for byte in sign.utf8 { hasher.combine(byte) }
        }

        public init(_ sender: UUID128, _ sign: String) {
            self.sender = sender
            self.sign = sign
        }
    }

    public struct Block: Hashable, Sendable {
        public var blocker: UUID128
        public var blocked: UUID128

        public init(blocker: UUID128, blocked: UUID128) {
            self.blocker = blocker
            self.blocked = blocked
        }
    }

    /// A message and the user who wants to forward it.
    public struct ReadKey: Hashable, Sendable {
        public var message: UUID128
        public var user: UUID128

        public init(_ message: UUID128, _ user: UUID128) {
            self.message = message
            self.user = user
        }
    }

    /// A user who adds another to a room.
    public struct AddKey: Hashable, Sendable {
        public var actor: UUID128
        public var user: UUID128

        public init(_ actor: UUID128, _ user: UUID128) {
            self.actor = actor
            self.user = user
        }
    }

    /// A change with a Seq that is not a new message.
    public struct RoomEvent: Sendable, Equatable {
        public var room: UUID128
        public var commandID: UUID128
        public var actor: UUID128
        public var at: Int64
        public var frame: RoomFrame
        /// The message of a `message_updated`: a repeated frame shows its current content.
        public var message: UUID128?
    }

    /// Counts of users' messages with a Seq in (the member's stored last seen Seq, a given Seq].
    public struct SeenCount: Sendable, Equatable {
        public var all: Int64
        public var own: Int64

        public init(all: Int64, own: Int64) {
            self.all = all
            self.own = own
        }
    }

    /// A message that is old enough to be removed.
    public struct OldMessage: Sendable, Equatable {
        public var seq: Int64
        public var sender: UUID128
        /// It counts as unread: a user sent it, not the room.
        public var counts: Bool

        public init(seq: Int64, sender: UUID128, counts: Bool) {
            self.seq = seq
            self.sender = sender
            self.counts = counts
        }
    }

    public struct Edit: Sendable, Equatable {
        public var message: UUID128
        public var changeSeq: Int64
        public var before: String
        public var at: Int64
    }

    // MARK: As loaded

    public var rooms: [UUID128: Room] = [:]
    public var members: [MemberKey: Member] = [:]
    public var messages: [UUID128: Message] = [:]
    public var messagesBySign: [SignKey: Message] = [:]
    public var roomsBySign: [SignKey: UUID128] = [:]
    /// The digests of earlier requests with a Sign; see ``requestKey(_:)``.
    public var requests: [SignKey: UUID128] = [:]
    /// Messages that a command forwards and that its actor may read.
    public var readable: Set<ReadKey> = []
    /// Frames of commands that were executed before, by command id.
    public var done: [UUID128: [RoomFrame]] = [:]
    public var blocks: Set<Block> = []
    /// Pairs where the user's settings forbid that this actor adds them.
    public var refusedAdds: Set<AddKey> = []
    /// Known profiles of users who may enter a room.
    public var profiles: [UUID128: Profile] = [:]
    /// The host's own ids of users that commands name.
    var names: [UUID128: String] = [:]
    /// The number of rooms of users who may enter another one.
    public var roomCounts: [UUID128: Int] = [:]
    /// For users who are added to a room: the number of their GROUPs and CHANNELs with the same creator.
    public var madeCounts: [MemberKey: Int] = [:]
    /// By room: the number of users who were banned without having been members, also if the ban has ended.
    public var bannedStrangers: [UUID128: Int] = [:]
    /// Pinned messages of the rooms in which a command pins one.
    public var pinned: [UUID128: Set<UUID128>] = [:]
    public var invitations: [UUID128: Invitation] = [:]
    /// The oldest messages of rooms to purge, in order.
    public var oldMessages: [UUID128: [OldMessage]] = [:]
    /// The Seq of the newest edit, for messages with a conditional edit.
    public var editSeqs: [UUID128: Int64] = [:]
    /// The host application's decisions, by command id.
    public var verdicts: [UUID128: Verdict] = [:]
    /// By command id.
    public var seenCounts: [UUID128: SeenCount] = [:]
    /// Members as stored, or as they joined in this batch: the starting point of counts for a read mark.
    private var baselines: [MemberKey: Member] = [:]
    private var joinedHere: Set<MemberKey> = []

    // MARK: As changed

    public private(set) var newRooms: [UUID128] = []
    public private(set) var changedRooms: Set<UUID128> = []
    public private(set) var changedMembers: Set<MemberKey> = []
    public private(set) var newMessages: [UUID128] = []
    /// Messages that got their Seq in this batch: new ones, and those whose files became complete.
    private(set) var placed: [UUID128] = []
    public private(set) var changedMessages: Set<UUID128> = []
    public internal(set) var events: [RoomEvent] = []
    public private(set) var edits: [Edit] = []
    public internal(set) var newRequests: [(user: UUID128, sign: String, digest: UUID128)] = []
    public private(set) var changedInvitations: Set<UUID128> = []
    public private(set) var wiped: Set<UUID128> = []
    /// The Seq up to which a room was purged.
    public private(set) var purged: [UUID128: Int64] = [:]
    /// Users that a command names by the host's id for the first time.
    public private(set) var newNames: [UUID128: String] = [:]

    // MARK: As told

    /// Frames of each room, in order.
    public private(set) var frames: [UUID128: [RoomFrame]] = [:]
    public private(set) var userEvents: [(user: UUID128, event: UserEvent)] = []

    let limits: RoomSettings
    public let now: Int64

    /// - Parameter now: Unix milliseconds; the only time stamp of the batch.
    public init(limits: RoomSettings, now: Int64) {
        self.limits = limits
        self.now = now
    }

    /// Call this once after loading, before the first command.
    public mutating func begin() { baselines = members }

    public var isUnchanged: Bool {
        newRooms.isEmpty && changedRooms.isEmpty && changedMembers.isEmpty && newMessages.isEmpty
            && changedMessages.isEmpty && events.isEmpty && changedInvitations.isEmpty && newRequests.isEmpty
    }

    /// Messages that everybody could see before this batch deleted them.
    public var deletedMessages: [Message] {
        changedMessages.sorted().compactMap { messages[$0] }.filter { $0.hasPlace && $0.deletedAt == now }
    }

    // MARK: Reading

    func room(_ id: UUID128) throws(Refusal) -> Room {
        guard let room = rooms[id], room.deletedAt == nil else { throw .notAMember }
        return room
    }

    func member(_ command: Command) throws(Refusal) -> Member {
        _ = try room(command.room)
        guard let member = members[MemberKey(command.room, command.actor)] else { throw .notAMember }
        guard member.bannedAt == nil else { throw Refusal(.banned, "you are banned from this room") }
        guard member.leftAt == nil else { throw .notAMember }
        return member
    }

    /// A message of the command's room that the actor may see.
    func message(_ id: UUID128, _ command: Command) throws(Refusal) -> Message {
        guard let message = messages[id], message.roomID == command.room,
            message.hasPlace || message.senderID == command.actor
        else { throw .messageNotFound }
        return message
    }

    /// Whether either of the two users has blocked the other.
    func areBlocked(_ one: UUID128, _ other: UUID128) -> Bool {
        blocks.contains(Block(blocker: one, blocked: other)) || blocks.contains(Block(blocker: other, blocked: one))
    }

    func baseline(_ key: MemberKey) -> (member: Member, isStored: Bool)? {
        baselines[key].map { ($0, !joinedHere.contains(key)) }
    }

    // MARK: Changing

    /// Takes the room's next Seq.
    mutating func nextSeq(_ room: UUID128) -> Int64 {
        rooms[room]!.lastSeq += 1
        changedRooms.insert(room)
        return rooms[room]!.lastSeq
    }

    mutating func add(room: Room) {
        rooms[room.id] = room
        newRooms.append(room.id)
    }

    mutating func change(room id: UUID128, _ body: (inout Room) -> Void) {
        body(&rooms[id]!)
        changedRooms.insert(id)
    }

    /// Refuses when one of these users has reached the limit of rooms. If it is the actor, the sentence names the
    /// actor's number of rooms.
    ///
    /// The last part of the limit cannot be filled by others with GROUPs and CHANNELs: it is kept for the user's own
    /// rooms and for PRIVATE ones.
    func refuseTooManyRooms(_ users: [UUID128], _ command: Command, isPrivate: Bool = false) throws(Refusal) {
        let mayFill = isPrivate || command.isHost
        for user in users {
            let count = roomCounts[user, default: 0]
            guard user != command.actor else {
                guard count < limits.roomsPerUser else {
                    let most = "in \(limits.roomsPerUser) rooms, which is the limit"
                    throw Refusal(.conflict, "you are \(most): leave one first")
                }
                continue
            }
            let most = mayFill ? limits.roomsPerUser : limits.roomsByOthers
            guard count < most else {
                throw Refusal(.conflict, "\(user) is in \(most) rooms, which is the limit", field: "Members")
            }
            let made = madeCounts[MemberKey(command.room, user), default: 0]
            guard mayFill || made < limits.addedRooms else {
                throw Refusal(
                    .conflict,
                    "\(user) is in \(made) rooms of the same creator, which is the limit: send an invitation",
                    field: "Members")
            }
        }
    }

    /// Refuses when one of these users does not let the actor add them.
    func refuseUnwilling(_ users: [UUID128], _ command: Command) throws(Refusal) {
        guard !command.isHost else { return }
        for user in users where user != command.actor {
            guard !blocks.contains(Block(blocker: user, blocked: command.actor)) else {
                throw Refusal(.blocked, "\(user) has blocked you", field: "Members")
            }
            guard !refusedAdds.contains(AddKey(command.actor, user)) else {
                throw Refusal(.forbidden, "\(user) does not let you add them: send an invitation", field: "Members")
            }
        }
    }

    /// A new member, or a user who is banned without ever having joined.
    mutating func put(member: Member) {
        let key = MemberKey(member.roomID, member.userID)
        var member = member
        member.profile = member.profile ?? members[key]?.profile ?? profile(of: member.userID)
        if member.isActive, members[key]?.isActive != true { roomCounts[member.userID, default: 0] += 1 }
        members[key] = member
        changedMembers.insert(key)
        baselines[key] = member
        joinedHere.insert(key)
    }

    /// The stored profile, or the text by which the command names the user.
    private mutating func profile(of user: UUID128) -> Profile? {
        if let profile = profiles[user], profile.externalID != nil || names[user] == nil { return profile }
        guard let name = names[user] else { return nil }
        newNames[user] = name
        var profile = profiles[user] ?? Profile()
        profile.externalID = name
        profile.version = max(profile.version, 1)
        profiles[user] = profile
        return profile
    }

    mutating func change(member key: MemberKey, _ body: (inout Member) -> Void) {
        body(&members[key]!)
        changedMembers.insert(key)
    }

    /// Gives the message the room's next Seq and counts it.
    mutating func place(_ message: inout Message) {
        nameSender(of: &message)
        message.seq = nextSeq(message.roomID)
        message.changeSeq = message.seq
        placed.append(message.id)
        let seq = message.seq
        let counts = message.messageType != .system
        let now = now
        change(room: message.roomID) { room in
            room.lastMessageSeq = seq
            room.lastActivityAt = now
            if counts { room.messageCount += 1 }
        }
        if counts { change(member: MemberKey(message.roomID, message.senderID)) { $0.sentCount += 1 } }
    }

    /// Uses the loaded members of the room, so no message needs a query for its sender.
    func nameSender(of message: inout Message) {
        message.sender = members[MemberKey(message.roomID, message.senderID)]?.profile ?? message.sender
    }

    mutating func add(message: Message) {
        messages[message.id] = message
        if let sign = message.sign { messagesBySign[SignKey(message.senderID, sign)] = message }
        newMessages.append(message.id)
    }

    mutating func change(message: Message) {
        messages[message.id] = message
        if let sign = message.sign { messagesBySign[SignKey(message.senderID, sign)] = message }
        changedMessages.insert(message.id)
    }

    /// Frees the Sign for another message of this sender.
    mutating func free(signOf message: inout Message) {
        guard let sign = message.sign else { return }
        message.sign = nil
        messagesBySign[SignKey(message.senderID, sign)] = nil
    }

    mutating func put(invitation: Invitation) {
        invitations[invitation.id] = invitation
        changedInvitations.insert(invitation.id)
    }

    mutating func purge(_ room: UUID128, through seq: Int64) { purged[room] = seq }

    mutating func keep(edit: Edit) { edits.append(edit) }

    /// The room's log in Redis contains content that must be removed.
    mutating func wipeLog(of room: UUID128) { wiped.insert(room) }

    mutating func remember(roomSign sign: String?, of command: Command) {
        if let sign { roomsBySign[SignKey(command.actor, sign)] = command.room }
    }

    // MARK: Telling

    mutating func tell(_ room: UUID128, _ frame: RoomFrame) { frames[room, default: []].append(frame) }

    mutating func tell(user: UUID128, _ event: UserEvent) { userEvents.append((user, event)) }

    /// Publishes the frame and stores it, so that it can be repeated.
    mutating func record(_ frame: RoomFrame, of command: Command, message: UUID128? = nil) {
        events.append(
            RoomEvent(
                room: command.room, commandID: command.id, actor: command.actor, at: now, frame: frame,
                message: message))
        tell(command.room, frame)
    }
}
