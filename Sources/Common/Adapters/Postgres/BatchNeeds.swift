import ChatCore

/// The keys that a batch must load.
struct BatchNeeds {
    var rooms: [UUID128] = []
    var roomSignOwners: [UUID128] = []
    var roomSigns: [String?] = []
    var memberRooms: [UUID128] = []
    var memberUsers: [UUID128] = []
    var wholeRooms: [UUID128] = []
    /// Rooms that may be PRIVATE: these need blocks and both members.
    var pairRooms: [UUID128] = []
    var messages: [UUID128] = []
    var signSenders: [UUID128] = []
    var signs: [String?] = []
    var forwarded: [UUID128] = []
    var forwarders: [UUID128] = []
    var commands: [UUID128] = []
    var pairOnes: [UUID128] = []
    var pairOthers: [UUID128] = []
    /// Users who may enter another room, and pairs of (actor, added user).
    var newcomers: [UUID128] = []
    /// Users who may become members.
    var profiles: [UUID128] = []
    var adders: [UUID128] = []
    var added: [UUID128] = []
    /// Users who are added to a room, with the room and the actor.
    var enteredRooms: [UUID128] = []
    var enteredBy: [UUID128] = []
    var entering: [UUID128] = []
    var requestUsers: [UUID128] = []
    var requestSigns: [String?] = []
    /// Rooms from which a user is banned.
    var banRooms: [UUID128] = []
    var seenCommands: [UUID128] = []
    var seenRooms: [UUID128] = []
    var seenUsers: [UUID128] = []
    var seenSeqs: [Int64?] = []
    var conditionalEdits: [UUID128] = []
    var pinRooms: [UUID128] = []
    var invitations: [UUID128] = []
    var inviters: [UUID128] = []
    var inviteRooms: [UUID128] = []
    var inviteSigns: [String?] = []
    var erasedRooms: [UUID128] = []
    var erasedUsers: [UUID128] = []
    var purgedRooms: [UUID128] = []
    var purgedBefore: [Int64?] = []

    init(_ all: [Command]) {
        rooms = Array(Set(all.map(\.room)))
        pairRooms = rooms.filter(\.mayBePrivateRoom)
        wholeRooms = pairRooms
        for command in all {
            member(command.room, command.actor)
            if let key = RoomBatch.requestKey(command) {
                requestUsers.append(key.sender)
                requestSigns.append(key.sign)
            }
            if case .send = command.action {} else { commands.append(command.id) }
            add(command)
        }
        profiles += newcomers
    }

    private mutating func member(_ room: UUID128, _ user: UUID128) {
        memberRooms.append(room)
        memberUsers.append(user)
    }

    private mutating func add(_ command: Command) {
        switch command.action {
        case .send(let draft, let receiver): add(draft, to: receiver, command)
        case .seen(let seq): add(seen: seq, command)
        case .edit(let message, _, let base, _):
            messages.append(message)
            if base != nil { conditionalEdits.append(message) }
        case .delete(let message), .react(let message, _, _), .messageMetadata(let message, _),
            .completeFile(let message, _), .abandonFile(let message),
            .describeFile(let message, _):
            messages.append(message)
        case .pin(let message, _):
            messages.append(message)
            pinRooms.append(command.room)
        case .createInvitation: invite(command)
        case .revokeInvitation(let id): invitations.append(id)
        case .join(let id):
            invitations.append(id)
            newcomers.append(command.actor)
        case .announce: message(of: command)
        case .erase(let user): erase(user, command)
        case .purge(let before):
            wholeRooms.append(command.room)
            purgedRooms.append(command.room)
            purgedBefore.append(before)
        case .createRoom(let draft): create(draft, command)
        case .deleteRoom: wholeRooms.append(command.room)
        case .addMembers(let users): addMembers(users, command)
        case .removeMember(let user), .setRole(let user, _), .mute(let user, _), .memberMetadata(let user, _):
            member(command.room, user)
        case .ban(let user, let banned):
            member(command.room, user)
            if banned { banRooms.append(command.room) }
            // A user who was never a member can be banned too.
            profiles.append(user)
        case .updateRoom: break
        }
    }

    /// A new message; an earlier message may have the same Sign.
    private mutating func message(of command: Command) {
        messages.append(command.id)
        if let sign = command.sign {
            signSenders.append(command.actor)
            signs.append(sign)
        }
    }

    private mutating func add(_ draft: MessageDraft, to receiver: UUID128?, _ command: Command) {
        message(of: command)
        if let receiver {
            pair(command.actor, receiver)
            add([receiver], by: command.actor)
            newcomers.append(command.actor)
        }
        guard let parent = draft.parent else { return }
        messages.append(parent)
        if draft.messageType == .forwarded {
            forwarded.append(parent)
            forwarders.append(command.actor)
        }
    }

    private mutating func add(seen seq: Int64?, _ command: Command) {
        guard let seq else { return }
        seenCommands.append(command.id)
        seenRooms.append(command.room)
        seenUsers.append(command.actor)
        seenSeqs.append(seq)
    }

    private mutating func invite(_ command: Command) {
        invitations.append(command.id)
        inviters.append(command.actor)
        inviteRooms.append(command.room)
        inviteSigns.append(command.sign)
    }

    private mutating func create(_ draft: RoomDraft, _ command: Command) {
        wholeRooms.append(command.room)
        if let sign = command.sign {
            roomSignOwners.append(command.actor)
            roomSigns.append(sign)
        }
        newcomers.append(command.actor)
        add(draft.members, by: command.actor)
        if draft.type != .privateRoom { enter(draft.members, command) }
        for other in draft.members { pair(command.actor, other) }
    }

    private mutating func erase(_ user: UUID128, _ command: Command) {
        wholeRooms.append(command.room)
        erasedRooms.append(command.room)
        erasedUsers.append(user)
    }

    private mutating func addMembers(_ users: [UUID128], _ command: Command) {
        add(users, by: command.actor)
        enter(users, command)
        for user in users {
            member(command.room, user)
            pair(command.actor, user)
        }
    }

    private mutating func add(_ users: [UUID128], by actor: UUID128) {
        newcomers += users
        for user in users {
            adders.append(actor)
            added.append(user)
        }
    }

    private mutating func enter(_ users: [UUID128], _ command: Command) {
        guard !command.isHost else { return }
        for user in users {
            enteredRooms.append(command.room)
            enteredBy.append(command.actor)
            entering.append(user)
        }
    }

    private mutating func pair(_ one: UUID128, _ other: UUID128) {
        pairOnes.append(one)
        pairOthers.append(other)
    }
}
