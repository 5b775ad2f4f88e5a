import ChatCore
import ChatProcess
import Glibc

/// Lines of a file, or of the standard input, each at most `limit` bytes: memory does not grow with the file.
struct LineReader {
    enum Line: Equatable {
        case bytes([UInt8])
        case tooLong
    }

    private let file: InputFile
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Of the bytes in `buffer`, the first that no line has taken.
    private var start = 0
    private var isAtEnd = false
    private static let piece = 1 << 18

    init(_ file: InputFile, limit: Int = ImportLimit.line) {
        self.file = file
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
        let file = file
        var count: Result<Int, OperatorError> = .success(0)
        buffer.withUnsafeMutableBytes { bytes in
            let space = UnsafeMutableRawBufferPointer(rebasing: bytes[old...])
            do throws(OperatorError) { count = .success(try file.read(into: space)) } catch { count = .failure(error) }
        }
        buffer.removeLast(Self.piece - (try count.get()))
        isAtEnd = buffer.count == old
        return old
    }
}
