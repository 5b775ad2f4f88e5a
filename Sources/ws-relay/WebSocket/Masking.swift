/// The XOR mask that RFC 6455, 5.3 applies to every byte from a client.
enum Masking {
    /// Unmasks in place. `key` is the four mask bytes in memory order; `offset` is the number of bytes of this frame
    /// before these, because a frame may arrive in pieces.
    static func unmask(_ bytes: UnsafeMutableRawBufferPointer, key: UInt32, offset: Int) {
        guard let base = bytes.baseAddress else { return }
        let turned = rotate(key, by: offset)
        let wide = UInt64(turned) << 32 | UInt64(turned)
        var at = 0
        while at &+ 8 <= bytes.count {
            let word = base.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            base.storeBytes(of: word ^ wide, toByteOffset: at, as: UInt64.self)
            at &+= 8
        }
        var rest = turned.littleEndian
        while at < bytes.count {
            let byte = base.load(fromByteOffset: at, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest)
            base.storeBytes(of: byte, toByteOffset: at, as: UInt8.self)
            rest = rest >> 8 | rest << 24
            at &+= 1
        }
    }

    /// The key for a piece that begins `offset` bytes into the frame.
    private static func rotate(_ key: UInt32, by offset: Int) -> UInt32 {
        let bits = UInt32(offset & 3) * 8
        guard bits > 0 else { return key }
        let little = key.littleEndian
        return UInt32(littleEndian: little >> bits | little << (32 - bits))
    }
}
