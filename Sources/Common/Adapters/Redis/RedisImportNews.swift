public import ChatCore

/// Tells connected members of what an import stored. Redis may be away: clients see it when they connect again.
public final class RedisImportNews: ImportNews {
    private let redis: RedisConnection
    private let replica: (position: any LogPosition, marks: RedisWriteMarks)?

    /// - Parameters:
    ///   - position: of the primary, when a replica serves reads: what members are told of, they read at once.
    ///   - markLifetime: as in ``RedisWriteMarks``.
    public init(_ redis: RedisConnection, position: (any LogPosition)?, markLifetime: Duration) {
        self.redis = redis
        replica = position.map { ($0, RedisWriteMarks(redis, lifetime: markLifetime)) }
    }

    /// As a member is told who was added to a room: the copy begins at its last Seq, and REST has what was before.
    public func appeared(_ room: Room, _ members: [Member]) throws {
        guard room.deletedAt == nil else { return }
        let seq = room.lastSeq
        let position = try replica?.position.position()
        for start in stride(from: 0, to: members.count, by: 500) {
            let part = members[start..<min(start + 500, members.count)]
            try mark(position, Set(part.map(\.userID)), room.id)
            _ = try redis.pipeline(
                part.map { member in
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
        try mark(try replica?.position.position(), [], last.roomID)
        _ = try redis.pipeline([
            ["PUBLISH", BusChannel.room(last.roomID)].words + [FrameChunk(room: last.roomID, frames: [frame]).encode()]
        ])
    }

    /// The marks come before the news, also in a cluster, whose nodes do not wait for each other.
    private func mark(_ position: Int64?, _ users: Set<UUID128>, _ room: UUID128) throws {
        guard let position, let replica else { return }
        try replica.marks.record(Written(position: position, users: users, rooms: [room]))
    }
}
