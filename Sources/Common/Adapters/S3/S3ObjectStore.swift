public import ChatCore
import Crypto
import Glibc

/// An object store over any S3-compatible service.
public final class S3ObjectStore: ObjectStore {
    /// Attempts per request; the pauses between them are random, up to a growing limit.
    private static let attempts = 4
    /// A request is not tried again after this time.
    private static let totalTimeout = Duration.seconds(40)
    private let settings: StorageSettings
    private let address: S3Address
    private let links: S3Links
    private let client: HTTPClient

    public init(_ settings: StorageSettings, clock: @escaping Clock = systemClock) {
        self.settings = settings
        address = S3Address(settings)
        links = S3Links(settings: settings, address: address, clock: clock)
        client = HTTPClient(
            accessKey: settings.accessKey, secretKey: settings.secretKey, scope: "aws:amz:\(settings.region):s3",
            authorities: settings.authorities)
    }

    // MARK: The bucket

    /// False when the bucket does not exist or belongs to somebody else.
    public func hasBucket() throws(StoreError) -> Bool {
        try send("HEAD", address.url(query: ""), missingIsFine: true).status != 404
    }

    public func check() throws(StoreError) {
        _ = try send("HEAD", address.url(query: ""), timeout: .seconds(2), attempts: 1)
    }

    public func makeBucket() throws(StoreError) { _ = try send("PUT", address.url(query: ""), body: .bytes([])) }

    // MARK: Uploads in parts

    public func beginUpload(of key: String, contentType: String) throws(StoreError) -> String {
        let answer = try send(
            "POST", address.url(of: key, query: "uploads="), headers: ["Content-Type: \(contentType)"],
            body: .bytes([]))
        guard let upload = element("UploadId", in: answer.body) else {
            throw StoreError("S3: an upload without an id", isTransient: true)
        }
        return upload
    }

    public func storePart(
        _ number: Int, of key: String, upload: String, from part: FilePart
    ) throws(StoreError) -> String {
        let query = "partNumber=\(number)&uploadId=\(uriEncoded(upload))"
        let headers = part.toldMD5.map { ["Content-MD5: \($0)"] } ?? []
        let answer = try send(
            "PUT", address.url(of: key, query: query), headers: headers, body: .file(part), timeout: .seconds(60))
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
            "POST", address.url(of: key, query: "uploadId=\(uriEncoded(upload))"), body: .bytes(Array(xml.utf8)),
            timeout: .seconds(90))
        // S3 may send status 200 before it knows the result.
        if let code = element("Code", in: answer.body) {
            throw StoreError("S3: \(code)", isTransient: code == "InternalError", isMissing: code == "NoSuchUpload")
        }
    }

    public func abortUpload(of key: String, upload: String) throws(StoreError) {
        _ = try send("DELETE", address.url(of: key, query: "uploadId=\(uriEncoded(upload))"), missingIsFine: true)
    }

    public func parts(of key: String, upload: String) throws(StoreError) -> [StoredPart] {
        var list = S3PartList()
        // S3 allows 10,000 parts; a page has 1,000.
        for _ in 0..<11 {
            let query = "max-parts=1000&part-number-marker=\(list.marker)&uploadId=\(uriEncoded(upload))"
            guard list.add(page: try send("GET", address.url(of: key, query: query)).body) else { break }
        }
        return list.parts
    }

    public func pendingUploads() throws(StoreError) -> [PendingUpload] {
        PendingUpload.list(try send("GET", address.url(query: "max-uploads=1000&uploads=")).body)
    }

    // MARK: Whole objects

    public func size(of key: String) throws(StoreError) -> Int64? {
        let answer = try send("HEAD", address.url(of: key, query: ""), missingIsFine: true)
        return answer.status == 200 ? answer.contentLength ?? 0 : nil
    }

    public func put(_ key: String, contentType: String, from part: FilePart) throws(StoreError) {
        _ = try send(
            "PUT", address.url(of: key, query: ""), headers: ["Content-Type: \(contentType)"], body: .file(part),
            timeout: .seconds(60))
    }

    public func head(of key: String, bytes: Int) throws(StoreError) -> [UInt8] {
        try send("GET", address.url(of: key, query: ""), headers: ["Range: bytes=0-\(bytes - 1)"]).body
    }

    public func fetch(_ key: String, into descriptor: Int32, atMost most: Int64?) throws(StoreError) -> Int64 {
        let range = most.map { ["Range: bytes=0-\($0 - 1)"] } ?? []
        return try send(
            "GET", address.url(of: key, query: ""), headers: range, timeout: .seconds(300), sink: descriptor
        ).sunk
    }

    public func delete(_ key: String) throws(StoreError) {
        _ = try send("DELETE", address.url(of: key, query: ""), missingIsFine: true)
    }

    // MARK: Links

    public func downloadLink(
        for key: String, name: String, contentType: String, asAttachment: Bool, seconds: Int
    ) -> String {
        let disposition = contentDisposition(name, asAttachment: asAttachment)
        return links.link(
            "GET", key, seconds: seconds,
            query: [
                ("response-cache-control", "private, max-age=\(seconds)"),
                ("response-content-disposition", disposition),
                ("response-content-type", contentType),
            ])
    }

    public func partLink(
        _ number: Int, of key: String, upload: String, size: Int64, md5: String, seconds: Int
    ) -> PartLink? {
        let url = links.link(
            "PUT", key, seconds: seconds, query: [("partNumber", "\(number)"), ("uploadId", upload)],
            headers: [("content-length", "\(size)"), ("content-md5", md5)])
        return PartLink(url: url, headers: [("Content-Length", "\(size)"), ("Content-MD5", md5)])
    }

    // MARK: Requests

    private func send(
        _ method: String, _ url: String, headers: [String] = [], body: HTTPTransfer.Body = .none,
        timeout: Duration = .seconds(30), sink: Int32? = nil, missingIsFine: Bool = false,
        attempts: Int = S3ObjectStore.attempts
    ) throws(StoreError) -> HTTPTransfer.Answer {
        let payload =
            switch body {
            case .none: hex(SHA256.hash(data: [UInt8]()))
            case .bytes(let bytes): hex(SHA256.hash(data: bytes))
            case .file: "UNSIGNED-PAYLOAD"
            }
        var request = HTTPTransfer(method: method, url: url)
        request.headers = headers + ["x-amz-content-sha256: \(payload)"]
        if let token = settings.sessionToken { request.headers.append("x-amz-security-token: \(token)") }
        request.body = body
        request.timeout = timeout
        request.sink = sink
        let end = monotonicMilliseconds() + Self.totalTimeout.milliseconds
        var attempt = 1
        while true {
            do throws(StoreError) { return try sendOnce(request, missingIsFine) } catch {
                guard error.isTransient, attempt < attempts, monotonicMilliseconds() < end else { throw error }
            }
            usleep(useconds_t.random(in: 0...UInt32(100_000 << (attempt - 1))))
            attempt += 1
        }
    }

    private func sendOnce(
        _ request: HTTPTransfer, _ missingIsFine: Bool
    ) throws(StoreError) -> HTTPTransfer.Answer {
        let answer: HTTPTransfer.Answer
        do throws(HTTPTransfer.Failure) { answer = try client.send(request) } catch {
            throw StoreError("S3: \(error.description)", isTransient: true)
        }
        guard (200..<300).contains(answer.status) || missingIsFine && answer.status == 404 else { throw error(answer) }
        return answer
    }

    private func error(_ answer: HTTPTransfer.Answer) -> StoreError {
        let code = element("Code", in: answer.body) ?? "HTTP \(answer.status)"
        return StoreError(
            "S3: \(code)", isTransient: answer.status >= 500 || answer.status == 429 || answer.status == 408,
            isMissing: code == "NoSuchUpload" || code == "NoSuchKey")
    }
}
