/// The first bytes of a frame that have arrived: two, then the extended length, then the mask.
struct PartialHeader: Sendable {
    private(set) var bytes = InlineArray<14, UInt8>(repeating: 0)
    private(set) var count = 0
    private(set) var violation: CloseCode?

    init() {}

    init(_ some: some Sequence<UInt8>) {
        for byte in some.prefix(14) { append(byte) }
    }

    /// Takes bytes from the chunk's front; true when the header is complete or invalid.
    mutating func take(
        from chunk: inout UnsafeMutableRawBufferPointer, check: (UInt8, UInt8) -> CloseCode?
    ) -> Bool {
        var used = 0
        defer { chunk = UnsafeMutableRawBufferPointer(rebasing: chunk[used...]) }
        while count < needed {
            guard used < chunk.count else { return false }
            append(chunk[used])
            used += 1
            if count == 2 { violation = check(bytes[0], bytes[1]) }
            if violation != nil { return true }
        }
        if !isMinimal { violation = .protocolError }
        return true
    }

    private mutating func append(_ byte: UInt8) {
        bytes[count] = byte
        count += 1
    }

    private var lengthBytes: Int {
        switch bytes[1] & 0x7F {
        case 126: 2
        case 127: 8
        default: 0
        }
    }

    private var needed: Int { count < 2 ? 2 : 2 + lengthBytes + 4 }

    private var length: UInt64 {
        guard lengthBytes > 0 else { return UInt64(bytes[1] & 0x7F) }
        var value: UInt64 = 0
        for at in 2..<2 + lengthBytes { value = value << 8 | UInt64(bytes[at]) }
        return value
    }

    /// RFC 6455 5.2: the shortest form, and the highest bit of a 64-bit length is zero.
    private var isMinimal: Bool {
        switch lengthBytes {
        case 2: length >= 126
        case 8: length > 0xFFFF && length <= UInt64(Int64.max)
        default: true
        }
    }

    /// The fields of a complete header without a `violation`.
    var frame: FrameParser.Frame {
        let at = 2 + lengthBytes
        var mask: UInt32 = 0
        withUnsafeMutableBytes(of: &mask) { raw in for i in 0..<4 { raw[i] = bytes[at + i] } }
        return .init(
            opcode: Opcode(rawValue: bytes[0] & 0x0F)!, isFinal: bytes[0] & 0x80 != 0,
            isCompressed: bytes[0] & 0x40 != 0, length: Int(length), read: 0,
            mask: mask)
    }
}
