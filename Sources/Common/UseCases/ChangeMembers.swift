extension RoomBatch {
    mutating func addMembers(_ users: [UUID128], _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room always has two members") }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN may invite") }
        // A user who was added and has left since is not added again by a retry.
        guard try !isKnown(command) else {
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        let new = users.filter { members[MemberKey(room.id, $0)]?.isActive != true }
        guard !new.isEmpty else {
            keepRequest(command)
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        try refuseUnwilling(new, command)
        try refuseForbidden(command.id)
        let outcome = try admit(new, to: room, command)
        keepRequest(command)
        return outcome
    }

    /// Admits users who are not members: all of them, or none when one is banned or the room is too small.
    mutating func admit(_ users: [UUID128], to room: Room, _ command: Command) throws(Refusal) -> CommandOutcome {
        if let banned = users.first(where: { members[MemberKey(room.id, $0)]?.bannedAt != nil }) {
            throw Refusal(.banned, "\(banned) is banned from this room", field: "Members")
        }
        let limit = min(room.memberLimit ?? .max, limits.limit(of: room.type))
        guard room.memberCount + users.count <= limit else {
            throw Refusal(.roomFull, "the room has at most \(limit) members", field: "Members")
        }
        try refuseTooManyRooms(users, command)
        var answer: CommandOutcome?
        for user in users {
            let outcome = admit(user, to: rooms[room.id]!, isFirst: answer == nil, command)
            answer = answer ?? outcome
        }
        return answer!
    }

    mutating func admit(
        _ user: UUID128, to room: Room, isFirst: Bool, _ command: Command
    ) -> CommandOutcome {
        let before = members[MemberKey(room.id, user)]
        let sent = before?.sentCount ?? 0
        // The OWNER left as the last member: a room without an OWNER could never be managed or deleted again.
        let role = room.memberCount == 0 && room.type != .privateRoom ? Role.owner : .member
        put(
            member: Member(
                roomID: room.id, userID: user, role: role, lastSeenSeq: room.lastMessageSeq,
                seenCount: room.messageCount, seenSentCount: sent, sentCount: sent,
                // Leaving and coming back ends neither a mute nor the wait of slow mode.
                mutedUntil: before?.mutedUntil, joinedAt: now,
                joinedSeq: room.lastSeq + 1, lastSentAt: before?.lastSentAt))
        change(room: room.id) {
            $0.memberCount += 1
            if role == .owner { $0.ownerID = user }
        }
        tell(user: user, .joined(room: room.id, seq: UInt64(room.lastSeq), created: nil))
        let outcome = changed(.joined, member: user, joined: [user], first: isFirst, command)
        say(.joined, of: user, command)
        return outcome
    }

    /// Removes the actor (leaving), or a member with a lower role than the actor's.
    mutating func removeMember(_ user: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else {
            throw Refusal(.forbidden, "nobody can leave a PRIVATE room: block the other user instead")
        }
        let target = try other(user, command)
        if user == command.actor {
            guard target.role != .owner || room.memberCount == 1 else {
                throw Refusal(.conflict, "transfer the room before you leave: you are its OWNER")
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

    /// Only the OWNER may do this; making another member the OWNER transfers the room.
    mutating func setRole(_ role: Role, of user: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room has no roles") }
        guard actor.role == .owner else { throw Refusal(.forbidden, "only the OWNER may change roles") }
        let target = try other(user, command)
        guard user != command.actor else { throw Refusal(.conflict, "transfer the room to change your own role") }
        guard target.role != role else { return standing(.role, member: user, command) }
        change(member: MemberKey(room.id, user)) { $0.role = role }
        if role == .owner {
            change(member: MemberKey(room.id, command.actor)) { $0.role = .admin }
            change(room: room.id) { $0.ownerID = user }
        }
        let change = role == .owner ? RoomChange.owner : .role
        let outcome = changed(change, member: user, command)
        say(change, of: user, command)
        if role == .owner {
            _ = changed(.role, member: command.actor, first: false, command)
            say(.role, of: command.actor, command)
        }
        return outcome
    }

    /// - Parameter until: Unix milliseconds; nil ends the mute.
    mutating func mute(_ user: UUID128, until: Int64?, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let target = try other(user, command)
        try above(actor, target)
        guard target.mutedUntil != until else {
            return standing(until == nil ? .unmuted : .muted, member: user, command)
        }
        change(member: MemberKey(command.room, user)) { $0.mutedUntil = until }
        let outcome = changed(until == nil ? .unmuted : .muted, member: user, command)
        say(until == nil ? .unmuted : .muted, of: user, command)
        return outcome
    }

    /// Banning a member also removes them. Lifting a ban allows them to join, but does not bring them back.
    mutating func ban(_ user: UUID128, _ banned: Bool, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else {
            throw Refusal(.forbidden, "nobody can be banned from a PRIVATE room: block the other user instead")
        }
        guard actor.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN may ban") }
        let key = MemberKey(room.id, user)
        let wasActive = members[key]?.isActive == true
        if let target = members[key], wasActive { try above(actor, target) }
        guard (members[key]?.bannedAt != nil) != banned else {
            guard members[key] != nil else { throw Refusal(.notFound, "this user was never in the room") }
            return standing(banned ? .banned : .unbanned, member: user, command)
        }
        if members[key] == nil {
            let count = bannedStrangers[room.id, default: 0]
            guard count < limits.bans else {
                throw Refusal(.conflict, "\(count) users were banned who never were in the room: that is the limit")
            }
            bannedStrangers[room.id] = count + 1
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

    /// Members change their own Metadata; OWNER, ADMIN and the host change that of every member.
    mutating func change(
        metadata patch: MetadataPatch, ofMember user: UUID128, _ command: Command
    ) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let target = try other(user, command)
        if !command.isHost {
            guard user == command.actor || actor.role >= .admin else {
                throw Refusal(.forbidden, "only the member, OWNER and ADMIN may change a member's Metadata")
            }
            // All members can read it, like a message.
            try refuseMuted(actor)
            try refuseBlockedPair(actor)
        }
        let metadata = try Metadata.merged(patch, into: target.metadata)
        guard metadata != target.metadata else { return standing(.metadata, member: user, command) }
        change(member: MemberKey(command.room, user)) { $0.metadata = metadata }
        return changed(.metadata, member: user, command)
    }

    private func other(_ user: UUID128, _ command: Command) throws(Refusal) -> Member {
        guard let member = members[MemberKey(command.room, user)], member.isActive else {
            throw Refusal(.notFound, "that user is not a member of this room")
        }
        return member
    }

    private func above(_ actor: Member, _ target: Member) throws(Refusal) {
        guard actor.role >= .admin, actor.role > target.role else {
            throw Refusal(.forbidden, "only a member with a higher role may do that")
        }
    }
}
