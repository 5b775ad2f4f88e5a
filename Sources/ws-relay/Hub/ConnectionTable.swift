/// The number that stands for "none" in every table of this folder.
let noIndex = UInt32.max

/// One socket, without any object of its own: 88 bytes. What only slow or half-read sockets need is in `SlowState`.
struct Connection: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// Not a WebSocket yet: its `SlowState` reads the head.
        static let greeting = Flags(rawValue: 1)
        /// `chat.json` instead of msgpack.
        static let json = Flags(rawValue: 2)
        /// `welcome` is sent: from here on it gets every frame of its rooms.
        static let welcomed = Flags(rawValue: 4)
        /// A close frame is sent or queued: nothing else is.
        static let closing = Flags(rawValue: 8)
        /// A ping is out.
        static let pinged = Flags(rawValue: 16)
        /// epoll watches for room to write.
        static let watchesWrite = Flags(rawValue: 32)
        /// Frames of this tick wait in its list.
        static let dirty = Flags(rawValue: 64)
        /// Not read until `welcome` is out.
        static let readPaused = Flags(rawValue: 128)
        /// Has a `SlowState`.
        static let slow = Flags(rawValue: 256)
        // What a successor has to know after a crash:
        /// Bytes have been taken from the kernel and are not dealt with.
        static let reading = Flags(rawValue: 512)
        /// A write is under way: nobody can say how much of it the client got.
        static let writing = Flags(rawValue: 1024)
        /// `welcome` is pushed and not written.
        static let fresh = Flags(rawValue: 2048)
        /// Gets, or has just got, frames that it missed: its place in those rooms is its own.
        static let resuming = Flags(rawValue: 4096)
        /// Has frames of the flush in which the predecessor died: up to `TrackedRoom.aheadUntil` it has them already.
        static let ahead = Flags(rawValue: 8192)
        /// permessage-deflate was agreed.
        static let deflated = Flags(rawValue: 16384)
        /// Its next byte is a sign of life that somebody waits for.
        static let probed = Flags(rawValue: 32768)
    }

    var descriptor: Int32
    /// Which use of this slot it is: a late event of an earlier one must not touch this one.
    var generation: UInt32
    var serial: UInt64 = 0
    var user = noIndex
    /// The list of the user's sockets.
    var nextOfUser = noIndex
    /// Frames of this tick: a list in `TickWrites`.
    var firstWrite = noIndex
    var lastWrite = noIndex
    /// Second (of the relay's own clock) of the client's last byte.
    var heard: UInt32 = 0
    /// Second at which the timer looks again.
    var deadline: UInt32 = 0
    /// Unix second at which the token ends.
    var expires: UInt32 = 0
    /// Frames of its rooms are held since this mark (`RelayMemory.mark`), and of its `SlowState` a successor has to know
    /// nothing else; 0: not so.
    var heldSince: UInt32 = 0
    /// Unix millisecond at which it was issued; 0: not told.
    var issued: Int64 = 0
    /// A hash of the token's `jti`, for revocation; 0: none.
    var tokenID: UInt64 = 0
    /// A hash of the client's address, where addresses are limited; 0: not counted.
    var address: UInt64 = 0
    var bucket = RateBucket()
    var flags: Flags = []
    /// Rooms in which it is being resumed.
    var resumes: UInt16 = 0
    /// The flush that last wrote to it.
    var flushed: UInt32 = 0
}

/// All sockets by slot, in memory that never moves.
///
/// A slot has three states: open, buried (its connection is over, and nothing may be done with it), and free. `bury` may
/// come at any moment, and any number of times; only `reap`, at the end of a tick, makes slots free. So whatever holds a
/// slot within a tick finds the same connection there, or the grave of it.
final class ConnectionTable {
    let capacity: Int
    private let memory: RelayMemory
    private let slots: UnsafeMutablePointer<Connection>
    private(set) var free: [UInt32] = []
    /// Slots with what was their descriptor, which is still open.
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

    subscript(slot: UInt32) -> Connection {
        @inline(__always) unsafeAddress { UnsafePointer(row(slot)) }
        @inline(__always) unsafeMutableAddress { row(slot) }
    }

    /// The one place where a slot becomes an address. `noIndex`, and whatever else no table has given out, ends here.
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

    /// The connection is over. Until `reap` its slot is nobody's: without a descriptor, closing, and not found by its
    /// ticket. (`user` stays, so that what goes on with the slot in this tick finds one.)
    ///
    /// - Returns: false when it was over already.
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

    /// Frees what was buried: the end of a tick, when nothing holds a slot any more. `body` gets each slot with its
    /// descriptor, which is the body's to close.
    func reap(_ body: (UInt32, Int32) -> Void) {
        guard !buried.isEmpty else { return }
        for (slot, descriptor) in buried {
            body(slot, descriptor)
            slots[Int(slot)].generation &+= 1
            slots[Int(slot)].flags = []
            free.append(slot)
        }
        // A herd that went leaves no memory behind.
        buried.removeAll(keepingCapacity: buried.count < 1024)
    }

    /// What an epoll event carries: finds the slot, if that is still the same connection.
    func ticket(_ slot: UInt32) -> UInt64 { UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot) }

    func slot(_ ticket: UInt64) -> UInt32? {
        let slot = UInt32(truncatingIfNeeded: ticket)
        guard slot < used, slots[Int(slot)].descriptor >= 0, self.ticket(slot) == ticket else { return nil }
        return slot
    }

    /// Every open slot; the body may close any.
    func forEach(_ body: (UInt32) -> Void) {
        for slot in 0..<used where slots[slot].descriptor >= 0 { body(UInt32(slot)) }
    }
}
