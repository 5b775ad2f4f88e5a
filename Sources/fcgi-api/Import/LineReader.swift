import ChatCore
import ChatProcess
import Glibc

/// Lines of a file, or of the standard input, each at most `limit` bytes: memory does not grow with the file.
struct LineReader {
    enum Line: Equatable {
        case bytes([UInt8])
        case tooLong
    }

    private let descriptor: Int32
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Of the bytes in `buffer`, the first that no line has taken.
    private var start = 0
    private var isAtEnd = false
    private static let piece = 1 << 18

    /// - Parameter descriptor: stays open.
    init(_ descriptor: Int32, limit: Int = ImportLimit.line) {
        self.descriptor = descriptor
        self.limit = limit
    }

    /// The next line without its end; nil: there is none. The last one needs no end.
    mutating func next() throws(OperatorError) -> Line? {
        var searched = start
        var isTooLong = false
        while true {
            if let end = newline(from: searched) {
                let line = buffer[start..<end]
                start = end + 1
                return isTooLong || line.count > limit ? .tooLong : .bytes(Array(line))
            }
            if isTooLong || buffer.count - start > limit {
                // The rest of the line is read and dropped.
                isTooLong = true
                start = buffer.count
            }
            if isAtEnd {
                guard start < buffer.count || isTooLong else { return nil }
                defer { start = buffer.count }
                return isTooLong ? .tooLong : .bytes(Array(buffer[start...]))
            }
            searched = try fill()
        }
    }

    private func newline(from place: Int) -> Int? {
        buffer.withUnsafeBytes { bytes in
            guard place < bytes.count, let base = bytes.baseAddress,
                let found = memchr(base + place, 0x0a, bytes.count - place)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    /// Reads more; returns where the new bytes begin.
    private mutating func fill() throws(OperatorError) -> Int {
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        let old = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: Self.piece))
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + old, Self.piece) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw OperatorError("cannot read the file: \(String(cString: strerror(errno)))") }
            buffer.removeLast(Self.piece - count)
            isAtEnd = count == 0
            return old
        }
    }
}
