import ChatCore

/// A user with at least one socket here. Rooms belong to the user, not to each socket: a second device costs nothing.
final class UserTable {
    enum Stage: UInt8 {
        /// The user's channel is not confirmed yet.
        case subscribing
        /// The memberships are being read.
        case loading
        /// Rooms are catching up; `waiting` counts them.
        case joining
        case ready
    }

    struct Entry {
        let id: UUID128
        var stage = Stage.subscribing
        /// Their presence is announced to nobody.
        var hidesPresence = false
        /// The second by which the user must be `ready`.
        var deadline: UInt32
        var connections: UInt32 = 0
        var waiting: UInt32 = 0
        /// PRIVATE rooms (including ones that do not exist yet) with a block by either member: no typing is sent there,
        /// and neither sees the other's presence anywhere.
        var blocked: Set<UUID128> = []
        /// Rooms in which they may not post: CHANNELs of others, and rooms where they are muted.
        var silent: Set<UUID128> = []
        /// The number of the current memberships request.
        var epoch: UInt64 = 0
        var rooms: [TrackedRoom] = []
    }

    private(set) var indexes: [UUID128: UInt32] = [:]
    /// Never moves; untouched pages cost nothing.
    private let entries: UnsafeMutablePointer<Entry?>
    private var used = 0
    private var free: [UInt32] = []
    /// Each user's newest socket, in a dense array: a delivery reads nothing else of a user. The others follow in
    /// `Connection.nextOfUser`.
    private let first: UnsafeMutablePointer<UInt32>
    private let memory: RelayMemory
    private let capacity: Int

    /// Every user has at least one connection, so the number of connections is the limit.
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

    /// `noIndex` denotes no user.
    @inline(__always)
    private func place(_ index: UInt32) -> Int {
        precondition(Int(index) < used, "no user has this index")
        return Int(index)
    }

    func open(_ id: UUID128, deadline: UInt32) -> UInt32 {
        var entry = Entry(id: id, deadline: deadline)
        // Reserve here: an allocation between short-lived ones of the sockets would keep their memory from being
        // released.
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

    /// Visits the user's sockets, newest first. The body may close any: lists change only at the end of the tick.
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
