extension RoomBatch {
    /// Only the sender may edit, within the time limit; earlier content is kept.
    mutating func editMessage(
        _ id: UUID128, content: String, base: Int64?, _ patch: MetadataPatch? = nil, _ command: Command
    ) throws(Refusal) -> CommandOutcome {
        let member = try member(command)
        var message = try message(id, command)
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        guard message.senderID == command.actor, message.messageType != .system else {
            throw Refusal(.forbidden, "only its sender may edit a message")
        }
        guard message.contentType == .text else { throw Refusal(.forbidden, "only a text can be edited") }
        // A forwarded message names its author: an edit would put other words into their mouth.
        guard message.forwardedFrom == nil, message.messageType != .forwarded else {
            throw Refusal(.forbidden, "a forwarded message cannot be edited: another user wrote it")
        }
        try mayChange(message, member)
        if let base, let last = lastEdit(of: id), last > base {
            throw Refusal(.conflict, "the message was edited after Seq \(base): read it again", field: "BaseSeq")
        }
        let content = try judged(content, command)
        let (before, metadata) = (message.content, try Metadata.merged(patch, into: message.metadata))
        guard !areSameBytes(before, content) else {
            guard metadata != message.metadata else { return answered(unchanged(message), command, inFrame: false) }
            message.metadata = metadata
            return update(&message, command)
        }
        message.metadata = metadata
        message.content = content
        message.editedAt = now
        let outcome = update(&message, command)
        keep(edit: Edit(message: id, changeSeq: message.changeSeq, before: before, at: now))
        return outcome
    }

    private func mayChange(_ message: Message, _ sender: Member) throws(Refusal) {
        guard now - message.createdAt <= limits.editTime.milliseconds else {
            throw Refusal(.forbidden, "the time for editing is over")
        }
        // Otherwise an old message could be changed to say what a new one may not.
        try refuseMuted(sender)
        try refuseBlockedPair(sender)
    }

    /// The sender may change it under the rules of an edit, also of a file and of a forwarded message; the host may
    /// change it of every message. Readers do not see an edit: `EditedAt` stays.
    mutating func change(
        metadata patch: MetadataPatch, of id: UUID128, _ command: Command
    ) throws(Refusal) -> CommandOutcome {
        let member = try member(command)
        var message = try message(id, command)
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        if !command.isHost {
            guard message.senderID == command.actor, message.messageType != .system else {
                throw Refusal(.forbidden, "only its sender may change a message's Metadata")
            }
            try mayChange(message, member)
        }
        guard message.hasPlace else { throw Refusal(.conflict, "the message's file is not complete") }
        let metadata = try Metadata.merged(patch, into: message.metadata)
        guard metadata != message.metadata else { return answered(unchanged(message), command, inFrame: false) }
        message.metadata = metadata
        return update(&message, command)
    }

    /// The Seq of the message's newest edit.
    private func lastEdit(of id: UUID128) -> Int64? {
        edits.last { $0.message == id }?.changeSeq ?? editSeqs[id]
    }

    /// Allowed for the sender, ADMIN and OWNER. The message keeps its Seq and loses its content.
    mutating func deleteMessage(_ id: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        var message = try message(id, command)
        guard message.deletedAt == nil else { return answered(unchanged(message), command, inFrame: false) }
        guard message.senderID == command.actor || actor.role >= .admin, message.messageType != .system else {
            throw Refusal(.forbidden, "only its sender, an ADMIN or the OWNER may delete a message")
        }
        return remove(&message, command)
    }

    /// The message keeps its Seq and loses its content.
    mutating func remove(_ message: inout Message, _ command: Command) -> CommandOutcome {
        // A message without a Seq was never announced, so its end is not announced either.
        let wasTold = message.hasPlace
        message.content = ""
        message.file = nil
        message.reactions = []
        message.status = .deleted
        message.deletedAt = now
        message.pinnedAt = nil
        message.metadata = nil
        guard wasTold else {
            change(message: message)
            return answered(unchanged(message), command, inFrame: false)
        }
        wipeLog(of: command.room)
        return update(&message, command)
    }

    /// One reaction per user and emoji; repeating or removing twice changes nothing.
    mutating func react(
        to id: UUID128, with emoji: String, remove: Bool, _ command: Command
    ) throws(Refusal) -> CommandOutcome {
        try refuseBlockedPair(try member(command))
        var message = try message(id, command)
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        guard message.hasPlace else { throw Refusal(.conflict, "the message's file is not complete") }
        let place = message.reactions.firstIndex {
            // Older releases stored the emoji as it was sent.
            areSameBytes($0.emoji, emoji) || Emoji.normalized($0.emoji).map { areSameBytes($0, emoji) } == true
        }
        let has = place.map { message.reactions[$0].users.contains(command.actor) } ?? false
        guard has == remove else { return answered(unchanged(message), command, inFrame: false) }
        if remove, let place {
            message.reactions.remove(command.actor, at: place)
        } else if let place {
            message.reactions[place].users.append(command.actor)
        } else {
            guard message.reactions.count < RequestLimit.reactions else {
                throw Refusal(.conflict, "the message has \(RequestLimit.reactions) different reactions")
            }
            message.reactions.append(Reaction(emoji: emoji, users: [command.actor]))
        }
        return update(&message, command)
    }

    /// The file is complete: the message gets its Seq, if its sender may still post to the room.
    mutating func completeFile(_ id: UUID128, file: FileInfo, _ command: Command) throws(Refusal) -> CommandOutcome {
        var message = try message(id, command)
        guard message.senderID == command.actor else { throw .messageNotFound }
        guard message.deletedAt == nil else { throw Refusal(.gone, "the message was deleted") }
        guard message.status == .uploading else {
            // The first execution may have died before the room was told. After a later change nothing is repeated:
            // that change has its own frame, and a client without this one sees the message there.
            guard message.changeSeq == message.seq else { return answered(unchanged(message), command, inFrame: false) }
            return toldAgain(message, command)
        }
        try mayPost(try member(command), command)
        if message.hasPlace { skip(Int64(message.seq), command) }
        message.file = file
        message.status = .sent
        // Times follow the room's order: retention relies on it.
        message.createdAt = now
        place(&message)
        change(message: message)
        let frame = RoomFrame(
            seq: UInt64(message.seq), kind: .newMessage, origin: origin(command), sign: command.sign,
            body: message.body(at: message.seq))
        tell(command.room, frame)
        return answered(frame.body, command, inFrame: true)
    }

    /// The previous version gave a file a Seq before it was complete, and showed it only to its sender. That Seq is now
    /// empty; everybody gets a `skipped` frame for it.
    private mutating func skip(_ seq: Int64, _ command: Command) {
        events.append(
            RoomEvent(
                room: command.room, commandID: UUID128.v7(at: now), actor: command.actor, at: now,
                frame: .skipped(seq, in: command.room)))
        change(room: command.room) { $0.messageCount -= 1 }
        change(member: MemberKey(command.room, command.actor)) { $0.sentCount -= 1 }
    }

    /// Changes only the file's details; other changes of the message stay.
    mutating func describeFile(_ id: UUID128, file: FileInfo, _ command: Command) throws(Refusal) -> CommandOutcome {
        var message = try message(id, command)
        guard message.deletedAt == nil, message.status != .uploading, message.file != file else {
            return answered(unchanged(message), command, inFrame: false)
        }
        message.file = file
        return update(&message, command)
    }

    /// Ends an upload whose file did not arrive in time or was refused. A message whose file did arrive stays. The Sign
    /// becomes free, for example for another file.
    mutating func abandonFile(_ id: UUID128, _ command: Command) throws(Refusal) -> CommandOutcome {
        var message = try message(id, command)
        guard message.status == .uploading else { return answered(unchanged(message), command, inFrame: false) }
        free(signOf: &message)
        return remove(&message, command)
    }

    private func unchanged(_ message: Message) -> FrameBody { FrameBody { message.write(to: &$0) } }

    mutating func update(_ message: inout Message, _ command: Command) -> CommandOutcome {
        message.changeSeq = nextSeq(message.roomID)
        change(message: message)
        let frame = RoomFrame(
            seq: UInt64(message.changeSeq), kind: .messageUpdated, origin: origin(command), sign: command.sign,
            body: message.body(at: message.changeSeq))
        record(frame, of: command, message: message.id)
        return answered(frame.body, command, inFrame: true)
    }
}

extension [Reaction] {
    /// Removes an emoji when its last user takes it back.
    mutating func remove(_ user: UUID128, at place: Int) {
        self[place].users.removeAll { $0 == user }
        if self[place].users.isEmpty { remove(at: place) }
    }
}
