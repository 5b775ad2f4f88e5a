/// Addresses to which a browser may be led.
public enum WebAddress {
    /// Bytes.
    public static let longest = 2048

    /// `http` or `https`, a host, a port perhaps, and what follows, in ASCII. A user and a password are refused: they would
    /// be shown to every member, and browsers take what stands before an `@` for the host that it is not.
    public static func isLink(_ text: String) -> Bool {
        let bytes = text.utf8
        guard bytes.count <= longest,
            bytes.allSatisfy(isURLByte),
            let scheme = ["https://", "http://"].first(where: { bytes.starts(with: $0.utf8) })
        else { return false }
        let authority = Array(bytes.dropFirst(scheme.utf8.count).prefix { !"/?#".utf8.contains($0) })
        let colon = UInt8(ascii: ":")
        if authority.first == UInt8(ascii: "[") {
            guard let end = authority.firstIndex(of: UInt8(ascii: "]")) else { return false }
            let (host, rest) = (authority[1..<end], authority[(end + 1)...])
            return host.contains(colon) && host.allSatisfy { isHex($0) || $0 == colon || $0 == UInt8(ascii: ".") }
                && (rest.isEmpty || rest.first == colon && isPort(rest.dropFirst()))
        }
        let host = authority.prefix { $0 != colon }
        let port = authority.dropFirst(host.count)
        return !host.isEmpty && host.allSatisfy { isHostByte($0) } && (port.isEmpty || isPort(port.dropFirst()))
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        (0x61...0x7a).contains(byte | 0x20) || (0x30...0x39).contains(byte) || "-._".utf8.contains(byte)
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x61...0x66).contains(byte | 0x20) || (0x30...0x39).contains(byte)
    }
}
