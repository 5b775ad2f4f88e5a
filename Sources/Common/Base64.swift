/// RFC 4648, 4: with padding. (Foundation would cost 5 MiB per process.)
public func base64(_ bytes: some Collection<UInt8>) -> String {
    let text = letters(of: bytes, plain)
    let padding = Array(repeating: UInt8(ascii: "="), count: (4 - text.count % 4) % 4)
    return String(decoding: text + padding, as: UTF8.self)
}

/// Nil when the text is not RFC 4648, 4, with padding.
public func base64Decoded(_ text: some StringProtocol) -> [UInt8]? {
    var letters = Array(text.utf8)[...]
    guard letters.count % 4 == 0 else { return nil }
    for _ in 0..<2 where letters.last == UInt8(ascii: "=") { letters.removeLast() }
    return decoded(letters, plain)?.bytes
}

/// RFC 4648, 5: without padding.
public func base64URL(_ bytes: some Collection<UInt8>) -> [UInt8] { letters(of: bytes, url) }

/// Accepts exactly one spelling: no padding, no other characters, and zero bits after the last byte.
public func base64URLDecoded(_ text: some Sequence<UInt8>) -> [UInt8]? {
    guard let (bytes, rest) = decoded(text, url), rest.count < 6, rest.bits == 0 else { return nil }
    return bytes
}

private let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".utf8)
/// The two letters that the alphabets do not share.
private typealias LastLetters = (UInt8, UInt8)
private let plain: LastLetters = (UInt8(ascii: "+"), UInt8(ascii: "/"))
private let url: LastLetters = (UInt8(ascii: "-"), UInt8(ascii: "_"))

private func letters(of bytes: some Collection<UInt8>, _ last: LastLetters) -> [UInt8] {
    func letter(_ value: UInt32) -> UInt8 { value < 62 ? alphabet[Int(value)] : value == 62 ? last.0 : last.1 }
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 4 / 3 + 4)
    var (bits, count): (UInt32, UInt32) = (0, 0)
    for byte in bytes {
        bits = bits << 8 | UInt32(byte)
        count += 8
        while count >= 6 {
            count -= 6
            text.append(letter(bits >> count & 63))
        }
        bits &= 63
    }
    if count > 0 { text.append(letter(bits << (6 - count) & 63)) }
    return text
}

/// - Returns: nil if a letter is not in the alphabet. `rest`: the bits after the last byte.
private func decoded(
    _ text: some Sequence<UInt8>, _ last: LastLetters
) -> (bytes: [UInt8], rest: (bits: UInt32, count: UInt32))? {
    var bytes: [UInt8] = []
    var (bits, count): (UInt32, UInt32) = (0, 0)
    for letter in text {
        let value: UInt32
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(letter) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(letter) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(letter) + 4
        case last.0: value = 62
        case last.1: value = 63
        default: return nil
        }
        bits = bits << 6 | value
        count += 6
        guard count >= 8 else { continue }
        count -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> count))
        bits &= 1 << count - 1
    }
    return (bytes, (bits, count))
}
