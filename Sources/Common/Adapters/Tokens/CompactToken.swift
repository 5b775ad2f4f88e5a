import ChatCore

/// A JWS in its compact form (RFC 7515, 7.1), read so that there is one spelling of each: three parts of base64url without
/// padding and without bits that mean nothing, header and claims JSON objects in which no name stands twice (RFC 7519, 4).
struct CompactToken {
    let header: WireValue
    let claims: WireValue
    /// Of what it says in its header; nil: it says nothing.
    let keyID: String?
    let algorithm: String

    /// Nil for what is no such token, or asks for what is not known here.
    init?(_ token: String) {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.object(parts[0]), let claims = Self.object(parts[1]),
            let signature = base64URLDecoded(parts[2]), !signature.isEmpty, let algorithm = header["alg"]?.string
        else { return nil }
        // RFC 7515, 4.1.11: an extension that must be understood, and is not.
        guard header["crit"] == nil, header["kid"] == nil || header["kid"]?.string != nil else { return nil }
        (self.header, self.claims, self.algorithm, keyID) = (header, claims, algorithm, header["kid"]?.string)
    }

    private static func object(_ part: Substring.UTF8View) -> WireValue? {
        guard let bytes = base64URLDecoded(part), let value = try? JSONReader.decode(bytes), case .map = value else {
            return nil
        }
        return value
    }
}

/// What is in no other spelling the same: no padding, no other characters, and the bits behind the last byte are zero.
func base64URLDecoded(_ text: some Sequence<UInt8>) -> [UInt8]? {
    var bits: UInt32 = 0
    var count: UInt32 = 0
    var bytes: [UInt8] = []
    for character in text {
        let value: UInt8
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): value = 62
        case UInt8(ascii: "_"): value = 63
        default: return nil
        }
        bits = (bits << 6 | UInt32(value)) & 0xffff
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> count))
        }
    }
    // A single character behind the last group is no byte.
    guard count < 6, bits & (1 << count - 1) == 0 else { return nil }
    return bytes
}
