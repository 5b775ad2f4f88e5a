public import ChatCore
import Crypto

/// Signed links to stored files, valid for a limited time for anyone who has them (the presigned URLs of a local
/// store).
public struct FileLinks: Sendable {
    /// The object that a link leads to, and how a browser should handle it.
    public struct Target: Sendable, Equatable {
        public var key: String
        public var name: String
        public var contentType: String
        public var asAttachment: Bool

        public init(key: String, name: String, contentType: String, asAttachment: Bool) {
            self.key = key
            self.name = name
            self.contentType = contentType
            self.asAttachment = asAttachment
        }

        public var disposition: String { contentDisposition(name, asAttachment: asAttachment) }
    }

    private let base: String
    private let key: SymmetricKey
    private let clock: Clock

    /// - Parameters:
    ///   - base: the part before `/files/stored/…`.
    ///   - secret: at least 32 bytes; its own key is derived from it.
    public init(base: String, secret: String, clock: @escaping Clock = systemClock) {
        self.base = base
        let code = HMAC<SHA256>.authenticationCode(
            for: Array("links to files".utf8), using: SymmetricKey(data: Array(secret.utf8)))
        key = SymmetricKey(data: Array(code))
        self.clock = clock
    }

    func link(to key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int) -> String {
        let target = Target(key: key, name: name, contentType: contentType, asAttachment: asAttachment)
        let end = "\(clock() / 1000 + Int64(seconds))"
        let query = [("name", name), ("type", contentType), ("attachment", asAttachment ? "1" : "0"), ("expires", end)]
        let text = query.map { "\($0.0)=\(uriEncoded($0.1))" }.joined(separator: "&")
        return "\(base)/files/stored/\(key)?\(text)&signature=\(hex(code(target, end)))"
    }

    /// - Parameter value: looks up a name in the link's query.
    /// - Returns: nil when the link was changed or has expired.
    public func target(of key: String, _ value: (String) -> String?) -> Target? {
        guard let end = value("expires"), let seconds = Int64(end), seconds > clock() / 1000,
            let signature = value("signature"), let bytes = hexDecoded(signature)
        else { return nil }
        let target = Target(
            key: key, name: value("name") ?? "", contentType: value("type") ?? "",
            asAttachment: value("attachment") == "1")
        let isRight = HMAC<SHA256>.isValidAuthenticationCode(
            bytes, authenticating: signed(target, end), using: self.key)
        return isRight ? target : nil
    }

    private func code(_ target: Target, _ end: String) -> HMAC<SHA256>.MAC {
        HMAC<SHA256>.authenticationCode(for: signed(target, end), using: key)
    }

    /// Each text follows its length, so that two targets never give the same bytes.
    private func signed(_ target: Target, _ end: String) -> [UInt8] {
        let texts = [target.key, target.name, target.contentType, target.asAttachment ? "1" : "0", end]
        return Array(texts.map { "\($0.utf8.count):\($0)" }.joined().utf8)
    }

    private func hexDecoded(_ text: String) -> [UInt8]? {
        let digits = text.compactMap { $0.hexDigitValue }
        guard digits.count == 64, text.utf8.count == 64 else { return nil }
        return stride(from: 0, to: 64, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}

/// The `Content-Disposition` header of a file (RFC 6266, appendix D): the name in ASCII for old programs, then in
/// UTF-8.
public func contentDisposition(_ name: String, asAttachment: Bool) -> String {
    var plain = ""
    for scalar in name.unicodeScalars {
        let isPlain = (0x20...0x7e).contains(scalar.value) && !["\"", "\\", "%", "/"].contains(scalar)
        plain.unicodeScalars.append(isPlain ? scalar : "_")
    }
    let kind = asAttachment ? "attachment" : "inline"
    return "\(kind); filename=\"\(plain)\"; filename*=UTF-8''\(uriEncoded(name))"
}
