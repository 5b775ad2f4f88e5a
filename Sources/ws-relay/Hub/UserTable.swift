import ChatCore

/// A user with at least one socket here. The rooms are the user's, not each socket's: a second device costs nothing.
final class UserTable {
    enum Stage: UInt8 {
        /// The user's channel is not confirmed yet.
        case subscribing
        /// Memberships are asked for.
        case loading
        /// Rooms are being closed up to now; `waiting` counts them.
        case joining
        case ready
    }

    struct Entry {
        let id: UUID128
        var stage = Stage.subscribing
        /// Their coming and going is told to nobody.
        var hidesPresence = false
        /// Second until which the stages before `ready` may take.
        var deadline: UInt32
        var connections: UInt32 = 0
        var waiting: UInt32 = 0
        /// PRIVATE rooms (also such as are not there yet) whose other member has blocked them, or they that one: their
        /// typing is not told there, and neither hears of the other's presence anywhere.
        var blocked: Set<UUID128> = []
        /// Rooms in which they may not post: CHANNELs of others, and where they are muted.
        var silent: Set<UUID128> = []
        /// Of the memberships that are asked for now.
        var epoch: UInt64 = 0
        var rooms: [TrackedRoom] = []
    }

    private(set) var indexes: [UUID128: UInt32] = [:]
    /// Never moves, and what is untouched costs nothing.
    private let entries: UnsafeMutablePointer<Entry?>
    private var used = 0
    private var free: [UInt32] = []
    /// Each user's newest socket, dense: the only thing that a delivery reads of a user. The others follow in
    /// `Connection.nextOfUser`.
    private let first: UnsafeMutablePointer<UInt32>
    private let memory: RelayMemory
    private let capacity: Int

    /// Users have at least one connection each, so there are never more of them.
    init(_ memory: RelayMemory) {
        self.memory = memory
        capacity = Int(memory.header.pointee.capacity)
        first = .allocate(capacity: capacity)
        entries = .allocate(capacity: capacity)
    }

    deinit {
        first.deallocate()
        entries.deinitialize(count: used)
        entries.deallocate()
    }

    var count: Int { indexes.count }

    func index(_ id: UUID128) -> UInt32? { indexes[id] }

    subscript(index: UInt32) -> Entry {
        _read { yield entries[place(index)]! }
        _modify { yield &entries[place(index)]! }
    }

    @inline(__always)
    func firstConnection(_ index: UInt32) -> UInt32 { first[place(index)] }

    /// `noIndex` is no user's.
    @inline(__always)
    private func place(_ index: UInt32) -> Int {
        precondition(Int(index) < used, "no user has this index")
        return Int(index)
    }

    func open(_ id: UUID128, deadline: UInt32) -> UInt32 {
        var entry = Entry(id: id, deadline: deadline)
        // Not later, between what each socket needs for a moment: what stays would keep that from being given back.
        entry.rooms.reserveCapacity(1)
        let index: UInt32
        if let reused = free.popLast() {
            index = reused
            entries[Int(index)] = entry
        } else {
            index = UInt32(used)
            precondition(used < capacity, "there are more users than sockets")
            (entries + used).initialize(to: entry)
            used += 1
        }
        first[Int(index)] = noIndex
        memory.users[Int(index)] = id
        indexes[id] = index
        return index
    }

    func close(_ index: UInt32) {
        indexes[self[index].id] = nil
        entries[Int(index)] = nil
        free.append(index)
    }

    func attach(_ slot: UInt32, to index: UInt32, _ connections: ConnectionTable) {
        connections[slot].user = index
        connections[slot].nextOfUser = firstConnection(index)
        first[place(index)] = slot
        self[index].connections += 1
    }

    func detach(_ slot: UInt32, _ connections: ConnectionTable) {
        let index = connections[slot].user
        guard index != noIndex else { return }
        var at = firstConnection(index)
        if at == slot {
            first[place(index)] = connections[slot].nextOfUser
        } else {
            while connections[at].nextOfUser != slot { at = connections[at].nextOfUser }
            connections[at].nextOfUser = connections[slot].nextOfUser
        }
        self[index].connections -= 1
        connections[slot].user = noIndex
        connections[slot].nextOfUser = noIndex
    }

    /// The user's sockets, newest first. The body may close any: nothing leaves a list before the end of the tick.
    func forEachConnection(of index: UInt32, _ connections: ConnectionTable, _ body: (UInt32) -> Void) {
        var at = firstConnection(index)
        while at != noIndex {
            let next = connections[at].nextOfUser
            body(at)
            at = next
        }
    }

    func forEach(_ body: (UInt32) -> Void) {
        for index in indexes.values { body(index) }
    }
}
