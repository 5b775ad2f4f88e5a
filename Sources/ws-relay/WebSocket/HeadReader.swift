/// Collects a request's head from chunks, with a limit; reads nothing past its end.
struct HeadReader: Sendable {
    enum Result: Equatable {
        case needsMore
        /// The head with its empty line, and the bytes that the client sent after it without waiting.
        case head([UInt8], rest: [UInt8])
        case tooLarge
    }

    private(set) var bytes: [UInt8] = []

    mutating func feed(_ chunk: UnsafeRawBufferPointer) -> Result {
        let searched = max(0, bytes.count - 3)
        bytes.append(contentsOf: chunk)
        guard let end = Self.end(bytes, from: searched) else {
            return bytes.count > RequestHead.maxBytes ? .tooLarge : .needsMore
        }
        guard end <= RequestHead.maxBytes else { return .tooLarge }
        return .head(Array(bytes[..<end]), rest: Array(bytes[end...]))
    }

    private static func end(_ bytes: [UInt8], from start: Int) -> Int? {
        guard bytes.count >= 4 else { return nil }
        for at in start...bytes.count - 4
        where bytes[at] == 0x0D && bytes[at + 1] == 0x0A && bytes[at + 2] == 0x0D && bytes[at + 3] == 0x0A {
            return at + 4
        }
        return nil
    }
}
