/// The part of the store that a batch of commands needs, what they change in it, and what the rooms are told.
///
/// Pure: the writer loads it, lets each command act on it in order, and stores what changed in one transaction.
public struct RoomBatch: Sendable {
    public struct MemberKey: Hashable, Sendable {
        public var room: UUID128
        public var user: UUID128

        public init(_ room: UUID128, _ user: UUID128) {
            self.room = room
            self.user = user
        }
    }

    /// Byte by byte, as the store compares Signs: two spellings of one letter are two Signs.
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

    /// Somebody who puts another into a room.
    public struct AddKey: Hashable, Sendable {
        public var actor: UUID128
        public var user: UUID128

        public init(_ actor: UUID128, _ user: UUID128) {
            self.actor = actor
            self.user = user
        }
    }

    /// A change of a room's order that is not a new message.
    public struct Event: Sendable, Equatable {
        public var room: UUID128
        public var commandID: UUID128
        public var actor: UUID128
        public var at: Int64
        public var frame: RoomFrame
        /// For `message_updated`: told again from the message, which may have changed since.
        public var message: UUID128?
    }

    /// Users' messages in (the member's stored last seen Seq, a given Seq].
    public struct SeenCount: Sendable, Equatable {
        public var all: Int64
        public var own: Int64

        public init(all: Int64, own: Int64) {
            self.all = all
            self.own = own
        }
    }

    /// A message that is old enough to go.
    public struct OldMessage: Sendable, Equatable {
        public var seq: Int64
        public var sender: UUID128
        /// It counts as unread: a user's, not the room's own.
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
    /// Messages that a command forwards and its actor may read.
    public var readable: Set<ReadKey> = []
    /// Frames of commands that were carried out before, by command id.
    public var done: [UUID128: [RoomFrame]] = [:]
    public var blocks: Set<Block> = []
    /// Users whose setting keeps this actor from putting them into a room.
    public var refusedAdds: Set<AddKey> = []
    /// Rooms that users are in, of those who may come into another one.
    public var roomCounts: [UUID128: Int] = [:]
    /// Pinned messages of rooms where one is pinned.
    public var pinned: [UUID128: Set<UUID128>] = [:]
    public var invitations: [UUID128: Invitation] = [:]
    /// The oldest messages of rooms that are purged, in order.
    public var oldMessages: [UUID128: [OldMessage]] = [:]
    /// The Seq of the newest edit of messages that are edited on a condition.
    public var editSeqs: [UUID128: Int64] = [:]
    /// The host application's, by command id.
    public var verdicts: [UUID128: Verdict] = [:]
    /// By command id.
    public var seenCounts: [UUID128: SeenCount] = [:]
    /// Members as they were stored, or as they joined in this batch: where counting for a seen mark begins.
    private var baselines: [MemberKey: Member] = [:]
    private var joinedHere: Set<MemberKey> = []

    // MARK: As changed

    public private(set) var newRooms: [UUID128] = []
    public private(set) var changedRooms: Set<UUID128> = []
    public private(set) var changedMembers: Set<MemberKey> = []
    public private(set) var newMessages: [UUID128] = []
    /// Messages that got their Seq here: new ones, and those whose files became complete.
    private(set) var placed: [UUID128] = []
    public private(set) var changedMessages: Set<UUID128> = []
    public internal(set) var events: [Event] = []
    public private(set) var edits: [Edit] = []
    public private(set) var changedInvitations: Set<UUID128> = []
    public private(set) var wiped: Set<UUID128> = []
    /// Up to which Seq nothing is left of a room.
    public private(set) var purged: [UUID128: Int64] = [:]

    // MARK: As told

    /// Frames of each room, in order.
    public private(set) var frames: [UUID128: [RoomFrame]] = [:]
    public private(set) var userEvents: [(user: UUID128, event: UserEvent)] = []

    let limits: RoomSettings
    public let now: Int64

    /// - Parameter now: Unix milliseconds; the one time stamp of everything in the batch.
    public init(limits: RoomSettings, now: Int64) {
        self.limits = limits
        self.now = now
    }

    /// Call once after loading, before the first command.
    public mutating func begin() { baselines = members }

    public var isUnchanged: Bool {
        newRooms.isEmpty && changedRooms.isEmpty && changedMembers.isEmpty && newMessages.isEmpty
            && changedMessages.isEmpty && events.isEmpty && changedInvitations.isEmpty
    }

    /// Messages that everybody could see until this batch.
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

    /// A message of the command's room, as the actor may see it.
    func message(_ id: UUID128, _ command: Command) throws(Refusal) -> Message {
        guard let message = messages[id], message.roomID == command.room,
            message.hasPlace || message.senderID == command.actor
        else { throw .messageNotFound }
        return message
    }

    /// Whether either of two users has blocked the other.
    func areBlocked(_ one: UUID128, _ other: UUID128) -> Bool {
        blocks.contains(Block(blocker: one, blocked: other)) || blocks.contains(Block(blocker: other, blocked: one))
    }

    func baseline(_ key: MemberKey) -> (member: Member, isStored: Bool)? {
        baselines[key].map { ($0, !joinedHere.contains(key)) }
    }

    // MARK: Changing

    /// The room's next place in the order.
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

    /// Whether these users may come into one more room. `actor` is told of their own number.
    func refuseTooManyRooms(_ users: [UUID128], by actor: UUID128) throws(Refusal) {
        for user in users where roomCounts[user, default: 0] >= limits.roomsPerUser {
            let most = "in \(limits.roomsPerUser) rooms, and nobody is in more"
            guard user != actor else { throw Refusal(.conflict, "you are \(most): leave one first") }
            throw Refusal(.conflict, "\(user) is \(most)", field: "Members")
        }
    }

    /// Whether each of these lets the actor put them into a room.
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

    /// Someone who is in the room from now on, or (banned before ever joining) kept out of it.
    mutating func put(member: Member) {
        let key = MemberKey(member.roomID, member.userID)
        if member.isActive, members[key]?.isActive != true { roomCounts[member.userID, default: 0] += 1 }
        members[key] = member
        changedMembers.insert(key)
        baselines[key] = member
        joinedHere.insert(key)
    }

    mutating func change(member key: MemberKey, _ body: (inout Member) -> Void) {
        body(&members[key]!)
        changedMembers.insert(key)
    }

    /// Gives the message the room's next Seq, and counts it.
    mutating func place(_ message: inout Message) {
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

    /// Another message of this sender may have that Sign.
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

    /// The room's log in Redis holds content that must be gone.
    mutating func wipeLog(of room: UUID128) { wiped.insert(room) }

    mutating func remember(roomSign sign: String?, of command: Command) {
        if let sign { roomsBySign[SignKey(command.actor, sign)] = command.room }
    }

    // MARK: Telling

    mutating func tell(_ room: UUID128, _ frame: RoomFrame) { frames[room, default: []].append(frame) }

    mutating func tell(user: UUID128, _ event: UserEvent) { userEvents.append((user, event)) }

    /// Tells the room and keeps the frame, so that it can be told again.
    mutating func record(_ frame: RoomFrame, of command: Command, message: UUID128? = nil) {
        events.append(
            Event(
                room: command.room, commandID: command.id, actor: command.actor, at: now, frame: frame,
                message: message))
        tell(command.room, frame)
    }
}
