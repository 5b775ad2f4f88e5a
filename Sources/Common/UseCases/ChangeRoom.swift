extension RoomBatch {
    mutating func updateRoom(_ patch: RoomPatch, _ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        // The host may store Metadata with every room.
        let isHosts = command.isHost && patch == RoomPatch(metadata: patch.metadata)
        guard room.type != .privateRoom || isHosts else {
            throw Refusal(.forbidden, "a PRIVATE room has nothing to change")
        }
        guard actor.role >= .admin || isHosts else {
            throw Refusal(.forbidden, "only OWNER and ADMIN may change a room")
        }
        let metadata = try Metadata.merged(patch.metadata, into: room.metadata)
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
            room.metadata = metadata
            room.slowModeSeconds = patch.slowModeSeconds ?? room.slowModeSeconds
        }
        return changed(.changed, command)
    }

    mutating func deleteRoom(_ command: Command) throws(Refusal) -> CommandOutcome {
        let actor = try member(command)
        let room = try room(command.room)
        guard room.type != .privateRoom else { throw Refusal(.forbidden, "a PRIVATE room cannot be deleted") }
        guard actor.role == .owner else { throw Refusal(.forbidden, "only the OWNER may delete a room") }
        let now = now
        change(room: room.id) { $0.deletedAt = now }
        let everyone = members.values.filter { $0.roomID == room.id && $0.isActive }.map(\.userID)
        wipeLog(of: room.id)
        return changed(.deleted, left: everyone, command)
    }
}
