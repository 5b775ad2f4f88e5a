/// Reads the little-endian records that our programs exchange; every length is checked.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: some Sequence<UInt8>) {
        self.bytes = ArraySlice(bytes)
        self.position = self.bytes.startIndex
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    mutating func take(_ count: Int) throws(WireError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= bytes.endIndex - position else {
            throw WireError("the record is cut off", at: position - bytes.startIndex)
        }
        defer { position += count }
        return bytes[position..<position + count]
    }

    mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(WireError) -> T {
        var value: T = 0
        for (index, byte) in try take(MemoryLayout<T>.size).enumerated() {
            value |= T(truncatingIfNeeded: byte) << T(truncatingIfNeeded: index * 8)
        }
        return value
    }

    mutating func uuid() throws(WireError) -> UUID128 {
        UUID128(bytes: try take(16))!
    }

    mutating func uuids() throws(WireError) -> [UUID128] {
        var all: [UUID128] = []
        for _ in 0..<(try integer(UInt16.self)) { all.append(try uuid()) }
        return all
    }

    /// One byte of length, then UTF-8; length 255 means no text.
    mutating func shortText() throws(WireError) -> String? {
        let count = Int(try integer(UInt8.self))
        guard count != 255 else { return nil }
        return String(decoding: try take(count), as: UTF8.self)
    }
}

extension [UInt8] {
    mutating func append(integer value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    mutating func append(uuids: [UUID128]) {
        append(integer: UInt16(uuids.count))
        for uuid in uuids { uuid.appendBytes(to: &self) }
    }

    /// At most 254 bytes, which the caller has checked (a Sign has 64).
    mutating func append(shortText text: String?) {
        guard let text else { return append(255) }
        precondition(text.utf8.count < 255, "a short text has at most 254 bytes")
        append(UInt8(text.utf8.count))
        append(contentsOf: text.utf8)
    }
}
