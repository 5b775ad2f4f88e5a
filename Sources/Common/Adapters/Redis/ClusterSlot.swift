import ChatCore

/// The hash slots of a Redis Cluster.
enum ClusterSlot {
    static let count = 16_384

    /// The slot of a key or of a channel: CRC16 (XMODEM) of its hash tag, the part between the first `{` and the next
    /// `}` if that is not empty, or else of all of it.
    static func of(_ name: some Collection<UInt8>) -> Int {
        guard let open = name.firstIndex(of: UInt8(ascii: "{")) else { return Int(crc16(name)) % count }
        let tag = name[name.index(after: open)...]
        guard let close = tag.firstIndex(of: UInt8(ascii: "}")), close > tag.startIndex else {
            return Int(crc16(name)) % count
        }
        return Int(crc16(tag[..<close])) % count
    }

    static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
        bytes.reduce(0) { $0 << 8 ^ table[Int(UInt8($0 >> 8) ^ $1)] }
    }

    /// Polynomial 0x1021, as Redis computes it.
    private static let table: [UInt16] = (0..<256).map { byte in
        (0..<8).reduce(UInt16(byte) << 8) { crc, _ in crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021 }
    }
}
