import ChatCore

/// A JWS in its compact form (RFC 7515, 7.1). Only one spelling of each token is accepted: three parts of base64url
/// without padding or unused bits; header and claims are JSON objects without duplicate names (RFC 7519, 4).
struct CompactToken {
    let header: WireValue
    let claims: WireValue
    /// The header's `kid`; nil when absent.
    let keyID: String?
    let algorithm: String

    /// Nil when this is not such a token, or needs an extension that is not supported.
    init?(_ token: String) {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Self.object(parts[0]), let claims = Self.object(parts[1]),
            let signature = base64URLDecoded(parts[2]), !signature.isEmpty, let algorithm = header["alg"]?.string
        else { return nil }
        // RFC 7515, 4.1.11: an extension that must be understood, but is not supported.
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
