/// Stands for "none" in every table of this folder.
let noIndex = UInt32.max

/// One socket in 88 bytes, without an object of its own. `SlowState` has the fields of slow or half-read sockets.
struct Connection: BitwiseCopyable {
    struct Flags: OptionSet, BitwiseCopyable {
        let rawValue: UInt16
        /// Not a WebSocket yet: its `SlowState` reads the request's head.
        static let greeting = Flags(rawValue: 1)
        /// `chat.json` instead of msgpack.
        static let json = Flags(rawValue: 2)
        /// `welcome` was sent: from now on it gets every frame of its rooms.
        static let welcomed = Flags(rawValue: 4)
        /// A close frame was sent or queued: nothing else will be.
        static let closing = Flags(rawValue: 8)
        /// A ping is out.
        static let pinged = Flags(rawValue: 16)
        /// epoll reports when it becomes writable.
        static let watchesWrite = Flags(rawValue: 32)
        /// Frames of this tick wait in its list.
        static let dirty = Flags(rawValue: 64)
        /// Not read until `welcome` was sent.
        static let readPaused = Flags(rawValue: 128)
        /// Has a `SlowState`.
        static let slow = Flags(rawValue: 256)
        // The next flags serve a successor after a crash:
        /// Bytes were read from the kernel and are not processed yet.
        static let reading = Flags(rawValue: 512)
        /// A write is in progress: it is unknown how much of it the client got.
        static let writing = Flags(rawValue: 1024)
        /// `welcome` was pushed but not written.
        static let fresh = Flags(rawValue: 2048)
        /// Is receiving, or has just received, missed frames: its position in those rooms is its own.
        static let resuming = Flags(rawValue: 4096)
        /// Received frames in the flush during which the predecessor died: it has everything up to
        /// `TrackedRoom.aheadUntil`.
        static let ahead = Flags(rawValue: 8192)
        /// permessage-deflate was negotiated.
        static let deflated = Flags(rawValue: 16384)
        /// Its next byte is an awaited sign of life.
        static let probed = Flags(rawValue: 32768)
    }

    var descriptor: Int32
    /// Counts the uses of this slot: a late event of an earlier use must not affect this one.
    var generation: UInt32
    var serial: UInt64 = 0
    var user = noIndex
    /// The list of the user's sockets.
    var nextOfUser = noIndex
    /// Frames of this tick: a list in `TickWrites`.
    var firstWrite = noIndex
    var lastWrite = noIndex
    /// The second (of the relay's own clock) of the client's last byte.
    var heard: UInt32 = 0
    /// The second at which the timer checks this socket.
    var deadline: UInt32 = 0
    /// Unix second at which the token ends.
    var expires: UInt32 = 0
    /// The mark (`RelayMemory.mark`) since which frames of its rooms are held, when a successor needs nothing else of
    /// its `SlowState`; 0: not so.
    var heldSince: UInt32 = 0
    /// Unix millisecond at which the token was issued; 0: unknown.
    var issued: Int64 = 0
    /// A hash of the token's `jti`, for revocation; 0: none.
    var tokenID: UInt64 = 0
    /// A hash of the client's address when addresses are limited; 0: not counted.
    var address: UInt64 = 0
    var bucket = RateBucket()
    var flags: Flags = []
    /// The number of rooms that it is resuming.
    var resumes: UInt16 = 0
    /// The flush that last wrote to it.
    var flushed: UInt32 = 0
}

extension Connection {
    /// Of a serial: this socket gets events, and says nothing. (In the serial, so that the layout stays that of the last
    /// release; its flags are all taken.)
    static let eventsBit: UInt64 = 1 << 63

    @inline(__always)
    var getsEvents: Bool { serial & Self.eventsBit != 0 }

    /// Smaller for those that came earlier.
    var age: UInt64 { serial & ~Self.eventsBit }
}

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

    subscript(slot: UInt32) -> Connection {
        @inline(__always) unsafeAddress { UnsafePointer(row(slot)) }
        @inline(__always) unsafeMutableAddress { row(slot) }
    }

    /// The only place where a slot becomes an address. `noIndex`, and any other number that no table has given out,
    /// traps here.
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

    /// Ends the connection. Until `reap` nobody owns its slot: it has no descriptor, counts as closing, and its ticket
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

    /// The data of an epoll event: finds the slot if it still has the same connection.
    func ticket(_ slot: UInt32) -> UInt64 { UInt64(slots[Int(slot)].generation) << 32 | UInt64(slot) }

    func slot(_ ticket: UInt64) -> UInt32? {
        let slot = UInt32(truncatingIfNeeded: ticket)
        guard slot < used, slots[Int(slot)].descriptor >= 0, self.ticket(slot) == ticket else { return nil }
        return slot
    }

    /// Visits every open slot; the body may close any.
    func forEach(_ body: (UInt32) -> Void) {
        for slot in 0..<used where slots[slot].descriptor >= 0 { body(UInt32(slot)) }
    }
}
