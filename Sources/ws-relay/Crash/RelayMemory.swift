import CLinux
import ChatCore
import Glibc

/// What a relay's successor has to know if the relay is killed: the tables of its sockets, users and rooms, in a file
/// of the kernel's memory that outlives the process. The relay works in these tables, so nothing is ever copied; what
/// another process finds in them is what was true at the last instruction.
///
/// Written by the loop alone. Untouched pages cost nothing.
final class RelayMemory {
    /// Changes with the meaning of what lies here.
    private static let version: UInt64 = 4
    /// Rooms that are remembered; clients in others are told to fetch them again (`resync`) after a crash.
    static let roomCapacity = 131_072
    private static let headerBytes = 4096
    /// Frames of all rooms that are remembered as the latest: enough for the moment for which a fresh socket's are held,
    /// at some thousands a second.
    private static let latest = 2048

    struct Header: BitwiseCopyable {
        var layout: UInt64 = 0
        var relayID: UInt64 = 0
        /// The serial of the next socket.
        var serial: UInt64 = 1
        var capacity: UInt32 = 0
        /// Slots and rows below these have been used at least once.
        var connections: UInt32 = 0
        var rooms: UInt32 = 0
        var phase = Phase.gathering
        /// The number of the flush that is under way, or was the last.
        var flush: UInt32 = 0
        /// Frames so far, of all rooms; the first is number 1.
        var frames: UInt64 = 1
        var journal = CommandJournal.Bounds()
    }

    /// What a socket has got of its rooms' frames.
    enum Phase: UInt32, BitwiseCopyable {
        /// Up to each room's `committed`.
        case gathering
        /// Sockets with the number of this flush, up to `pending`; the others, up to `committed`.
        case flushing
        /// Up to `pending`; the rows are being put right.
        case committing
    }

    struct Room: BitwiseCopyable {
        var id: UUID128
        /// The newest Seq that every socket of the room has.
        var committed: UInt64
        /// The newest Seq that is on its way to them.
        var pending: UInt64
    }

    private struct Frame: BitwiseCopyable {
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
    /// Rows with frames on their way.
    private var advanced: [UInt32] = []

    /// For a relay that starts.
    ///
    /// - Parameter file: kept by the keeper; nil: nothing of this outlives the process.
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

    /// A dead relay's; nil when it is of another version.
    convenience init?(leftIn file: Int32) {
        var header = Header()
        let read = pread(file, &header, MemoryLayout<Header>.size, 0)
        guard read == MemoryLayout<Header>.size, header.layout == Self.layout else { return nil }
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

    /// Two binaries that lay the tables out differently do not understand each other.
    static var layout: UInt64 {
        version << 32 | UInt64(MemoryLayout<Connection>.stride) << 16 | UInt64(MemoryLayout<Room>.stride)
    }

    // MARK: Rooms

    /// A row for a room whose members have everything up to `last`; `noIndex` when there is no more.
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

    /// A frame of this room is pushed to its members from now on, and leaves with the next flush.
    func advance(_ row: UInt32, to seq: UInt64) {
        guard row != noIndex else { return }
        if rooms[Int(row)].pending == rooms[Int(row)].committed { advanced.append(row) }
        rooms[Int(row)].pending = seq
        frames[Int(header.pointee.frames % UInt64(Self.latest))] = Frame(room: rooms[Int(row)].id, seq: seq)
        header.pointee.frames += 1
    }

    // MARK: The latest frames

    /// Stands between the frames so far and those to come.
    var mark: UInt32 { UInt32(truncatingIfNeeded: header.pointee.frames) }

    /// The first frame of each room after the mark; nil: it is too long ago.
    ///
    /// - Parameter known: earlier answers: many sockets that came at once share a mark.
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

    /// The number of this flush: each socket that has been written to is marked with it.
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
