import ChatCore
import Crypto

/// RFC 8291: a message for one subscription, in the content coding `aes128gcm` (RFC 8188) as one record.
enum WebPushEncryption {
    /// Bytes of the record: the whole body except its header of 86 bytes.
    private static let recordSize = 4096
    /// Bytes of plain text: push services take bodies of 4,096 bytes, with the header, a delimiter and a tag of 16.
    static let maxBytes = recordSize - 86 - 1 - 16

    struct Problem: Error {}

    static func encrypt(_ text: [UInt8], for device: PushDevice) throws(Problem) -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        return try encrypt(
            text, to: device.publicKey, secret: device.secret, with: P256.KeyAgreement.PrivateKey(), salt: salt)
    }

    /// - Parameters:
    ///   - receiver: `p256dh`; `secret`: `auth`.
    ///   - key: only for this message, like the salt.
    static func encrypt(
        _ text: [UInt8], to receiver: [UInt8], secret: [UInt8], with key: P256.KeyAgreement.PrivateKey, salt: [UInt8]
    ) throws(Problem) -> [UInt8] {
        let sender = Array(key.publicKey.x963Representation)
        do {
            let point = try P256.KeyAgreement.PublicKey(x963Representation: receiver)
            let shared = try key.sharedSecretFromKeyAgreement(with: point)
            let input = shared.hkdfDerivedSymmetricKey(
                using: SHA256.self, salt: secret, sharedInfo: Array("WebPush: info\0".utf8) + receiver + sender,
                outputByteCount: 32)
            let content = derived(input, salt, "Content-Encoding: aes128gcm\0", 16)
            let nonce = derived(input, salt, "Content-Encoding: nonce\0", 12).withUnsafeBytes { Array($0) }
            // 2: the delimiter of the last record.
            let box = try AES.GCM.seal(text + [2], using: content, nonce: AES.GCM.Nonce(data: nonce))
            let size = UInt32(recordSize)
            let header = salt + (0..<4).map { UInt8(truncatingIfNeeded: size >> (24 - 8 * $0)) } + [UInt8(sender.count)]
            return header + sender + Array(box.ciphertext) + Array(box.tag)
        } catch { throw Problem() }
    }

    private static func derived(_ input: SymmetricKey, _ salt: [UInt8], _ info: String, _ count: Int) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: input, salt: salt, info: Array(info.utf8), outputByteCount: count)
    }
}

/// Keys of a subscription, as a browser gives them.
public enum SubscriptionKeys {
    /// Nil: not base64url of a point of P-256 in its uncompressed form.
    public static func publicKey(_ text: String) -> [UInt8]? {
        guard let bytes = base64URLDecoded(text.utf8), bytes.count == 65,
            (try? P256.KeyAgreement.PublicKey(x963Representation: bytes)) != nil
        else { return nil }
        return bytes
    }

    /// Nil: not base64url of 16 bytes.
    public static func secret(_ text: String) -> [UInt8]? {
        base64URLDecoded(text.utf8).flatMap { $0.count == 16 ? $0 : nil }
    }
}
