import CLinux
import ChatCore
import Glibc

/// The state that a successor needs if this relay is killed: the tables of sockets, users and rooms, in a memfd that
/// outlives the process. The relay works directly in these tables, so nothing is copied; another process finds them as
/// they were at the last instruction.
///
/// Only the loop writes here. Untouched pages cost nothing.
final class RelayMemory {
    /// Must change when the meaning of this memory changes.
    static let version: UInt64 = 4
    /// The number of rooms that are recorded. After a crash, clients in other rooms must fetch them again (`resync`).
    static let roomCapacity = 131_072
    private static let headerBytes = 4096
    /// The number of recent frames that are recorded, over all rooms: enough for the hold of a fresh socket at some
    /// thousands a second.
    private static let latest = 2048

    struct Header: BitwiseCopyable {
        var layout: UInt64 = 0
        var relayID: UInt64 = 0
        /// The serial number of the next socket.
        var serial: UInt64 = 1
        var capacity: UInt32 = 0
        /// Slots and rows below these have been used at least once.
        var connections: UInt32 = 0
        var rooms: UInt32 = 0
        var phase = Phase.gathering
        /// The number of the current or last flush.
        var flush: UInt32 = 0
        /// The number of the next frame, over all rooms; the first has number 1.
        var frames: UInt64 = 1
        var journal = CommandJournal.Bounds()
    }

    /// The progress of a flush: which frames a socket has.
    enum Phase: UInt32, BitwiseCopyable {
        /// Frames up to each room's `committed`.
        case gathering
        /// Sockets marked with this flush's number: up to `pending`; the others: up to `committed`.
        case flushing
        /// Frames up to `pending`; the rows are being updated.
        case committing
    }

    struct Room: BitwiseCopyable {
        var id: UUID128
        /// The newest Seq that every socket of the room has.
        var committed: UInt64
        /// The newest Seq that is being written to them.
        var pending: UInt64
    }

    struct Frame: BitwiseCopyable {
        var room: UUID128
        var seq: UInt64
    }

    let header: UnsafeMutablePointer<Header>
    let connections: UnsafeMutablePointer<Connection>
    let users: UnsafeMutablePointer<UUID128>
    let rooms: UnsafeMutablePointer<Room>
    let journal: CommandJournal
    private let frames: UnsafeMutablePointer<Frame>
    private let base: UnsafeMutableRawPointer
    private let size: Int
    private var freeRooms: [UInt32] = []
    /// Rows with unwritten frames.
    private var advanced: [UInt32] = []

    /// For a relay at its start.
    ///
    /// - Parameter file: a file that the file keeper keeps; nil: the memory ends with the process.
    convenience init(capacity: Int, file: Int32? = nil) {
        let size = Self.size(capacity)
        if let file, ftruncate(file, off_t(size)) != 0 {
            self.init(mapping: nil, capacity, size)!
        } else {
            self.init(mapping: file, capacity, size)!
        }
        header.initialize(to: Header())
        header.pointee.layout = Self.layout
        header.pointee.capacity = UInt32(capacity)
    }

    /// The memory of a dead relay; nil when its version differs.
    convenience init?(leftIn file: Int32) {
        var header = Header()
        let read = pread(file, &header, MemoryLayout<Header>.size, 0)
        guard read == MemoryLayout<Header>.size, [Self.layout, Self.layoutWithEvents].contains(header.layout) else {
            return nil
        }
        let size = Self.size(Int(header.capacity))
        var status = stat()
        guard fstat(file, &status) == 0, Int(status.st_size) >= size else { return nil }
        self.init(mapping: file, Int(header.capacity), size)
    }

    private init?(mapping file: Int32?, _ capacity: Int, _ size: Int) {
        let flags = file == nil ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_NORESERVE
        guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, flags, file ?? -1, 0), base != MAP_FAILED else {
            return nil
        }
        (self.base, self.size) = (base, size)
        header = base.assumingMemoryBound(to: Header.self)
        let users = base + Self.headerBytes + capacity * MemoryLayout<Connection>.stride
        connections = (base + Self.headerBytes).assumingMemoryBound(to: Connection.self)
        self.users = users.assumingMemoryBound(to: UUID128.self)
        let rooms = users + capacity * MemoryLayout<UUID128>.stride
        self.rooms = rooms.assumingMemoryBound(to: Room.self)
        let bounds = (base + MemoryLayout<Header>.offset(of: \.journal)!).assumingMemoryBound(
            to: CommandJournal.Bounds.self)
        let journal = rooms + Self.roomCapacity * MemoryLayout<Room>.stride
        self.journal = CommandJournal(journal, bounds)
        frames = (journal + CommandJournal.size).assumingMemoryBound(to: Frame.self)
    }

    deinit { munmap(base, size) }

    private static func size(_ capacity: Int) -> Int {
        headerBytes + capacity * (MemoryLayout<Connection>.stride + MemoryLayout<UUID128>.stride)
            + roomCapacity * MemoryLayout<Room>.stride + CommandJournal.size + latest * MemoryLayout<Frame>.stride
    }

    /// Binaries whose tables differ in layout must not read each other's memory.
    static var layout: UInt64 {
        version << 32 | UInt64(MemoryLayout<Connection>.stride) << 16 | UInt64(MemoryLayout<Room>.stride)
    }

    /// While there are streams of events: a release that does not know them would write WebSocket frames into them.
    private static var layoutWithEvents: UInt64 { layout | 1 << 63 }

    var hasEvents: Bool {
        get { header.pointee.layout == Self.layoutWithEvents }
        set { header.pointee.layout = newValue ? Self.layoutWithEvents : Self.layout }
    }

    // MARK: Rooms

    /// A row for a room whose members have everything up to `last`; `noIndex` when all rows are used.
    func open(_ id: UUID128, last: UInt64) -> UInt32 {
        let row: UInt32
        if let free = freeRooms.popLast() {
            row = free
        } else {
            guard header.pointee.rooms < UInt32(Self.roomCapacity) else { return noIndex }
            row = header.pointee.rooms
        }
        rooms[Int(row)] = Room(id: id, committed: last, pending: last)
        header.pointee.rooms = max(header.pointee.rooms, row + 1)
        return row
    }

    func close(_ row: UInt32) {
        guard row != noIndex else { return }
        rooms[Int(row)].id = UUID128(high: 0, low: 0)
        freeRooms.append(row)
    }

    /// Records that a frame of this room is pushed to its members and leaves with the next flush.
    func advance(_ row: UInt32, to seq: UInt64) {
        guard row != noIndex else { return }
        if rooms[Int(row)].pending == rooms[Int(row)].committed { advanced.append(row) }
        rooms[Int(row)].pending = seq
        frames[Int(header.pointee.frames % UInt64(Self.latest))] = Frame(room: rooms[Int(row)].id, seq: seq)
        header.pointee.frames += 1
    }

    // MARK: The latest frames

    /// Separates the frames so far from later ones.
    var mark: UInt32 { UInt32(truncatingIfNeeded: header.pointee.frames) }

    /// The first frame of each room after the mark; nil when the mark is too old.
    ///
    /// - Parameter known: earlier results: sockets that connected together share a mark.
    func firstFrames(after mark: UInt32, known: inout [UInt32: [UUID128: UInt64]]) -> [UUID128: UInt64]? {
        if let first = known[mark] { return first }
        let count = UInt64(self.mark &- mark)
        guard count <= UInt64(Self.latest) else { return nil }
        var first: [UUID128: UInt64] = [:]
        for number in header.pointee.frames - count..<header.pointee.frames {
            let frame = frames[Int(number % UInt64(Self.latest))]
            first[frame.room] = min(first[frame.room] ?? .max, frame.seq)
        }
        known[mark] = first
        return first
    }

    // MARK: Flush

    /// The number of this flush; each written socket is marked with it.
    func beginFlush() -> UInt32 {
        header.pointee.flush &+= 1
        header.pointee.phase = .flushing
        return header.pointee.flush
    }

    func endFlush() {
        header.pointee.phase = .committing
        for row in advanced { rooms[Int(row)].committed = rooms[Int(row)].pending }
        advanced.removeAll(keepingCapacity: true)
        header.pointee.phase = .gathering
    }
}
