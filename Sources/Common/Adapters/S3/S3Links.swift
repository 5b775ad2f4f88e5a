import ChatCore
import Crypto

/// Links that are good for a while for whoever has them: AWS Signature Version 4 in the query, which libcurl does not make.
struct S3Links {
    let settings: StorageSettings
    let address: S3Address
    let clock: Clock

    /// - Parameter headers: names in lower case; a request that does not send exactly these is refused by the store.
    func link(
        _ method: String, _ key: String, seconds: Int, query: [(String, String)] = [],
        headers: [(name: String, value: String)] = []
    ) -> String {
        let stamp = stamp()
        let scope = "\(stamp.prefix(8))/\(settings.region)/s3/aws4_request"
        let signed = (headers + [("host", address.host)]).sorted { $0.name < $1.name }
        let names = signed.map(\.name).joined(separator: ";")
        var all = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "\(settings.accessKey)/\(scope)"),
            ("X-Amz-Date", stamp), ("X-Amz-Expires", "\(seconds)"), ("X-Amz-SignedHeaders", names),
        ]
        if let token = settings.sessionToken { all.append(("X-Amz-Security-Token", token)) }
        let canonicalQuery = (all + query).map { "\(uriEncoded($0.0))=\(uriEncoded($0.1))" }.sorted()
            .joined(separator: "&")
        let lines = signed.map { "\($0.name):\($0.value)\n" }.joined()
        let canonical = "\(method)\n\(address.path(of: key))\n\(canonicalQuery)\n\(lines)\n\(names)\nUNSIGNED-PAYLOAD"
        let toSign = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(hex(SHA256.hash(data: Array(canonical.utf8))))"
        let signature = hex(mac(toSign, signingKey(day: String(stamp.prefix(8)))))
        return address.url(of: key, query: "\(canonicalQuery)&X-Amz-Signature=\(signature)")
    }

    /// `20260131T235959Z`.
    private func stamp() -> String {
        var bytes: [UInt8] = []
        appendTimestamp(clock(), to: &bytes)
        return String(decoding: bytes, as: UTF8.self).filter { $0 != "-" && $0 != ":" }.prefix(15) + "Z"
    }

    private func signingKey(day: String) -> [UInt8] {
        [day, settings.region, "s3", "aws4_request"].reduce(Array("AWS4\(settings.secretKey)".utf8)) { mac($1, $0) }
    }

    private func mac(_ text: String, _ key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, as the signature wants it.
func uriEncoded(_ text: String) -> String {
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

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
}
