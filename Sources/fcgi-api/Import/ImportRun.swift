import ChatAdapters
import ChatCore
import ChatProcess
import Glibc

/// Reads all lines, has them checked, and stores them.
struct ImportRun {
    /// Lines with problems that are shown; reading stops there.
    static let shown = 100

    let store: PostgresImport
    let namespace: UUID128
    let now: Int64
    private(set) var problems: [ImportProblem] = []
    /// Lines of what is here otherwise, and stays so.
    private(set) var differences: [ImportProblem] = []
    private(set) var lines: Int64 = 0
    /// Lines of kinds that no import takes.
    private(set) var passedOver: [String: Int] = [:]
    private var faulty = 0

    /// - Parameter now: Unix milliseconds.
    init(_ store: PostgresImport, namespace: UUID128, now: Int64) {
        self.store = store
        self.namespace = namespace
        self.now = now
    }

    /// One line of the file.
    mutating func take(_ line: LineReader.Line) throws(PostgresError) {
        lines += 1
        switch line {
        case .tooLong: note(["the line has more than \(ImportLimit.line) bytes"])
        case .bytes(let bytes):
            let bytes = lines == 1 && bytes.starts(with: [0xef, 0xbb, 0xbf]) ? Array(bytes.dropFirst(3)) : bytes
            guard bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }) else { return }
            switch ImportReader.read(bytes, now: now) {
            case .problems(let texts): note(texts)
            case .record(let record): try take(record, bytes)
            }
        }
    }

    /// A line that a converter has made and read.
    mutating func take(converted record: ImportRecord, _ bytes: [UInt8]) throws(PostgresError) {
        lines += 1
        try take(record, bytes)
    }

    private mutating func take(_ record: ImportRecord, _ bytes: [UInt8]) throws(PostgresError) {
        switch record {
        case .head(let other):
            if let other, other != namespace {
                note(["UserNamespace is not USER_NAMESPACE of this installation: its users would be others here"])
            }
        case .passedOver(let kind): passedOver[kind, default: 0] += 1
        default:
            // Nothing of a file with a problem is stored: its other lines are only read.
            guard problems.isEmpty else { return }
            try store.add(record, line: lines, digest: Self.digest(bytes))
        }
    }

    private mutating func note(_ texts: [String]) {
        problems += texts.map { ImportProblem(line: lines, text: $0) }
        faulty += 1
    }

    /// Enough problems are known.
    var isFull: Bool { faulty >= Self.shown }

    /// Compares the lines with each other; only when all could be read.
    mutating func compare() throws(PostgresError) {
        guard problems.isEmpty else { return }
        problems = try store.problems(limit: Self.shown)
        guard problems.isEmpty else { return }
        differences = try store.differences(limit: Self.shown)
    }

    /// Lines that could not be stored as they are because of what happened here since ``compare()``.
    mutating func compareAgain() throws(PostgresError) -> [ImportProblem] {
        let found = try store.notes(limit: Self.shown)
        differences += found
        return found
    }

    /// Perhaps not all lines are named.
    var hasMore: Bool { differences.count >= Self.shown }

    /// FNV-1a: tells a line that occurs twice from two lines about one thing.
    private static func digest(_ bytes: [UInt8]) -> Int64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        return Int64(bitPattern: hash)
    }
}
