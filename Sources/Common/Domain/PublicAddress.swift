/// Whether an address is public: not this machine, and not a private, shared, link-local, reserved or multicast network
/// (RFC 6890, RFC 4193, RFC 4291). An operator's host names may lead elsewhere only if a setting allows it.
public enum PublicAddress {
    /// Network and prefix length.
    private static let reserved4: [(UInt32, UInt32)] = [
        (0x0000_0000, 8), (0x0A00_0000, 8), (0x6440_0000, 10), (0x7F00_0000, 8), (0xA9FE_0000, 16), (0xAC10_0000, 12),
        (0xC000_0000, 24), (0xC000_0200, 24), (0xC0A8_0000, 16), (0xC612_0000, 15), (0xC633_6400, 24),
        (0xCB00_7100, 24), (0xE000_0000, 3),
    ]

    public static func is4(_ address: UInt32) -> Bool {
        !reserved4.contains { network, length in (address ^ network) >> (32 - length) == 0 }
    }

    /// - Parameter bytes: exactly 16.
    public static func is6(_ bytes: [UInt8]) -> Bool {
        guard bytes.count == 16 else { return false }
        let last = bytes[12...].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        // IPv4 inside an IPv6 address: mapped, and NAT64.
        if bytes[..<10].allSatisfy({ $0 == 0 }), bytes[10] == 0xFF, bytes[11] == 0xFF { return is4(last) }
        if bytes.starts(with: [0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0]) { return is4(last) }
        // All other allocated addresses begin with 001; of these, 2001:db8::/32 is for documentation.
        return bytes[0] >> 5 == 1 && !bytes.starts(with: [0x20, 0x01, 0x0D, 0xB8]) && !bytes.starts(with: [0x20, 0x02])
    }
}
