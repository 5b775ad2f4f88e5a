import CLinux
import Glibc
import Synchronization

/// Shared memory in which each worker reports its state: a file in RUN_DIR, mapped by the master, by its workers and,
/// read only, by `status` and `/metrics`.
///
/// Each row has one writer, its worker, and every field is a 64-bit word: a reader may see a slightly old row or half
/// of a change, never a torn number. The layout depends on machine and version; the header names the version.
///
///     header (16384 bytes) | rows × 256 bytes | rows × 64 counters | rows × 16 histograms
///
/// The last `pools` rows belong to no worker. They hold the totals of ended workers, one row per pool, so that a
/// counter never decreases when a worker ends.
public final class Scoreboard {
    public static let workerRows = 496
    /// For 64 pools and 64 replaced ones whose last workers are still ending: one reload may replace all pools.
    static let poolRows = 128
    static let rows = workerRows + poolRows
    static let rowBytes = 256
    public static let maxCounters = 64
    public static let maxHistograms = 16
    static let headerBytes = 16_384
    static let histograms = headerBytes + rows * (rowBytes + maxCounters * 8)
    static let bytes = histograms + rows * maxHistograms * Histogram.words * 8
    /// "chatsb" and the layout's version.
    static let magic: Int64 = 0x6368_6174_7362_0004
    static let nameBytes = 40

    let base: UnsafeMutableRawPointer
    let descriptor: Descriptor

    init(mapping descriptor: Descriptor, writable: Bool) throws {
        var status = stat()
        guard fstat(descriptor.number, &status) == 0, status.st_size >= Scoreboard.bytes else {
            throw OperatorError(
                "the scoreboard is not of this version: restart the program that wrote it")
        }
        let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
        let mapped = mmap(nil, Scoreboard.bytes, protection, MAP_SHARED, descriptor.number, 0)
        guard let mapped, mapped != MAP_FAILED else { throw SystemError("map the scoreboard") }
        base = mapped
        self.descriptor = descriptor
    }

    deinit { munmap(base, Scoreboard.bytes) }

    /// Makes a new, empty scoreboard that replaces the file at `path`.
    static func create(
        at path: String, pools: [String], counters: [String], histograms: [String] = []
    ) throws -> Scoreboard {
        let temporary = path + ".new"
        unlink(temporary)
        let number = Glibc.open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        let file = try Descriptor(high: number, "create the scoreboard \(path)")
        guard ftruncate(file.number, off_t(bytes)) == 0 else {
            throw SystemError("size the scoreboard \(path)")
        }
        let board = try Scoreboard(mapping: file, writable: true)
        try board.writeHeader(pools: pools, counters: counters, histograms: histograms)
        guard rename(temporary, path) == 0 else { throw SystemError("put the scoreboard at \(path)") }
        return board
    }

    /// Opens it for reading; fails when no master has run here.
    public static func open(at path: String) throws -> Scoreboard {
        let number = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw SystemError("open the scoreboard \(path)") }
        let board = try Scoreboard(mapping: Descriptor(number), writable: false)
        guard board.isOfThisVersion else {
            throw OperatorError("\(path) is not a scoreboard of this version")
        }
        return board
    }

    public func row(_ index: Int) -> ScoreboardRow {
        precondition(index >= 0 && index < Scoreboard.rows)
        return ScoreboardRow(board: self, index: index)
    }

    /// The rows of live workers, and the totals of ended ones.
    public var liveRows: [ScoreboardRow] {
        (0..<Scoreboard.workerRows).map(row).filter { $0[.pid] != 0 }
    }
    public func ended(pool index: Int) -> ScoreboardRow {
        row(Scoreboard.workerRows + min(index, Scoreboard.poolRows - 1))
    }

    func word(at offset: Int) -> Int64 {
        base.advanced(by: offset).assumingMemoryBound(to: Atomic<Int64>.self).pointee.load(
            ordering: .relaxed)
    }

    func addWord(at offset: Int, _ value: Int64) {
        base.advanced(by: offset).assumingMemoryBound(to: Atomic<Int64>.self).pointee.wrappingAdd(
            value, ordering: .relaxed)
    }

    func setWord(at offset: Int, to value: Int64) {
        base.advanced(by: offset).assumingMemoryBound(to: Atomic<Int64>.self).pointee.store(
            value, ordering: .relaxed)
    }
}

// MARK: - Header: magic, master, names

extension Scoreboard {
    private static let pidOffset = 8
    private static let startedOffset = 16
    private static let countersOffset = 24
    private static let histogramsOffset = 32
    private static let poolNames = 64
    private static let counterNames = poolNames + poolRows * nameBytes
    private static let histogramNames = counterNames + maxCounters * nameBytes
    /// A histogram's name has its label.
    private static let histogramNameBytes = 128

    private func writeHeader(pools: [String], counters: [String], histograms: [String]) throws {
        precondition(counters.count <= Scoreboard.maxCounters && histograms.count <= Scoreboard.maxHistograms)
        setWord(at: Scoreboard.histogramsOffset, to: Int64(histograms.count))
        for (index, name) in histograms.enumerated() {
            write(
                name, at: Scoreboard.histogramNames + index * Scoreboard.histogramNameBytes,
                room: Scoreboard.histogramNameBytes)
        }
        setWord(at: Scoreboard.countersOffset, to: Int64(counters.count))
        for (index, name) in counters.enumerated() {
            write(
                name, at: Scoreboard.counterNames + index * Scoreboard.nameBytes, room: Scoreboard.nameBytes
            )
        }
        try write(pools: pools)
        setWord(at: Scoreboard.startedOffset, to: Int64(time(nil)))
        recordMaster()
        setWord(at: 0, to: Scoreboard.magic)
    }

    var isOfThisVersion: Bool { word(at: 0) == Scoreboard.magic }

    func recordMaster() { setWord(at: Scoreboard.pidOffset, to: Int64(getpid())) }

    /// A pool keeps its index while it exists. A new pool takes the next free index, or that of a removed pool whose
    /// last worker has ended; the removed pool's totals are lost.
    func write(pools names: [String]) throws {
        for name in names where !pools.contains(name) {
            let live = Set(liveRows.map { $0[.pool] })
            let known = pools
            guard
                let index = known.count < Scoreboard.poolRows
                    ? known.count : known.indices.first(where: { !names.contains(known[$0]) && !live.contains($0) })
            else { throw OperatorError("the workers of removed pools are still ending: reload in a moment") }
            row(Scoreboard.workerRows + index).clear()
            write(name, at: Scoreboard.poolNames + index * Scoreboard.nameBytes, room: Scoreboard.nameBytes)
        }
    }

    public var masterPid: Int { Int(word(at: Scoreboard.pidOffset)) }
    public var startedAt: Int { Int(word(at: Scoreboard.startedOffset)) }

    public var pools: [String] {
        (0..<Scoreboard.poolRows).map { text(at: Scoreboard.poolNames + $0 * Scoreboard.nameBytes) }
            .filter { !$0.isEmpty }
    }

    public var counters: [String] {
        let count = min(max(0, Int(word(at: Scoreboard.countersOffset))), Scoreboard.maxCounters)
        return (0..<count).map { text(at: Scoreboard.counterNames + $0 * Scoreboard.nameBytes) }
    }

    /// As `name`, or `name{label="value"}`.
    public var histograms: [String] {
        let count = min(max(0, Int(word(at: Scoreboard.histogramsOffset))), Scoreboard.maxHistograms)
        return (0..<count).map { text(at: Scoreboard.histogramNames + $0 * Scoreboard.histogramNameBytes) }
    }

    /// The sum of a counter over all workers of the program; nil: there is no counter with this name.
    public func sum(of name: String) -> Int? {
        guard let index = counters.firstIndex(of: name) else { return nil }
        return liveRows.reduce(0) { $0 + $1.counter(index) }
    }

    /// The smallest value that is not zero, for times; nil: all are zero.
    public func earliest(of name: String) -> Int? {
        guard let index = counters.firstIndex(of: name) else { return nil }
        return liveRows.map { $0.counter(index) }.filter { $0 != 0 }.min()
    }

    /// The value of each live worker.
    public func values(of name: String) -> [Int] {
        guard let index = counters.firstIndex(of: name) else { return [] }
        return liveRows.map { $0.counter(index) }
    }

    /// One length byte, then the text, cut to fit. A concurrent reader may see a mixture of two texts.
    func write(_ text: String, at offset: Int, room: Int) {
        var length = 0
        for byte in text.utf8.prefix(room - 1) {
            length += 1
            base.storeBytes(of: byte, toByteOffset: offset + length, as: UInt8.self)
        }
        base.storeBytes(of: UInt8(length), toByteOffset: offset, as: UInt8.self)
    }

    func text(at offset: Int) -> String {
        let length = Int(base.load(fromByteOffset: offset, as: UInt8.self))
        let bytes = UnsafeRawBufferPointer(start: base.advanced(by: offset + 1), count: length)
        return String(decoding: bytes, as: UTF8.self)
    }
}
