extension RoomBatch {
    mutating func updateRoom(_ patch: RoomPatch, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room has nothing to change") }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN change a room") }
        if let limit = patch.memberLimit {
            let most = limits.limit(of: room.type)
            guard limit <= most else { throw .invalid("MemberLimit", "is above \(most)") }
            guard limit >= room.memberCount else { throw Refusal(.conflict, "the room has more members than that") }
        }
        change(room: room.id) { room in
            room.name = patch.name ?? room.name
            room.description = patch.description ?? room.description
            room.avatar = patch.avatar ?? room.avatar
            room.memberLimit = patch.memberLimit ?? room.memberLimit
        }
        return changed(.changed, member: nil, command)
    }

    mutating func deleteRoom(_ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard actor.role == .owner || room.type == .privateRoom else {
            throw Refusal(.forbidden, "only the OWNER deletes a room")
        }
        let now = now
        change(room: room.id) { $0.deletedAt = now }
        let everyone = members.values.filter { $0.roomID == room.id && $0.isActive }.map(\.userID)
        wipeLog(of: room.id)
        return changed(.deleted, member: nil, left: everyone, command)
    }

    mutating func addMembers(_ users: [UUID128], _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room has two members for ever") }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN invite") }
        let new = users.filter { members[MemberKey(room.id, $0)]?.isActive != true }
        guard !new.isEmpty else { return answered(view(of: room, for: command.actor), command, inFrame: false) }
        if let banned = new.first(where: { members[MemberKey(room.id, $0)]?.bannedAt != nil }) {
            throw Refusal(.banned, "\(banned) is banned from this room", field: "Members")
        }
        let limit = min(room.memberLimit ?? .max, limits.limit(of: room.type))
        guard room.memberCount + new.count <= limit else {
            throw Refusal(.roomFull, "the room has at most \(limit) members", field: "Members")
        }
        var last: CommandOutcome?
        for user in new {
            let before = rooms[room.id]!
            put(
                member: Member(
                    roomID: room.id, userID: user, role: .member, lastSeenSeq: before.lastMessageSeq,
                    seenCount: before.messageCount,
                    seenSentCount: members[MemberKey(room.id, user)]?.sentCount ?? 0,
                    sentCount: members[MemberKey(room.id, user)]?.sentCount ?? 0, joinedAt: now,
                    joinedSeq: before.lastSeq + 1))
            change(room: room.id) { $0.memberCount += 1 }
            tell(user: user, .joined(room: room.id, seq: UInt64(before.lastSeq), created: nil))
            let outcome = changed(.joined, member: user, joined: [user], first: last == nil, command)
            last = last ?? outcome
            say(.joined, of: user, command)
        }
        return last!
    }

    /// Oneself (leaving), or another by someone of a higher role.
    mutating func removeMember(_ user: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else {
            throw Refusal(.forbidden, "nobody leaves a PRIVATE room: block instead")
        }
        let target = try other(user, command)
        if user == command.actor {
            guard target.role != .owner || room.memberCount == 1 else {
                throw Refusal(.conflict, "hand the room over before you leave: you are its OWNER")
            }
        } else {
            try above(actor, target)
        }
        let now = now
        change(member: MemberKey(room.id, user)) { $0.leftAt = now }
        change(room: room.id) { $0.memberCount -= 1 }
        let change: RoomChange = user == command.actor ? .left : .removed
        let outcome = changed(change, member: user, left: [user], command)
        say(change, of: user, command)
        return outcome
    }

    /// By the OWNER alone; making another the OWNER hands the room over.
    mutating func setRole(_ role: Role, of user: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room has no roles") }
        guard actor.role == .owner else { throw Refusal(.forbidden, "only the OWNER gives roles") }
        let target = try other(user, command)
        guard user != command.actor else { throw Refusal(.conflict, "hand the room over to change your own role") }
        guard target.role != role else { return answered(view(of: room, for: command.actor), command, inFrame: false) }
        change(member: MemberKey(room.id, user)) { $0.role = role }
        if role == .owner {
            change(member: MemberKey(room.id, command.actor)) { $0.role = .admin }
            change(room: room.id) { $0.ownerID = user }
        }
        let outcome = changed(role == .owner ? .owner : .role, member: user, command)
        say(role == .owner ? .owner : .role, of: user, command)
        return outcome
    }

    /// - Parameter until: Unix milliseconds; nil ends the silence.
    mutating func mute(_ user: UUID128, until: Int64?, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let target = try other(user, command)
        try above(actor, target)
        guard target.mutedUntil != until else {
            return answered(view(of: try room(command.room), for: command.actor), command, inFrame: false)
        }
        change(member: MemberKey(command.room, user)) { $0.mutedUntil = until }
        let outcome = changed(until == nil ? .unmuted : .muted, member: user, command)
        say(until == nil ? .unmuted : .muted, of: user, command)
        return outcome
    }

    /// Banning a member removes them; a ban keeps out until it is lifted, and lifting it does not bring them back in.
    mutating func ban(_ user: UUID128, _ banned: Bool, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else {
            throw Refusal(.forbidden, "nobody is banned from a PRIVATE room: block")
        }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN ban") }
        let key = MemberKey(room.id, user)
        let wasActive = members[key]?.isActive == true
        if let target = members[key], wasActive { try above(actor, target) }
        guard (members[key]?.bannedAt != nil) != banned else {
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        var member =
            members[key]
            ?? Member(roomID: room.id, userID: user, role: .member, joinedAt: now, joinedSeq: room.lastSeq, leftAt: now)
        member.bannedAt = banned ? now : nil
        member.leftAt = member.leftAt ?? now
        put(member: member)
        if wasActive { change(room: room.id) { $0.memberCount -= 1 } }
        let outcome = changed(
            banned ? .banned : .unbanned, member: user, left: banned && wasActive ? [user] : [], command)
        say(banned ? .banned : .unbanned, of: user, command)
        return outcome
    }

    private func other(_ user: UUID128, _ command: Command) throws(Refusal) -> Member {
        guard let member = members[MemberKey(command.room, user)], member.isActive else {
            throw Refusal(.notFound, "that user is not a member of this room")
        }
        return member
    }

    private func above(_ actor: Member, _ target: Member) throws(Refusal) {
        guard actor.role >= .admin, actor.role > target.role else {
            throw Refusal(.forbidden, "only a member of a higher role may do that")
        }
    }

    /// The `room_updated` frame of a change. `first`: it carries the answer to the socket that asked.
    private mutating func changed(
        _ change: RoomChange, member user: UUID128?, joined: [UUID128] = [], left: [UUID128] = [], first: Bool = true,
        _ command: Command
    ) -> CommandOutcome {
        let seq = nextSeq(command.room)
        let update = RoomUpdate(
            roomID: command.room, change: change, room: RoomView(room: rooms[command.room]!),
            member: user.flatMap { members[MemberKey(command.room, $0)] }, seq: seq)
        let frame = RoomFrame(
            seq: UInt64(seq), kind: .roomUpdated, origin: first ? origin(command) : nil,
            sign: first ? command.sign : nil, joined: joined, left: left,
            body: FrameBody(room: command.room, seq: seq) { update.write(to: &$0) })
        record(frame, of: command)
        return answered(frame.body, command, inFrame: true)
    }

    /// The SYSTEM message of a change of members: its content is the change and the user, for clients to phrase.
    private mutating func say(_ change: RoomChange, of user: UUID128, _ command: Command) {
        var message = Message(
            id: UUID128.v7(at: now), roomID: command.room, senderID: command.actor, seq: 0, changeSeq: 0,
            content: "\(change.rawValue) \(user)", contentType: .text, messageType: .system, createdAt: now)
        store(&message)
        tell(
            command.room,
            RoomFrame(seq: UInt64(message.seq), kind: .newMessage, body: message.body(at: message.seq)))
    }
}
