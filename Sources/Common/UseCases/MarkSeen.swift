extension RoomBatch {
    /// Moves the actor's read mark forward, never back. Without `seq` it moves to the newest message.
    ///
    /// The mark refers to messages only: otherwise each `seen` would create something new to see.
    mutating func markSeen(upTo seq: Int64?, _ command: Command) throws(Refusal) -> CommandOutcome {
        let member = try member(command)
        let room = try room(command.room)
        let target = min(seq ?? room.lastMessageSeq, room.lastMessageSeq)
        guard target > member.lastSeenSeq else {
            let mark = SeenMark(roomID: room.id, userID: command.actor, seq: member.lastSeenSeq, at: now)
            return answered(FrameBody { mark.write(to: &$0) }, command, inFrame: false)
        }
        let counts = counts(upTo: target, room, member, command)
        change(member: MemberKey(room.id, command.actor)) { member in
            member.lastSeenSeq = target
            member.seenCount = counts.all
            member.seenSentCount = counts.own
        }
        let mark = SeenMark(roomID: room.id, userID: command.actor, seq: target, at: now)
        let place = nextSeq(room.id)
        let frame = RoomFrame(
            seq: UInt64(place), kind: .seen, origin: origin(command), sign: command.sign,
            body: FrameBody(room: room.id, seq: place) { mark.write(to: &$0) })
        record(frame, of: command)
        return answered(frame.body, command, inFrame: true)
    }

    /// Users' messages up to `target`, and the member's own among them.
    private func counts(upTo target: Int64, _ room: Room, _ member: Member, _ command: Command) -> SeenCount {
        guard target < room.lastMessageSeq, let (from, isStored) = baseline(MemberKey(room.id, command.actor)) else {
            return SeenCount(all: room.messageCount, own: member.sentCount)
        }
        var counts = SeenCount(all: from.seenCount, own: from.seenSentCount)
        if isStored, let loaded = seenCounts[command.id] {
            counts.all += loaded.all
            counts.own += loaded.own
        }
        // The loaded counts do not include the messages of this batch.
        for id in placed {
            guard let message = messages[id], message.roomID == room.id, message.messageType != .system,
                message.seq > from.lastSeenSeq, message.seq <= target
            else { continue }
            counts.all += 1
            if message.senderID == command.actor { counts.own += 1 }
        }
        return counts
    }
}
