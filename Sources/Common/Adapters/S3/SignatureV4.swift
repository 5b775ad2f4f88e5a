import ChatCore
import Crypto

/// AWS Signature Version 4. libcurl signs our own requests; presigned URLs are sent by somebody else and need this.
struct SignatureV4 {
    let secretKey: String
    let region: String
    var service = "s3"
    /// `20260131T235959Z`.
    let stamp: String

    var scope: String { "\(stamp.prefix(8))/\(region)/\(service)/aws4_request" }

    /// The signature in hexadecimal.
    ///
    /// - Parameters:
    ///   - query: not yet percent-encoded.
    ///   - headers: all signed headers; names in lower case.
    ///   - payload: the text that stands for the body, such as its SHA-256.
    func signature(
        _ method: String, _ path: String, query: [(String, String)], headers: [(name: String, value: String)],
        payload: String
    ) -> String {
        let lines = headers.sorted { $0.name < $1.name }.map { "\($0.name):\($0.value)\n" }.joined()
        let canonical = [method, path, Self.canonical(query), lines, Self.names(headers), payload].joined(
            separator: "\n")
        let toSign = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(hex(SHA256.hash(data: Array(canonical.utf8))))"
        return hex(mac(toSign, signingKey))
    }

    /// `SignedHeaders`.
    static func names(_ headers: [(name: String, value: String)]) -> String {
        headers.map(\.name).sorted().joined(separator: ";")
    }

    static func canonical(_ query: [(String, String)]) -> String {
        query.map { (uriEncoded($0.0), uriEncoded($0.1)) }.sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(
            separator: "&")
    }

    private var signingKey: [UInt8] {
        [String(stamp.prefix(8)), region, service, "aws4_request"].reduce(Array("AWS4\(secretKey)".utf8)) {
            mac($1, $0)
        }
    }

    private func mac(_ text: String, _ key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters, as the signature requires.
public func uriEncoded(_ text: String) -> String {
    var result = ""
    for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            result.unicodeScalars.append(Unicode.Scalar(byte))
        default: result += "%" + hex([byte]).uppercased()
        }
    }
    return result
}
