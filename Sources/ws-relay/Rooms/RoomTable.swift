import ChatCore

/// The rooms that have members on this relay, their channels, and their rows in the memory that survives a crash.
final class RoomTable {
    private var rooms: [UUID128: TrackedRoom] = [:]
    private let memory: RelayMemory
    private let feed: any Feed

    init(_ memory: RelayMemory, _ feed: any Feed) { (self.memory, self.feed) = (memory, feed) }

    subscript(id: UUID128) -> TrackedRoom? { rooms[id] }
    var all: some Collection<TrackedRoom> { rooms.values }
    var ids: [UUID128] { Array(rooms.keys) }
    var count: Int { rooms.count }

    /// - Parameters:
    ///   - last: the Seq after which its frames begin here.
    ///   - isHeard: its channel is subscribed already.
    func open(_ id: UUID128, last: UInt64, isHeard: Bool = false) -> TrackedRoom {
        let room = TrackedRoom(id: id, last: last, row: memory.open(id, last: last))
        rooms[id] = room
        if !isHeard { feed.subscribe(BusChannel.room(id)) }
        return room
    }

    /// Forgets a room without receivers. A second call does nothing.
    func closeIfOver(_ room: TrackedRoom) {
        guard room.isOver, rooms[room.id] === room else { return }
        rooms[room.id] = nil
        memory.close(room.row)
        feed.unsubscribe(BusChannel.room(room.id))
    }

    /// A frame is pushed to the room's members, and leaves with the next flush.
    func advance(_ room: TrackedRoom, to seq: UInt64) { memory.advance(room.row, to: seq) }

    /// Forgets all rooms: a successor has them and their channels.
    func letGo() { rooms = [:] }

    // MARK: Hand-over

    func write(to state: inout StateWriter) {
        state.put(UInt32(rooms.count))
        for room in rooms.values {
            state.put(room.id)
            state.put(room.sequencer.last)
            state.put(room.stage == .live)
            // Held frames are fetched again instead of being sent.
            state.put(max(room.expected, room.sequencer.held.last?.seq ?? 0))
            state.put(room.aheadUntil)
            state.put(room.mustRewind)
            state.put(array: room.members)
        }
    }

    /// - Parameter heard: rooms whose channels are subscribed.
    /// - Returns: heard rooms that must catch up.
    func adopt(
        from state: inout StateReader, _ users: Users, _ userAt: UserPlaces, heard: Set<UUID128>
    ) throws(StateUnreadable) -> [TrackedRoom] {
        var behind: [TrackedRoom] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let (id, last): (UUID128, UInt64) = (try state.take(), try state.take())
            let wasLive = try state.take(Bool.self)
            let room = open(id, last: last, isHeard: heard.contains(id))
            room.expected = try state.take()
            room.aheadUntil = try state.take()
            room.mustRewind = try state.take()
            room.set(members: try state.takeArray(UInt32.self).compactMap { userAt[$0] })
            for user in room.members { users.enter(room, user) }
            guard heard.contains(id) else { continue }
            room.stage = wasLive ? .live : .catchingUp
            if !wasLive || room.expected > room.sequencer.last { behind.append(room) }
        }
        return behind
    }

    func writeEpochs(to state: inout StateWriter) {
        state.put(array: rooms.values.map { RoomEpoch(room: $0.id, epoch: $0.epoch) })
    }

    func adoptEpochs(from state: inout StateReader) throws(StateUnreadable) {
        for told in try state.takeArray(RoomEpoch.self) { rooms[told.room]?.epoch = told.epoch }
    }
}

/// A row of the hand-over.
struct RoomEpoch: BitwiseCopyable {
    var room: UUID128
    var epoch: Int64
}
