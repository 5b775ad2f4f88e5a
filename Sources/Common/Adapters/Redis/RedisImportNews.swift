public import ChatCore

/// Tells connected members of what an import stored. Redis may be away: clients see it when they connect again.
public final class RedisImportNews: ImportNews {
    private let redis: RedisConnection

    public init(_ redis: RedisConnection) { self.redis = redis }

    /// As a member is told who was added to a room: the copy begins at its last Seq, and REST has what was before.
    public func appeared(_ room: Room, _ members: [Member]) throws {
        guard room.deletedAt == nil else { return }
        let seq = room.lastSeq
        for part in stride(from: 0, to: members.count, by: 500) {
            _ = try redis.pipeline(
                members[part..<min(part + 500, members.count)].map { member in
                    let view = RoomView(
                        room: room, unread: member.unread(in: room), role: member.role, mutedUntil: member.mutedUntil)
                    let update = RoomUpdate(roomID: room.id, change: .joined, room: view, member: member, seq: seq)
                    let event = UserEvent.joined(
                        room: room.id, seq: UInt64(clamping: seq),
                        created: FrameBody(room: room.id, seq: seq) { update.write(to: &$0) })
                    return ["PUBLISH", BusChannel.user(member.userID)].words + [event.encode()]
                })
        }
    }

    /// Relays see by the newest frame that they miss those before it, and read them from the database.
    public func grew(_ last: Message) throws {
        let isEdited = last.changeSeq > last.seq
        let seq = isEdited ? last.changeSeq : last.seq
        let frame = RoomFrame(
            seq: UInt64(clamping: seq), kind: isEdited ? .messageUpdated : .newMessage,
            sign: isEdited ? nil : last.sign,
            body: last.body(at: seq))
        _ = try redis.pipeline([
            ["PUBLISH", BusChannel.room(last.roomID)].words + [FrameChunk(room: last.roomID, frames: [frame]).encode()]
        ])
    }
}
