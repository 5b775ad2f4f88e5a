import Crypto

/// The pair of P-256 keys, in base64url, by which push services identify this installation (RFC 8292). Browsers get the
/// public key and accept only pushes that are signed with the private key.
public struct VAPIDKeys: Sendable {
    public struct Problem: Error, Sendable {
        public let setting: String
        public let text: String
    }

    /// 32 bytes, a secret.
    public let privateBytes: [UInt8]
    /// The uncompressed point, 65 bytes.
    public let publicBytes: [UInt8]

    /// A new pair.
    public init() {
        let key = P256.Signing.PrivateKey()
        privateBytes = Array(key.rawRepresentation)
        publicBytes = Array(key.publicKey.x963Representation)
    }

    public init(private secret: String, public shown: String) throws(Problem) {
        guard let bytes = base64URLDecoded(secret.utf8), bytes.count == 32 else {
            throw Problem(setting: "VAPID_PRIVATE_KEY", text: "is not 32 bytes as base64url without padding")
        }
        guard let point = base64URLDecoded(shown.utf8), point.count == 65, point[0] == 4 else {
            throw Problem(
                setting: "VAPID_PUBLIC_KEY",
                text: "is not the 65 bytes of an uncompressed point as base64url without padding")
        }
        guard let key = try? P256.Signing.PrivateKey(rawRepresentation: bytes) else {
            throw Problem(setting: "VAPID_PRIVATE_KEY", text: "is no private key of P-256")
        }
        guard Array(key.publicKey.x963Representation) == point else {
            throw Problem(setting: "VAPID_PUBLIC_KEY", text: "is not the public key of VAPID_PRIVATE_KEY")
        }
        (privateBytes, publicBytes) = (bytes, point)
    }

    public var privateText: String { String(decoding: base64URL(privateBytes), as: UTF8.self) }
    public var publicText: String { String(decoding: base64URL(publicBytes), as: UTF8.self) }
}
