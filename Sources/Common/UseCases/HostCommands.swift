/// Commands of the host application, which no client may send.
extension RoomBatch {
    /// The most messages that one command erases or purges, so that no batch blocks a room for long.
    public static let hostPart = 500

    mutating func announce(_ content: String, _ command: Command) throws(Refusal) -> CommandOutcome {
        if let outcome = try alreadySent(command, MessageDraft(content: content)) { return outcome }
        _ = try room(command.room)
        var message = Message(
            id: command.id, roomID: command.room, senderID: command.actor, seq: 0, changeSeq: 0, content: content,
            contentType: .text, messageType: .system, sign: command.sign, createdAt: now)
        store(&message)
        let frame = RoomFrame(seq: UInt64(message.seq), kind: .newMessage, body: message.body(at: message.seq))
        tell(command.room, frame)
        return answered(frame.body, command, inFrame: true)
    }

    /// Removes the user's messages and reactions first, then the membership. `More`: repeat the command.
    mutating func erase(_ user: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        try refuseMissing(command)
        let theirs = messages.values.filter { $0.roomID == command.room && $0.isTouched(by: user) }
            .sorted { $0.seq < $1.seq }
        for var message in theirs {
            if message.senderID == user {
                _ = remove(&message, command)
            } else {
                for place in message.reactions.indices.reversed() { message.reactions.remove(user, at: place) }
                _ = update(&message, command)
            }
        }
        let isMore = theirs.count >= Self.hostPart
        if !isMore { try leaveForGood(user, command) }
        return answered(part(count: theirs.count, isMore: isMore), command, inFrame: false)
    }

    /// The next member in rank becomes the OWNER; an empty room is deleted.
    private mutating func leaveForGood(_ user: UUID128, _ command: Command) throws(Refusal) {
        let key = MemberKey(command.room, user)
        if members[key]?.metadata != nil || members[key]?.lastSentAt != nil {
            change(member: key) { ($0.metadata, $0.lastSentAt) = (nil, nil) }
        }
        guard let room = rooms[command.room], room.deletedAt == nil, let member = members[key], member.isActive else {
            return
        }
        let now = now
        if member.role == .owner { handOver(room, from: user, command) }
        change(member: key) { $0.leftAt = now }
        change(room: room.id) { room in
            room.memberCount -= 1
            if room.memberCount == 0 { room.deletedAt = now }
        }
        _ = changed(.left, member: user, left: [user], command)
        say(.left, of: user, command)
    }

    private mutating func handOver(_ room: Room, from user: UUID128, _ command: Command) {
        let others = members.values.filter { $0.roomID == room.id && $0.isActive && $0.userID != user }
        // The highest role; among equals, the longest membership.
        guard let next = others.max(by: { ($0.role, -$0.joinedSeq, $1.userID) < ($1.role, -$1.joinedSeq, $0.userID) })
        else { return }
        change(member: MemberKey(room.id, user)) { $0.role = .member }
        change(member: MemberKey(room.id, next.userID)) { $0.role = .owner }
        change(room: room.id) { $0.ownerID = next.userID }
        _ = changed(.owner, member: next.userID, command)
        say(.owner, of: next.userID, command)
    }

    /// Every member counts the removed messages as seen, so unread counts stay correct.
    mutating func purge(before: Int64, _ command: Command) throws(Refusal) -> CommandOutcome {
        try refuseMissing(command)
        let old = oldMessages[command.room] ?? []
        guard let last = old.last?.seq else { return answered(part(count: 0, isMore: false), command, inFrame: false) }
        for member in members.values where member.roomID == command.room && member.lastSeenSeq < last {
            let unseen = old.filter { $0.seq > member.lastSeenSeq && $0.counts }
            change(member: MemberKey(command.room, member.userID)) { member in
                member.lastSeenSeq = last
                member.seenCount += Int64(unseen.count)
                member.seenSentCount += Int64(unseen.count { $0.sender == member.userID })
            }
        }
        purge(command.room, through: last)
        wipeLog(of: command.room)
        oldMessages[command.room] = nil
        _ = changed(.purged, purgedThrough: last, command)
        return answered(part(count: old.count, isMore: old.count >= Self.hostPart), command, inFrame: false)
    }

    /// A deleted room is cleaned too. One that an import stores at this moment has no other writer.
    private func refuseMissing(_ command: Command) throws(Refusal) {
        guard let room = rooms[command.room] else { throw Refusal(.notFound, "there is no such room") }
        guard !room.isBeingImported else { throw .busy("the room is being imported") }
    }

    private func part(count: Int, isMore: Bool) -> FrameBody {
        FrameBody {
            $0.map {
                $0.field("Messages", count)
                $0.field("More", isMore)
            }
        }
    }
}

extension Message {
    fileprivate func isTouched(by user: UUID128) -> Bool {
        if senderID == user { return deletedAt == nil && messageType != .system }
        return reactions.contains { $0.users.contains(user) }
    }
}
