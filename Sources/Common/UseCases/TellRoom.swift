extension RoomBatch {
    /// The `room_updated` frame of a change. `first`: the frame carries the answer to the asking socket.
    mutating func changed(
        _ change: RoomChange, member user: UUID128? = nil, pin: PinMark? = nil, invitation: Invitation? = nil,
        purgedThrough: Int64? = nil,
        joined: [UUID128] = [], left: [UUID128] = [], first: Bool = true, _ command: Command
    ) -> CommandOutcome {
        let seq = nextSeq(command.room)
        let update = RoomUpdate(
            roomID: command.room, change: change, room: RoomView(room: rooms[command.room]!),
            member: user.flatMap { members[MemberKey(command.room, $0)] }, pin: pin, invitation: invitation,
            purgedThrough: purgedThrough, seq: seq)
        let frame = RoomFrame(
            seq: UInt64(seq), kind: .roomUpdated, origin: first ? origin(command) : nil,
            sign: first ? command.sign : nil, joined: joined, left: left,
            body: FrameBody(room: command.room, seq: seq) { update.write(to: &$0) })
        record(frame, of: command)
        return answered(frame.body, command, inFrame: true)
    }

    /// Answers a command without an effect like one with an effect; nobody else is told.
    func standing(_ change: RoomChange, member user: UUID128, _ command: Command) -> CommandOutcome {
        let room = rooms[command.room]!
        let update = RoomUpdate(
            roomID: room.id, change: change, room: RoomView(room: room), member: members[MemberKey(room.id, user)],
            seq: room.lastSeq)
        return answered(FrameBody { update.write(to: &$0) }, command, inFrame: false)
    }

    /// The SYSTEM message about a change of members, for clients to put into words: its content is the change, the
    /// user, and the new role or the end of a mute.
    mutating func say(_ change: RoomChange, of user: UUID128, _ command: Command) {
        let member = members[MemberKey(command.room, user)]
        let detail: String? =
            switch change {
            case .role, .owner: member?.role.name
            case .muted: member?.mutedUntil.map { timestampText($0) }
            default: nil
            }
        var message = Message(
            id: UUID128.v7(at: now), roomID: command.room, senderID: command.actor, seq: 0, changeSeq: 0,
            content: ([change.rawValue, user.description] + (detail.map { [$0] } ?? [])).joined(separator: " "),
            contentType: .text, messageType: .system, createdAt: now)
        store(&message)
        tell(
            command.room,
            RoomFrame(seq: UInt64(message.seq), kind: .newMessage, body: message.body(at: message.seq)))
    }
}
