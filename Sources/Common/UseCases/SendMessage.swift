extension RoomBatch {
    mutating func sendMessage(
        _ draft: MessageDraft, receiver: UUID128?, _ command: Command
    ) throws(Refusal) -> CommandOutcome {
        if let outcome = try alreadySent(command, draft) { return outcome }
        if let receiver { try openPrivateRoom(with: receiver, command) }
        let sender = try member(command)
        try mayPost(sender, command)
        try refuseHasty(sender, command)
        var message = Message(
            id: command.id, roomID: command.room, senderID: command.actor, seq: 0, changeSeq: 0,
            content: draft.content, contentType: draft.contentType, messageType: draft.messageType,
            parentMessageID: draft.parent, sign: command.sign,
            status: draft.contentType == .text ? .sent : .uploading, createdAt: now, metadata: draft.metadata)
        try attachParent(to: &message, draft, command)
        if message.forwardedFrom == nil { message.content = try judged(message.content, command) }
        noteInSlowMode(sender, command)
        guard message.status != .uploading else { return keep(pending: &message, command) }
        store(&message)
        let frame = RoomFrame(
            seq: UInt64(message.seq), kind: .newMessage, origin: origin(command), sign: command.sign,
            body: message.body(at: message.seq))
        tell(command.room, frame)
        return answered(frame.body, command, inFrame: true)
    }

    /// A message whose file is still incomplete: only its sender sees it, and it has no Seq.
    private mutating func keep(pending message: inout Message, _ command: Command) -> CommandOutcome {
        nameSender(of: &message)
        message.seq = Message.noPlace(message.id)
        message.changeSeq = message.seq
        add(message: message)
        return answered(message.answer, command, inFrame: false)
    }

    /// Finds the same command again, or another one with a Sign that this sender has used.
    mutating func alreadySent(_ command: Command, _ draft: MessageDraft) throws(Refusal) -> CommandOutcome? {
        if let message = messages[command.id], message.senderID == command.actor {
            if let room = rooms[command.room], room.type == .privateRoom, message.seq <= 1 { announce(room) }
            guard message.hasPlace else { return answered(message.answer, command, inFrame: false) }
            return toldAgain(message, command)
        }
        guard let sign = command.sign, let message = messagesBySign[SignKey(command.actor, sign)] else { return nil }
        guard message.roomID == command.room, mayBe(message, draft, command) else { throw .otherRequest }
        return answered(message.answer, command, inFrame: false)
    }

    mutating func toldAgain(_ message: Message, _ command: Command) -> CommandOutcome {
        let frame = RoomFrame(seq: UInt64(message.seq), kind: .newMessage, body: message.body(at: message.seq))
        return repeated([frame], answer: frame.body, command)
    }

    /// Whether a stored message may have been made from this draft. Later changes are ignored: an edit, a deletion, a
    /// rewrite by the host application.
    private func mayBe(_ message: Message, _ draft: MessageDraft, _ command: Command) -> Bool {
        let type = message.messageType == .system ? .direct : message.messageType
        guard type == draft.messageType, message.parentMessageID == draft.parent else { return false }
        guard message.messageType != .forwarded, message.deletedAt == nil else { return true }
        guard message.contentType == draft.contentType else { return false }
        guard Metadata.areSame(message.metadata, draft.metadata) || message.changeSeq != message.seq else {
            return false
        }
        return message.editedAt != nil || verdicts[command.id] != nil || areSameBytes(message.content, draft.content)
    }

    /// The first message of a pair creates their room. When both send at once, both messages have the same room id and
    /// so the same queue: one is executed after the other.
    private mutating func openPrivateRoom(with receiver: UUID128, _ command: Command) throws(Refusal) {
        if let room = rooms[command.room] {
            try refuseOther(room, .privateRoom, command)
            return try reopen(room, command)
        }
        guard privateRoomID(command.actor, receiver) == command.room else {
            throw .invalid("ReceiverID", "is not the other user of this room")
        }
        try refuseBlocked(command.actor, receiver)
        try refuseUnwilling([receiver], command)
        try refuseTooManyRooms([command.actor, receiver], command, isPrivate: true)
        try refuseForbidden(command.room)
        makeRoom(
            RoomDraft(type: .privateRoom, members: [receiver]), id: command.room, owner: command.actor, sign: nil)
    }

    func refuseBlocked(_ one: UUID128, _ other: UUID128) throws(Refusal) {
        guard !areBlocked(one, other) else { throw Refusal(.blocked, "one of you has blocked the other") }
    }

    func mayPost(_ sender: Member, _ command: Command) throws(Refusal) {
        try refuseMuted(sender)
        switch try room(command.room).type {
        case .group: return
        case .channel:
            guard sender.role >= .admin else { throw Refusal(.forbidden, "only OWNER and ADMIN may post to a CHANNEL") }
        case .privateRoom: try refuseBlockedPair(sender)
        }
    }

    func refuseMuted(_ member: Member) throws(Refusal) {
        guard let until = member.mutedUntil, until > now else { return }
        throw Refusal(.muted, "you are muted in this room", retryAfterMilliseconds: Int(until - now))
    }

    /// In slow mode a MEMBER waits between two messages. The times at which these were accepted count: a message that
    /// waited in its queue is no faster than its sender was.
    private func refuseHasty(_ sender: Member, _ command: Command) throws(Refusal) {
        let pause = pause(command.room)
        guard pause > 0, sender.role < .admin, let last = lastSent(sender, pause) else { return }
        let next = last + pause
        guard acceptedAt(command) < next else { return }
        throw Refusal(
            .slowMode, "a MEMBER may send one message in \(pause / 1000) seconds here",
            retryAfterMilliseconds: Int(max(next - now, 1)))
    }

    /// Also for OWNER and ADMIN, who may be a MEMBER at their next message.
    private mutating func noteInSlowMode(_ sender: Member, _ command: Command) {
        let pause = pause(command.room)
        guard pause > 0 else { return }
        let time = max(lastSent(sender, pause) ?? 0, acceptedAt(command))
        change(member: MemberKey(command.room, command.actor)) { $0.lastSentAt = time }
    }

    /// Milliseconds; 0: no slow mode.
    private func pause(_ room: UUID128) -> Int64 { Int64(rooms[room]?.slowModeSeconds ?? 0) * 1000 }

    /// A time that is further ahead than the pause is that of a host whose clock was wrong: it would lock the member out
    /// until this clock is there.
    private func lastSent(_ sender: Member, _ pause: Int64) -> Int64? {
        sender.lastSentAt.flatMap { $0 > now + pause ? nil : $0 }
    }

    private func acceptedAt(_ command: Command) -> Int64 { min(max(command.acceptedAt, 0), now) }

    /// In a PRIVATE room a block by either member refuses the message. Blocks have no effect in other rooms.
    func refuseBlockedPair(_ member: Member) throws(Refusal) {
        guard !blocks.isEmpty, rooms[member.roomID]?.type == .privateRoom else { return }
        // Both members of a PRIVATE room are always loaded.
        for key in members.keys where key.room == member.roomID && key.user != member.userID {
            try refuseBlocked(member.userID, key.user)
        }
    }

    private func attachParent(
        to message: inout Message, _ draft: MessageDraft, _ command: Command
    ) throws(Refusal) {
        guard let id = draft.parent else { return }
        guard let parent = messages[id], parent.deletedAt == nil, parent.hasPlace, parent.status != .uploading else {
            throw Refusal(
                .messageNotFound, "there is no such parent message that you may see", field: "ParentMessageID")
        }
        guard draft.messageType == .forwarded else {
            guard parent.roomID == command.room else {
                throw Refusal(
                    .messageNotFound, "there is no such parent message in this room", field: "ParentMessageID")
            }
            return
        }
        guard readable.contains(ReadKey(id, command.actor)) else {
            throw Refusal(
                .messageNotFound, "there is no such parent message that you may see", field: "ParentMessageID")
        }
        message.content = parent.content
        message.contentType = parent.contentType
        message.file = parent.file
        // A reader of the forwarded message may not see the original.
        message.file?.thumbnailURL = parent.file?.thumbnailURL?.replacing("\(parent.id)", with: "\(message.id)")
        message.status = .sent
        message.forwardedFrom = parent.forwardedFrom ?? parent.id
    }

    mutating func store(_ message: inout Message) {
        place(&message)
        add(message: message)
    }
}

extension Message {
    /// The frame's fields at the room's Seq `seq`: the message's own, or that of its change.
    public func body(at seq: Int64) -> FrameBody {
        FrameBody(room: roomID, seq: seq, reserving: 640 + content.utf8.count) { write(to: &$0) }
    }

    /// The answer to the sender when no frame carries it.
    var answer: FrameBody { hasPlace ? body(at: seq) : FrameBody { write(to: &$0) } }
}
