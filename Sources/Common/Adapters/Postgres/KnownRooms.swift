import ChatCore

/// Rooms and members as this writer left them, so that a batch of plain messages asks for nothing that is known here.
///
/// They are right as long as nobody else has written. Whoever stores a batch that was made of them checks that each
/// room's last Seq is still the one from here: every change of a room, or of a member, takes a Seq.
struct KnownRooms {
    /// Members of all rooms together, a few hundred bytes each. Past it everything is forgotten, and learnt again.
    private static let limit = 20_000

    private struct Entry {
        var room: Room
        var members: [UUID128: Member] = [:]
    }

    private var entries: [UUID128: Entry] = [:]
    private var memberCount = 0

    /// Nil when something must be asked for: another kind of command, a room or a sender that is new here.
    func batch(for commands: [Command], limits: RoomSettings, now: Int64) -> RoomBatch? {
        guard !commands.isEmpty else { return nil }
        var batch = RoomBatch(limits: limits, now: now)
        for command in commands {
            guard command.isPlainMessage, let entry = entries[command.room], entry.members[command.actor] != nil
            else { return nil }
            guard batch.rooms[command.room] == nil || entry.room.type != .privateRoom else { continue }
            batch.rooms[command.room] = entry.room
            // Of a PRIVATE room both members count.
            let users = entry.room.type == .privateRoom ? Array(entry.members.keys) : [command.actor]
            for user in users { batch.members[.init(command.room, user)] = entry.members[user] }
        }
        batch.begin()
        return batch
    }

    func lastSeq(of room: UUID128) -> Int64? { entries[room]?.room.lastSeq }

    /// A batch as it was loaded: rooms that somebody else has written meanwhile are not known any more.
    mutating func compare(_ batch: RoomBatch) {
        for room in batch.rooms.values where entries[room.id]?.room.lastSeq != room.lastSeq { forget([room.id]) }
    }

    /// A batch as it was stored.
    mutating func learn(_ batch: RoomBatch) {
        for room in batch.rooms.values {
            // Blocks take no Seq; the statement that stores finds new ones, and a pair with one is always loaded.
            guard room.deletedAt == nil, room.type != .privateRoom || batch.blocks.isEmpty else {
                forget([room.id])
                continue
            }
            entries[room.id, default: Entry(room: room)].room = room
        }
        for (key, member) in batch.members where entries[key.room] != nil {
            if entries[key.room]!.members.updateValue(member, forKey: key.user) == nil { memberCount += 1 }
        }
        if memberCount > Self.limit { self = KnownRooms() }
    }

    mutating func forget(_ rooms: some Sequence<UUID128>) {
        for room in rooms { memberCount -= entries.removeValue(forKey: room)?.members.count ?? 0 }
    }
}

extension Command {
    /// A message that needs nothing but its room and its sender.
    fileprivate var isPlainMessage: Bool {
        guard case .send(let draft, _) = action else { return false }
        return draft.contentType == .text && draft.parent == nil
    }
}
