public import ChatCore
import Crypto
import Glibc

/// Any S3-compatible store.
public final class S3ObjectStore: ObjectStore {
    /// Tries of one request; pauses between them are drawn at random up to a growing bound.
    private static let attempts = 4
    private let settings: StorageSettings
    private let client: HTTPClient
    private let clock: Clock

    public init(_ settings: StorageSettings, clock: @escaping Clock = systemClock) {
        self.settings = settings
        self.clock = clock
        client = HTTPClient(
            accessKey: settings.accessKey, secretKey: settings.secretKey, scope: "aws:amz:\(settings.region):s3")
    }

    public func beginUpload(of key: String, contentType: String) throws(StoreError) -> String {
        let answer = try send(
            "POST", key, query: "uploads=", headers: ["Content-Type: \(contentType)"], body: .bytes([]))
        guard let upload = element("UploadId", in: answer.body) else {
            throw StoreError("S3: an upload without an id", isTransient: true)
        }
        return upload
    }

    public func storePart(
        _ number: Int, of key: String, upload: String, from part: FilePart
    ) throws(StoreError) -> String {
        let query = "partNumber=\(number)&uploadId=\(encoded(upload))"
        let answer = try send("PUT", key, query: query, headers: [Self.unsigned], body: .file(part), timeout: 120_000)
        guard let etag = answer.etag, !etag.isEmpty else {
            throw StoreError("S3: a part without an ETag", isTransient: true)
        }
        return etag
    }

    public func completeUpload(of key: String, upload: String, parts: [StoredPart]) throws(StoreError) {
        var xml = "<CompleteMultipartUpload>"
        for part in parts.sorted(by: { $0.number < $1.number }) {
            xml += "<Part><PartNumber>\(part.number)</PartNumber><ETag>\"\(part.etag)\"</ETag></Part>"
        }
        xml += "</CompleteMultipartUpload>"
        let answer = try send(
            "POST", key, query: "uploadId=\(encoded(upload))", body: .bytes(Array(xml.utf8)), timeout: 120_000)
        // S3 may begin its answer with 200 before it knows.
        if let code = element("Code", in: answer.body) {
            throw StoreError("S3: \(code)", isTransient: code == "InternalError", isMissing: code == "NoSuchUpload")
        }
    }

    public func abortUpload(of key: String, upload: String) throws(StoreError) {
        _ = try send("DELETE", key, query: "uploadId=\(encoded(upload))", missingIsFine: true)
    }

    public func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart] {
        var parts: [Int: (part: StoredPart, storedAt: String)] = [:]
        var marker = 0
        // 10,000 parts are S3's own bound; a page has 1,000.
        for _ in 0..<11 {
            let answer = try send(
                "GET", key, query: "max-parts=1000&part-number-marker=\(marker)&uploadId=\(encoded(upload))")
            let text = String(decoding: answer.body, as: UTF8.self)
            for part in elements("Part", in: text) {
                guard let number = element("PartNumber", in: part).flatMap({ Int($0) }),
                    let etag = element("ETag", in: part)
                else { continue }
                let size = element("Size", in: part).flatMap { Int64($0) } ?? 0
                let storedAt = element("LastModified", in: part) ?? ""
                marker = max(marker, number)
                // SeaweedFS lists a part that was replaced beside the one that replaced it.
                if let known = parts[number], known.storedAt >= storedAt { continue }
                parts[number] = (StoredPart(number: number, etag: unquoted(etag), size: size), storedAt)
            }
            guard element("IsTruncated", in: text) == "true" else { break }
        }
        return parts.values.map { $0.part }.sorted { $0.number < $1.number }
    }

    public func size(of key: String) throws(StoreError) -> Int64? {
        let answer = try send("HEAD", key, missingIsFine: true)
        return answer.status == 200 ? answer.contentLength ?? 0 : nil
    }

    public func delete(_ key: String) throws(StoreError) { _ = try send("DELETE", key, missingIsFine: true) }

    public func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String {
        let disposition = "\(asAttachment ? "attachment" : "inline"); filename*=UTF-8''\(encoded(name))"
        return presigned(
            key, seconds: seconds,
            query: [
                ("response-cache-control", "private, max-age=\(seconds)"),
                ("response-content-disposition", disposition),
                ("response-content-type", contentType),
            ])
    }

    // MARK: Requests

    private static let unsigned = "x-amz-content-sha256: UNSIGNED-PAYLOAD"

    private var base: String { "\(settings.endpoint)/\(settings.bucket)" }

    private func send(
        _ method: String, _ key: String, query: String = "", headers: [String] = [], body: HTTPTransfer.Body = .none,
        timeout: Int = 30_000, missingIsFine: Bool = false
    ) throws(StoreError) -> HTTPTransfer.Answer {
        var request = HTTPTransfer(method: method, url: "\(base)/\(key)\(query.isEmpty ? "" : "?\(query)")")
        request.headers = headers
        switch body {
        case .none: request.headers.append("x-amz-content-sha256: \(hex(SHA256.hash(data: [UInt8]())))")
        case .bytes(let bytes): request.headers.append("x-amz-content-sha256: \(hex(SHA256.hash(data: bytes)))")
        case .file: break
        }
        request.body = body
        request.timeout = timeout
        var last = StoreError("S3: not tried", isTransient: true)
        for attempt in 0..<Self.attempts {
            if attempt > 0 { usleep(useconds_t.random(in: 0...UInt32(100_000 << (attempt - 1)))) }
            let answer: HTTPTransfer.Answer
            do throws(HTTPTransfer.Failure) { answer = try client.send(request) } catch {
                last = StoreError("S3: \(error.description)", isTransient: true)
                continue
            }
            if (200..<300).contains(answer.status) || missingIsFine && answer.status == 404 { return answer }
            last = error(answer)
            guard last.isTransient else { throw last }
        }
        throw last
    }

    private func error(_ answer: HTTPTransfer.Answer) -> StoreError {
        let code = element("Code", in: answer.body) ?? "HTTP \(answer.status)"
        return StoreError(
            "S3: \(code)", isTransient: answer.status >= 500 || answer.status == 429 || answer.status == 408,
            isMissing: code == "NoSuchUpload" || code == "NoSuchKey")
    }

    // MARK: Links

    /// AWS Signature Version 4 in the query, which libcurl does not make.
    private func presigned(_ key: String, seconds: Int, query: [(String, String)]) -> String {
        var stampBytes: [UInt8] = []
        appendTimestamp(clock(), to: &stampBytes)
        let digits = String(decoding: stampBytes, as: UTF8.self).filter { $0 != "-" && $0 != ":" }
        let stamp = digits.prefix(15) + "Z"
        let scope = "\(stamp.prefix(8))/\(settings.region)/s3/aws4_request"
        let all =
            [
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "\(settings.accessKey)/\(scope)"),
                ("X-Amz-Date", String(stamp)), ("X-Amz-Expires", "\(seconds)"), ("X-Amz-SignedHeaders", "host"),
            ] + query
        let canonicalQuery = all.map { "\(encoded($0.0))=\(encoded($0.1))" }.sorted().joined(separator: "&")
        let rest = settings.endpoint.drop { $0 != "/" }.dropFirst(2)
        let host = rest.prefix { $0 != "/" }
        let path = "\(rest.drop { $0 != "/" })/\(settings.bucket)/\(key)"
        let canonical = "GET\n\(path)\n\(canonicalQuery)\nhost:\(host)\n\nhost\nUNSIGNED-PAYLOAD"
        let toSign = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(hex(SHA256.hash(data: Array(canonical.utf8))))"
        var signing = Array("AWS4\(settings.secretKey)".utf8)
        for part in [String(stamp.prefix(8)), settings.region, "s3", "aws4_request"] { signing = mac(part, signing) }
        return "\(base)/\(key)?\(canonicalQuery)&X-Amz-Signature=\(hex(mac(toSign, signing)))"
    }

    private func mac(_ text: String, _ key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: key)))
    }
}

// MARK: Text

/// Percent-encodes all but RFC 3986's unreserved characters, as the signature wants it.
private func encoded(_ text: String) -> String {
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

private func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
}

/// The text of the first element of that name; S3's answers are flat enough for that.
private func element(_ name: String, in bytes: [UInt8]) -> String? {
    element(name, in: String(decoding: bytes, as: UTF8.self))
}

private func element(_ name: String, in text: String) -> String? { elements(name, in: text).first }

private func elements(_ name: String, in text: String) -> [String] {
    var found: [String] = []
    var rest = text[...]
    while let start = rest.firstRange(of: "<\(name)>"), let end = rest[start.upperBound...].firstRange(of: "</\(name)>")
    {
        found.append(String(rest[start.upperBound..<end.lowerBound]))
        rest = rest[end.upperBound...]
    }
    return found
}

/// The quotes around an ETag come as themselves or as one of XML's names for them.
private func unquoted(_ etag: String) -> String {
    ["&quot;", "&#34;", "&#x22;", "\""].reduce(etag) { $0.replacing($1, with: "") }
}
