/// Writes MessagePack, always in the shortest form.
public struct MessagePackWriter: WireWriter, Sendable {
    public var bytes: [UInt8] = []
    /// The entries so far of the open map.
    public internal(set) var entries = 0

    public init(reserving capacity: Int = 256) { bytes.reserveCapacity(capacity) }

    /// Reserves a head of the expected size; ``endMap(_:)`` writes the count into it.
    public mutating func beginMap(_ size: MapSize) -> OpenMap {
        let map = OpenMap(start: bytes.count, size: size, outer: entries)
        entries = 0
        bytes.append(size == .short ? 0x80 : 0xde)
        if size == .long {
            bytes.append(0)
            bytes.append(0)
        }
        return map
    }

    public mutating func endMap(_ map: OpenMap) {
        let count = entries
        entries = map.outer
        switch (map.size, count) {
        case (.short, ...15): bytes[map.start] = 0x80 | UInt8(count)
        case (.long, 16...65_535):
            bytes[map.start + 1] = UInt8(count >> 8)
            bytes[map.start + 2] = UInt8(count & 0xff)
        default:
            replaceHead(at: map.start, of: map.size == .short ? 1 : 3) {
                $0.header(count, fix: 0x80, two: 0xde, four: 0xdf)
            }
        }
    }

    /// An array whose elements count themselves in ``entries``.
    mutating func beginRecord() -> OpenMap {
        defer { entries = 0 }
        bytes.append(0x90)
        return OpenMap(start: bytes.count - 1, outer: entries)
    }

    mutating func endRecord(_ record: OpenMap) {
        let count = entries
        entries = record.outer
        if count <= 15 { return bytes[record.start] = 0x90 | UInt8(count) }
        replaceHead(at: record.start, of: 1) { $0.beginArray(count) }
    }

    private mutating func replaceHead(at start: Int, of length: Int, _ write: (inout Self) -> Void) {
        var head = MessagePackWriter(reserving: 5)
        write(&head)
        bytes.replaceSubrange(start..<start + length, with: head.bytes)
    }

    public mutating func beginArray(_ count: Int) { header(count, fix: 0x90, two: 0xdc, four: 0xdd) }
    public mutating func endArray() {}

    public mutating func key(_ name: StaticString) {
        entries += 1
        stringHeader(name.utf8CodeUnitCount)
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    public mutating func key(named name: String) {
        entries += 1
        string(name)
    }

    public mutating func null() { bytes.append(0xc0) }
    public mutating func bool(_ value: Bool) { bytes.append(value ? 0xc3 : 0xc2) }

    public mutating func int(_ value: Int64) {
        switch value {
        case 0...127: bytes.append(UInt8(value))
        case -32 ... -1: bytes.append(UInt8(bitPattern: Int8(value)))
        case 128...255: append(0xcc, UInt8(value))
        case 256...65_535: append(0xcd, UInt16(value))
        case 65_536...4_294_967_295: append(0xce, UInt32(value))
        case 4_294_967_296...: append(0xcf, UInt64(value))
        case -128 ... -33: append(0xd0, UInt8(bitPattern: Int8(value)))
        case -32_768 ... -129: append(0xd1, UInt16(bitPattern: Int16(value)))
        case -2_147_483_648 ... -32_769: append(0xd2, UInt32(bitPattern: Int32(value)))
        default: append(0xd3, UInt64(bitPattern: value))
        }
    }

    public mutating func double(_ value: Double) { append(0xcb, value.bitPattern) }

    public mutating func utf8(_ text: UnsafeRawBufferPointer) {
        stringHeader(text.count)
        bytes.append(contentsOf: text)
    }

    public mutating func uuid(_ value: UUID128) {
        stringHeader(36)
        value.appendText(to: &bytes)
    }

    public mutating func timestamp(_ unixMilliseconds: Int64) {
        stringHeader(timestampLength)
        appendTimestamp(unixMilliseconds, to: &bytes)
    }

    public mutating func binary(_ value: [UInt8]) {
        switch value.count {
        case 0...255: append(0xc4, UInt8(value.count))
        case 256...65_535: append(0xc5, UInt16(value.count))
        default: append(0xc6, UInt32(value.count))
        }
        bytes.append(contentsOf: value)
    }

    private mutating func stringHeader(_ count: Int) {
        switch count {
        case 0...31: bytes.append(0xa0 | UInt8(count))
        case 32...255: append(0xd9, UInt8(count))
        case 256...65_535: append(0xda, UInt16(count))
        default: append(0xdb, UInt32(count))
        }
    }

    private mutating func header(_ count: Int, fix: UInt8, two: UInt8, four: UInt8) {
        switch count {
        case 0...15: bytes.append(fix | UInt8(count))
        case 16...65_535: append(two, UInt16(count))
        default: append(four, UInt32(count))
        }
    }

    private mutating func append(_ tag: UInt8, _ value: some FixedWidthInteger) {
        bytes.append(tag)
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}

/// Reads untrusted MessagePack. Every length is checked against the remaining bytes before anything is allocated; map
/// keys must be unique strings, strings must be UTF-8, nothing may follow the value.
public struct MessagePackReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    public init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        self.position = bytes.startIndex
    }

    public static func decode(_ bytes: [UInt8]) throws(WireError) -> WireValue { try decode(bytes[...]) }

    public static func decode(_ bytes: ArraySlice<UInt8>) throws(WireError) -> WireValue {
        var reader = MessagePackReader(bytes)
        let value = try reader.value(depth: 0)
        guard reader.position == bytes.endIndex else { throw reader.error("bytes follow the value") }
        return value
    }

    private func error(_ text: String) -> WireError { WireError(text, at: position - bytes.startIndex) }

    private mutating func value(depth: Int) throws(WireError) -> WireValue {
        guard depth < WireLimit.depth else { throw error("nested deeper than \(WireLimit.depth)") }
        let tag = try byte()
        switch tag {
        case 0x00...0x7f: return .int(Int64(tag))
        case 0x80...0x8f: return try map(Int(tag & 0x0f), depth)
        case 0x90...0x9f: return try array(Int(tag & 0x0f), depth)
        case 0xa0...0xbf: return .string(try text(Int(tag & 0x1f)))
        case 0xc0: return .null
        case 0xc2: return .bool(false)
        case 0xc3: return .bool(true)
        case 0xc4: return .binary(Array(try take(Int(try integer(UInt8.self)))))
        case 0xc5: return .binary(Array(try take(Int(try integer(UInt16.self)))))
        case 0xc6: return .binary(Array(try take(Int(try integer(UInt32.self)))))
        case 0xca: return .double(Double(Float(bitPattern: try integer(UInt32.self))))
        case 0xcb: return .double(Double(bitPattern: try integer(UInt64.self)))
        case 0xcc: return .int(Int64(try integer(UInt8.self)))
        case 0xcd: return .int(Int64(try integer(UInt16.self)))
        case 0xce: return .int(Int64(try integer(UInt32.self)))
        case 0xcf:
            // As in JSON: a too large number is refused later by its field's name, so the answer still has the
            // request's Sign.
            let value = try integer(UInt64.self)
            return Int64(exactly: value).map { .int($0) } ?? .double(Double(value))
        case 0xd0: return .int(Int64(Int8(bitPattern: try integer(UInt8.self))))
        case 0xd1: return .int(Int64(Int16(bitPattern: try integer(UInt16.self))))
        case 0xd2: return .int(Int64(Int32(bitPattern: try integer(UInt32.self))))
        case 0xd3: return .int(Int64(bitPattern: try integer(UInt64.self)))
        case 0xd9: return .string(try text(Int(try integer(UInt8.self))))
        case 0xda: return .string(try text(Int(try integer(UInt16.self))))
        case 0xdb: return .string(try text(Int(try integer(UInt32.self))))
        case 0xdc: return try array(Int(try integer(UInt16.self)), depth)
        case 0xdd: return try array(Int(try integer(UInt32.self)), depth)
        case 0xde: return try map(Int(try integer(UInt16.self)), depth)
        case 0xdf: return try map(Int(try integer(UInt32.self)), depth)
        case 0xe0...0xff: return .int(Int64(Int8(bitPattern: tag)))
        default: throw error("a MessagePack type that is not used here (0x\(String(tag, radix: 16)))")
        }
    }

    private mutating func map(_ count: Int, _ depth: Int) throws(WireError) -> WireValue {
        // A key and a value take at least one byte each: a false count cannot cause a large allocation.
        guard count <= (bytes.endIndex - position) / 2 else { throw error("the map is cut off") }
        var entries: [WireValue.MapEntry] = []
        entries.reserveCapacity(count)
        for _ in 0..<count {
            guard case .string(let key) = try value(depth: depth + 1) else { throw error("a map key is not a string") }
            guard !entries.contains(where: { areSameBytes($0.key, key) }) else {
                throw error("a map key occurs twice")
            }
            // The search through earlier keys is quadratic, so an untrusted map may have only a few.
            guard entries.count < 64 else { throw error("a map has more than 64 keys") }
            entries.append(.init(key, try value(depth: depth + 1)))
        }
        return .map(entries)
    }

    private mutating func array(_ count: Int, _ depth: Int) throws(WireError) -> WireValue {
        guard count <= bytes.endIndex - position else { throw error("the array is cut off") }
        var values: [WireValue] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try value(depth: depth + 1)) }
        return .array(values)
    }

    private mutating func text(_ count: Int) throws(WireError) -> String {
        guard let text = String(validating: try take(count), as: UTF8.self) else { throw error("text is not UTF-8") }
        return text
    }

    private mutating func byte() throws(WireError) -> UInt8 {
        guard position < bytes.endIndex else { throw error("the value is cut off") }
        defer { position += 1 }
        return bytes[position]
    }

    private mutating func take(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count <= bytes.endIndex - position else { throw error("the value is cut off") }
        defer { position += count }
        return bytes[position..<position + count]
    }

    private mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_: T.Type) throws(WireError) -> T {
        var value: T = 0
        for byte in try take(MemoryLayout<T>.size) { value = (T.bitWidth > 8 ? value << 8 : 0) | T(byte) }
        return value
    }
}
