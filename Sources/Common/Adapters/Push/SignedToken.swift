import ChatCore
import Crypto

/// A JWT with ES256 (RFC 7515, 7518), by which a sender authenticates to push services.
enum SignedToken {
    struct Problem: Error {}

    /// - Parameters:
    ///   - head, claims: JSON objects.
    static func make(head: [UInt8], claims: [UInt8], _ key: P256.Signing.PrivateKey) throws(Problem) -> String {
        let signed = base64URL(head) + [UInt8(ascii: ".")] + base64URL(claims)
        do {
            let signature = Array(try key.signature(for: signed).rawRepresentation)
            return String(decoding: signed + [UInt8(ascii: ".")] + base64URL(signature), as: UTF8.self)
        } catch { throw Problem() }
    }
}
