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
                        && room.slowModeSeconds == draft.slowModeSeconds
            else { throw .otherRequest }
            return answered(view(of: room, for: command.actor), command, inFrame: false)
        }
        if let room = rooms[command.room] {
            try refuseOther(room, draft.type, command)
            try reopen(room, command)
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
        try refuseForbidden(command.id)
        // A PRIVATE room is identified by its members.
        let sign = draft.type == .privateRoom ? nil : command.sign
        makeRoom(draft, id: command.room, owner: command.actor, sign: sign)
        remember(roomSign: sign, of: command)
        keepRequest(command)
        return answered(view(of: rooms[command.room]!, for: command.actor), command, inFrame: false)
    }

    /// The id of a pair's room is known to everybody who knows the two: an imported GROUP may have it, with others in it.
    func refuseOther(_ room: Room, _ type: RoomType, _ command: Command) throws(Refusal) {
        guard room.type == type else { throw .notAMember }
        if room.isBeingImported, members[MemberKey(room.id, command.actor)] != nil {
            throw .busy("the room is being imported")
        }
    }

    /// Nobody leaves a PRIVATE room: whoever has left it was erased. When one of the two opens it again, it is theirs as if
    /// they met for the first time.
    mutating func reopen(_ room: Room, _ command: Command) throws(Refusal) {
        guard room.type == .privateRoom, room.deletedAt == nil, members[MemberKey(room.id, command.actor)] != nil else {
            return
        }
        let gone = members.values.filter { $0.roomID == room.id && $0.leftAt != nil && $0.bannedAt == nil }
            .map(\.userID).sorted()
        guard let first = gone.first else { return }
        let other = members.values.first { $0.roomID == room.id && $0.userID != first }
        if let other { try refuseBlocked(first, other.userID) }
        try refuseUnwilling(gone.filter { $0 != command.actor }, command)
        try refuseTooManyRooms(gone, command, isPrivate: true)
        for user in gone { _ = admit(user, to: rooms[room.id]!, isFirst: false, command) }
    }

    mutating func makeRoom(_ draft: RoomDraft, id: UUID128, owner: UUID128, sign: String?) {
        let users = [owner] + draft.members.filter { $0 != owner }
        let room = Room(
            id: id, type: draft.type, name: draft.name, description: draft.description, avatar: draft.avatar,
            ownerID: owner, memberCount: users.count, memberLimit: draft.memberLimit, lastActivityAt: now,
            createdAt: now, createdSign: sign, metadata: draft.metadata,
            slowModeSeconds: draft.slowModeSeconds)
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
