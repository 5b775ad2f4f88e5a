/// RFC 4648, with padding.
func base64(_ bytes: [UInt8]) -> String {
    let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
        let group = bytes[start..<min(start + 3, bytes.count)]
        let bits = group.reduce(0) { $0 << 8 | Int($1) } << ((3 - group.count) * 8)
        for place in 0..<4 {
            text.append(place <= group.count ? alphabet[bits >> ((3 - place) * 6) & 63] : UInt8(ascii: "="))
        }
    }
    return String(decoding: text, as: UTF8.self)
}

/// Nil when the text is not RFC 4648 with padding.
func base64Decoded(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    var (bits, count, padding) = (UInt32(0), 0, 0)
    guard text.utf8.count % 4 == 0 else { return nil }
    for byte in text.utf8 {
        let value: UInt32
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(byte) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(byte) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(byte) + 4
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        case UInt8(ascii: "="):
            padding += 1
            continue
        default: return nil
        }
        guard padding == 0 else { return nil }
        (bits, count) = (bits << 6 | value, count + 6)
        guard count >= 8 else { continue }
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
    }
    return padding <= 2 ? bytes : nil
}
