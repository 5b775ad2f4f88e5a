extension RoomBatch {
    /// Allowed for OWNER and ADMIN; in a PRIVATE room for both members.
    mutating func pin(_ id: UUID128, _ pinned: Bool, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        var message = try message(id, command)
        guard message.deletedAt == nil, message.hasPlace, message.status != .uploading else {
            throw Refusal(.gone, "the message was deleted, or its file is not complete")
        }
        guard actor.role >= .admin || room.type == .privateRoom else {
            throw Refusal(.forbidden, "only OWNER and ADMIN may pin messages")
        }
        try refuseBlockedPair(actor)
        guard (message.pinnedAt != nil) != pinned else {
            return answered(FrameBody { message.write(to: &$0) }, command, inFrame: false)
        }
        guard !pinned || pinCount(room.id) < limits.pins else {
            throw Refusal(.conflict, "the room has \(limits.pins) pinned messages: unpin one first")
        }
        message.pinnedAt = pinned ? now : nil
        message.changeSeq = room.lastSeq + 1
        change(message: message)
        return changed(
            pinned ? .pinned : .unpinned, pin: PinMark(message: id, at: message.pinnedAt), command)
    }

    /// The pinned messages at load time, with the changes of this batch.
    private func pinCount(_ room: UUID128) -> Int {
        let touched = messages.values.filter { $0.roomID == room }
        let others = pinned[room, default: []].subtracting(touched.map(\.id))
        return others.count + touched.count { $0.pinnedAt != nil }
    }
}
