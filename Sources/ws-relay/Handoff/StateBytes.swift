/// Serialises state for another process: values as raw memory, arrays with a count. Only values with the same memory
/// layout in every version are written like this; records whose fields change are `DescribedRecord`s.
struct StateWriter {
    private(set) var bytes: [UInt8] = []

    mutating func put<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    mutating func put<Value: BitwiseCopyable>(array: [Value]) {
        put(UInt32(array.count))
        array.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }

    mutating func put(_ text: String) { put(array: Array(text.utf8)) }
}

/// This binary cannot read the received state: the sender keeps its sockets.
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

    mutating func takeArray<Value: BitwiseCopyable>(_: Value.Type = Value.self) throws(StateUnreadable) -> [Value] {
        let count = Int(try take(UInt32.self))
        let size = count * MemoryLayout<Value>.stride
        let start = try advance(size)
        // With no elements, the initializer below would write into the one empty array that all threads share.
        guard count > 0 else { return [] }
        return [Value](unsafeUninitializedCapacity: count) { array, initialized in
            bytes.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(array).copyMemory(from: .init(rebasing: $0[start..<start + size]))
            }
            initialized = count
        }
    }

    mutating func takeText() throws(StateUnreadable) -> String {
        String(decoding: try takeArray(UInt8.self), as: UTF8.self)
    }

    mutating func takeBytes(_ count: Int) throws(StateUnreadable) -> ArraySlice<UInt8> {
        let start = try advance(count)
        return bytes[start..<start + count]
    }

    private mutating func advance(_ count: Int) throws(StateUnreadable) -> Int {
        guard count >= 0, count <= bytes.count - at else {
            throw StateUnreadable(wanted: count, left: bytes.count - at)
        }
        defer { at += count }
        return at
    }
}
