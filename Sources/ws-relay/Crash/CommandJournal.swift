import Glibc

/// Commands whose answers clients still wait for, in memory that survives a crash. The successor sends them again; the
/// rooms' writer recognises each by its id and answers the unanswered ones. This is a ring: when it is full, the oldest
/// entry is dropped, which costs that client an answer if the relay is killed at that moment.
final class CommandJournal {
    /// Enough for some minutes of the busiest relay. Untouched pages cost nothing.
    static let size = 16 << 20
    private static let alignment = 16

    struct JournalEntry: BitwiseCopyable {
        /// Bytes after this header; a skipped end of the ring is counted too.
        var length: UInt32
        var isOpen: UInt32
        var socket: UInt64
    }

    /// The range of entries, from `tail` to `head`, counted since the beginning.
    struct Bounds: BitwiseCopyable {
        var tail: UInt64 = 0
        var head: UInt64 = 0
    }

    private let base: UnsafeMutableRawPointer
    private let bounds: UnsafeMutablePointer<Bounds>

    init(_ base: UnsafeMutableRawPointer, _ bounds: UnsafeMutablePointer<Bounds>) {
        (self.base, self.bounds) = (base, bounds)
    }

    /// - Returns: its position, for `remove`.
    func append(_ command: [UInt8], of socket: UInt64) -> UInt64 {
        if bounds.pointee.tail == bounds.pointee.head { startOver() }
        let needed = Self.bytes(of: command.count)
        let untilEnd = Self.size - Int(bounds.pointee.head % UInt64(Self.size))
        if needed > untilEnd {
            makeRoom(untilEnd)
            write(JournalEntry(length: UInt32(untilEnd - MemoryLayout<JournalEntry>.size), isOpen: 0, socket: 0), [])
        }
        makeRoom(needed)
        let place = bounds.pointee.head
        write(JournalEntry(length: UInt32(command.count), isOpen: 1, socket: socket), command)
        return place
    }

    func remove(_ place: UInt64) {
        guard place >= bounds.pointee.tail else { return }
        entry(at: place).pointee.isOpen = 0
        while bounds.pointee.tail < bounds.pointee.head, entry(at: bounds.pointee.tail).pointee.isOpen == 0 {
            forgetFirst()
        }
    }

    /// All entries, oldest first.
    func all() -> [(socket: UInt64, command: [UInt8])] {
        var found: [(UInt64, [UInt8])] = []
        var place = bounds.pointee.tail
        while place < bounds.pointee.head {
            let entry = entry(at: place)
            let length = Int(entry.pointee.length)
            if entry.pointee.isOpen != 0 {
                found.append((entry.pointee.socket, Array(UnsafeRawBufferPointer(start: entry + 1, count: length))))
            }
            place += UInt64(Self.bytes(of: length))
        }
        return found
    }

    /// When it is empty, restarts at the ring's beginning: a relay that keeps up uses only the first pages.
    private func startOver() {
        let size = UInt64(Self.size)
        let start = (bounds.pointee.head + size - 1) / size * size
        bounds.pointee.tail = start
        bounds.pointee.head = start
    }

    private func makeRoom(_ needed: Int) {
        while Int(bounds.pointee.head - bounds.pointee.tail) + needed > Self.size { forgetFirst() }
    }

    private func forgetFirst() {
        bounds.pointee.tail += UInt64(Self.bytes(of: Int(entry(at: bounds.pointee.tail).pointee.length)))
    }

    /// An entry becomes visible when `head` moves: a crash before that leaves nothing.
    private func write(_ header: JournalEntry, _ bytes: [UInt8]) {
        let entry = entry(at: bounds.pointee.head)
        entry.pointee = header
        bytes.withUnsafeBytes { source in
            if let start = source.baseAddress { memcpy(entry + 1, start, source.count) }
        }
        bounds.pointee.head += UInt64(Self.bytes(of: Int(header.length)))
    }

    private func entry(at place: UInt64) -> UnsafeMutablePointer<JournalEntry> {
        (base + Int(place % UInt64(Self.size))).assumingMemoryBound(to: JournalEntry.self)
    }

    private static func bytes(of length: Int) -> Int {
        (MemoryLayout<JournalEntry>.size + length + alignment - 1) / alignment * alignment
    }
}
