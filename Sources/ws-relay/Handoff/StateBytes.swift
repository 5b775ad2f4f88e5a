/// State on its way to another process of the same machine: fixed-width values in host order, arrays with a count.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    mutating func put(bytes some: some Collection<UInt8>) {
        put(UInt32(some.count))
        bytes.append(contentsOf: some)
    }

    mutating func put(_ text: String) { put(bytes: Array(text.utf8)) }
}

/// The state that came is not what this binary understands: the sender keeps its sockets.
struct StateUnreadable: Error, Equatable {
    let wanted: Int
    let left: Int
}

struct StateReader {
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { at == bytes.count }

    mutating func take<Value: BitwiseCopyable>(_: Value.Type = Value.self) throws(StateUnreadable) -> Value {
        let size = MemoryLayout<Value>.size
        let start = try advance(size)
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: start, as: Value.self) }
    }

    mutating func takeBytes() throws(StateUnreadable) -> [UInt8] {
        let count = Int(try take(UInt32.self))
        let start = try advance(count)
        return Array(bytes[start..<start + count])
    }

    mutating func takeText() throws(StateUnreadable) -> String {
        String(decoding: try takeBytes(), as: UTF8.self)
    }

    private mutating func advance(_ count: Int) throws(StateUnreadable) -> Int {
        guard count <= bytes.count - at else { throw StateUnreadable(wanted: count, left: bytes.count - at) }
        defer { at += count }
        return at
    }
}
