/// All sockets by slot, in memory that never moves.
///
/// A slot has three states: open, buried (its connection has ended and nothing may use it), and free. `bury` may be
/// called at any moment and repeatedly; only `reap`, at the end of a tick, frees slots. So a slot number held within a
/// tick refers to the same connection, open or buried.
final class ConnectionTable {
    let capacity: Int
    private let memory: RelayMemory
    private let slots: UnsafeMutablePointer<Connection>
    private(set) var free: [UInt32] = []
    /// Buried slots with their descriptors, which are still open.
    private var buried: [(slot: UInt32, descriptor: Int32)] = []
    /// Open slots.
    private(set) var count = 0

    init(_ memory: RelayMemory) {
        self.memory = memory
        capacity = Int(memory.header.pointee.capacity)
        slots = memory.connections
    }

    /// Slots below it have been used at least once.
    var used: Int { Int(memory.header.pointee.connections) }

    /// Read only: `row` changes it.
    subscript(slot: UInt32) -> Connection {
        @inline(__always) unsafeAddress { UnsafePointer(row(slot)) }
    }

    /// The only place where a slot becomes an address. For the files of this folder, and for a user's list of sockets.
    /// Traps for `noIndex` and every other number that is not a slot.
    @inline(__always)
    func row(_ slot: UInt32) -> UnsafeMutablePointer<Connection> {
        precondition(Int(slot) < capacity, "no slot has this number")
        return slots + Int(slot)
    }

    /// A slot for the descriptor; nil when the table is full.
    func open(_ descriptor: Int32) -> UInt32? {
        if let slot = free.popLast() {
            let generation = slots[Int(slot)].generation &+ 1
            slots[Int(slot)] = Connection(descriptor: descriptor, generation: generation)
            count += 1
            return slot
        }
        guard used < capacity else { return nil }
        (slots + used).initialize(to: Connection(descriptor: descriptor, generation: 0))
        memory.header.pointee.connections += 1
        count += 1
        return UInt32(used - 1)
    }

    /// Ends the connection. Until `reap` nobody owns its slot: it has no descriptor, counts as closing, and its handle
    /// finds nothing. (`user` stays, for code that still uses the slot in this tick.)
    ///
    /// - Returns: false when it had ended before.
    @discardableResult
    func bury(_ slot: UInt32) -> Bool {
        let row = row(slot)
        guard row.pointee.descriptor >= 0 else { return false }
        buried.append((slot, row.pointee.descriptor))
        row.pointee.descriptor = -1
        row.pointee.flags = .closing
        row.pointee.deadline = 0
        count -= 1
        return true
    }

    /// Frees the buried slots at the end of a tick, when nothing uses them any more. `body` gets each slot and its
    /// descriptor, which it must close.
    func reap(_ body: (UInt32, Int32) -> Void) {
        guard !buried.isEmpty else { return }
        for (slot, descriptor) in buried {
            body(slot, descriptor)
            slots[Int(slot)].generation &+= 1
            slots[Int(slot)].flags = []
            free.append(slot)
        }
        // Release the memory after many sockets left at once.
        buried.removeAll(keepingCapacity: buried.count < 1024)
    }

    /// A connection's own number, also as the data of its epoll events: a later connection in the slot has another one.
    func handle(_ slot: UInt32) -> UInt64 { UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot) }

    /// Nil when that connection is gone.
    func slot(_ handle: UInt64) -> UInt32? {
        let slot = UInt32(truncatingIfNeeded: handle)
        guard slot < used, slots[Int(slot)].descriptor >= 0, self.handle(slot) == handle else { return nil }
        return slot
    }

    func insert(_ flags: Connection.Flags, _ slot: UInt32) { row(slot).pointee.flags.insert(flags) }

    func remove(_ flags: Connection.Flags, _ slot: UInt32) { row(slot).pointee.flags.remove(flags) }

    /// Visits every open slot; the body may close any.
    func forEach(_ body: (UInt32) -> Void) {
        for slot in 0..<used where slots[slot].descriptor >= 0 { body(UInt32(slot)) }
    }
}
