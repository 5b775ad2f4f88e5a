import ChatCore

/// A cache of rooms and members as this writer stored them. A batch of plain messages to cached rooms needs no load.
///
/// The cache is valid only while nobody else writes. The statement that stores such a batch therefore checks that each
/// room's last Seq is still the cached one: every change of a room or a member takes a Seq.
struct KnownRooms {
    /// Members of all rooms together, a few hundred bytes each. Above the limit the whole cache is dropped.
    private static let limit = 20_000

    private struct KnownRoom {
        var room: Room
        var members: [UUID128: Member] = [:]
    }

    private var entries: [UUID128: KnownRoom] = [:]
    private var memberCount = 0

    /// Returns nil when a load is needed: another kind of command, or a room or sender that is not cached.
    func batch(for commands: [Command], limits: RoomSettings, now: Int64) -> RoomBatch? {
        guard !commands.isEmpty else { return nil }
        var batch = RoomBatch(limits: limits, now: now)
        for command in commands {
            guard command.isPlainMessage, let entry = entries[command.room], entry.members[command.actor] != nil
            else { return nil }
            guard batch.rooms[command.room] == nil || entry.room.type != .privateRoom else { continue }
            batch.rooms[command.room] = entry.room
            // A PRIVATE room needs both members.
            let users = entry.room.type == .privateRoom ? Array(entry.members.keys) : [command.actor]
            for user in users { batch.members[.init(command.room, user)] = entry.members[user] }
        }
        batch.begin()
        return batch
    }

    func lastSeq(of room: UUID128) -> Int64? { entries[room]?.room.lastSeq }

    /// Compares with a loaded batch, and drops rooms that somebody else has written.
    mutating func compare(_ batch: RoomBatch) {
        for room in batch.rooms.values where entries[room.id]?.room.lastSeq != room.lastSeq { forget([room.id]) }
    }

    /// Caches the result of a stored batch.
    mutating func learn(_ batch: RoomBatch) {
        for room in batch.rooms.values {
            // Blocks take no Seq. The storing statement detects new ones, and a pair with a block is always loaded.
            guard room.deletedAt == nil, room.type != .privateRoom || batch.blocks.isEmpty else {
                forget([room.id])
                continue
            }
            entries[room.id, default: KnownRoom(room: room)].room = room
            // No frame of a plain message shows these, and no such batch writes them.
            entries[room.id]?.room.metadata = nil
        }
        for (key, var member) in batch.members where entries[key.room] != nil {
            member.metadata = nil
            if entries[key.room]!.members.updateValue(member, forKey: key.user) == nil { memberCount += 1 }
        }
        if memberCount > Self.limit { self = KnownRooms() }
    }

    mutating func forget(_ rooms: some Sequence<UUID128>) {
        for room in rooms { memberCount -= entries.removeValue(forKey: room)?.members.count ?? 0 }
    }
}

extension Command {
    /// A message that needs only its room and its sender.
    fileprivate var isPlainMessage: Bool {
        guard case .send(let draft, _) = action else { return false }
        return draft.contentType == .text && draft.parent == nil
    }
}
