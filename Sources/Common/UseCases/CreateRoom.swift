extension RoomBatch {
    /// Returns the existing room if the pair has a PRIVATE room, or if the same key has made one before.
    mutating func createRoom(_ draft: RoomDraft, _ command: Command) throws(Refusal) -> CommandOutcome {
        let isKnown = try isKnown(command)
        if let sign = command.sign, let earlier = roomsBySign[SignKey(command.actor, sign)], let room = rooms[earlier] {
            // After any change the room may have another name, so only an unchanged room is compared.
            guard room.type == draft.type,
                isKnown || room.lastSeq > 0
                    || areSameBytes(room.name, draft.name)
                        && areSameBytes(room.description, draft.description) && areSameBytes(room.avatar, draft.avatar)
                        && Metadata.areSame(room.metadata, draft.metadata)
            else { throw .otherRequest }
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        if let room = rooms[command.room] {
            guard let member = members[MemberKey(room.id, command.actor)], member.isActive, room.deletedAt == nil else {
                throw .notAMember
            }
            try refuseBlockedPair(member)
            announce(room)
            keepRequest(command)
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        let limit = min(draft.memberLimit ?? .max, limits.limit(of: draft.type))
        guard draft.members.count + 1 <= limit else {
            throw Refusal(.roomFull, "a \(draft.type.name) room has at most \(limit) members", field: "Members")
        }
        if draft.type == .privateRoom, let other = draft.members.first { try refuseBlocked(command.actor, other) }
        try refuseUnwilling(draft.members, command)
        try refuseTooManyRooms(
            [command.actor] + draft.members, command, isPrivate: draft.type == .privateRoom)
        // A PRIVATE room is identified by its members.
        let sign = draft.type == .privateRoom ? nil : command.sign
        makeRoom(draft, id: command.room, owner: command.actor, sign: sign)
        remember(roomSign: sign, of: command)
        keepRequest(command)
        return answered(view(of: rooms[command.room]!, for: command.actor), command, inFrame: false)
    }

    mutating func makeRoom(_ draft: RoomDraft, id: UUID128, owner: UUID128, sign: String?) {
        let users = [owner] + draft.members.filter { $0 != owner }
        let room = Room(
            id: id, type: draft.type, name: draft.name, description: draft.description, avatar: draft.avatar,
            ownerID: owner, memberCount: users.count, memberLimit: draft.memberLimit, lastActivityAt: now,
            createdAt: now, createdSign: sign, metadata: draft.metadata)
        add(room: room)
        for user in users {
            // The two members of a PRIVATE room have the same role.
            let role: Role = user == owner && draft.type != .privateRoom ? .owner : .member
            put(member: Member(roomID: id, userID: user, role: role, joinedAt: now))
        }
        announce(room)
    }

    /// Tells each member of a new room. Its creation has Seq 0 and goes to the members themselves: their relays do not
    /// follow the room yet.
    mutating func announce(_ room: Room) {
        for (key, member) in members.sorted(by: { $0.key.user < $1.key.user })
        where key.room == room.id && member.isActive {
            let view = RoomView(room: room, unread: member.unread(in: room), role: member.role)
            let update = RoomUpdate(roomID: room.id, change: .created, room: view, seq: 0)
            tell(
                user: key.user,
                .joined(
                    room: room.id, seq: 0,
                    created: FrameBody(room: room.id, seq: 0) { update.write(to: &$0) }))
        }
    }

    func view(of room: Room, for user: UUID128) -> FrameBody {
        let member = members[MemberKey(room.id, user)]
        let view = RoomView(
            room: room, unread: member?.unread(in: room) ?? 0, role: member?.role, mutedUntil: member?.mutedUntil)
        return FrameBody { view.write(to: &$0) }
    }
}
