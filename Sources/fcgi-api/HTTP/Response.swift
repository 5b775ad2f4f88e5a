import ChatCore

struct Response {
    var status: Int
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    /// The length of GET's body, in an answer to HEAD; nil: the length of `body`.
    var length: Int64?

    static let json = "application/json; charset=utf-8"

    init(status: Int, type: String? = nil, body: [UInt8] = []) {
        self.status = status
        self.body = body
        if let type { headers.append(("Content-Type", type)) }
    }

    static func text(_ text: String, status: Int = 200) -> Response {
        Response(status: status, type: "text/plain; charset=utf-8", body: Array(text.utf8))
    }

    static let noContent = Response(status: 204)

    /// `{"Success": true, "Data": …}`.
    static func data(status: Int = 200, _ write: (inout JSONWriter) -> Void) -> Response {
        var writer = JSONWriter(reserving: 1024)
        writer.map {
            $0.field("Success", true)
            $0.field("Data", write)
        }
        return Response(status: status, type: json, body: writer.take())
    }

    /// A page of a list; `next` is the beginning of the following page, nil at the end.
    static func list<Elements: Collection>(
        _ elements: Elements, next: String?, _ write: (inout JSONWriter, Elements.Element) -> Void
    ) -> Response {
        var writer = JSONWriter(reserving: 64 + elements.count * 640)
        writer.map {
            $0.field("Success", true)
            $0.array("Data", elements, write)
            $0.field("Next", next)
        }
        return Response(status: 200, type: json, body: writer.take())
    }

    /// `{"Success": false, "Error": {"Code", "Message", "Field"?}, "RequestID"}`.
    static func refusal(_ refusal: Refusal, requestID: String) -> Response {
        var writer = JSONWriter()
        writer.map {
            $0.field("Success", false)
            $0.map("Error") {
                $0.field("Code", refusal.code.rawValue)
                $0.field("Message", refusal.message)
                $0.field("Field", ifAny: refusal.field)
                $0.field("RetryAfter", ifAny: refusal.retryAfterMilliseconds)
            }
            $0.field("RequestID", requestID)
        }
        var response = Response(status: refusal.code.status, type: json, body: writer.take())
        if let seconds = refusal.retryAfter { response.headers.append(("Retry-After", String(seconds))) }
        if let taken = refusal.acceptedEncodings { response.headers.append(("Accept-Encoding", taken)) }
        if response.status == 401 { response.headers.append(("WWW-Authenticate", "Bearer")) }
        return response
    }

    private static let thumbnailField = Array(#""ThumbnailURL":""#.utf8)

    /// Without `PUBLIC_URL` a thumbnail's address is a path without the prefix of the request, so this adds it. User
    /// text cannot look like the field: its quotation marks are escaped.
    mutating func putPrefix(_ prefix: String) {
        let known = Array(Request.defaultPrefix.utf8)
        guard ServiceAddress.publicURL.isEmpty, !prefix.utf8.elementsEqual(known), !prefix.isEmpty,
            var found = body.firstRange(of: Response.thumbnailField)
        else { return }
        var (changed, rest): ([UInt8], ArraySlice<UInt8>) = ([], body[...])
        while true {
            changed += rest[..<found.upperBound]
            rest = rest[found.upperBound...]
            if rest.starts(with: known) {
                changed += prefix.utf8
                rest = rest.dropFirst(known.count)
            }
            guard let next = rest.firstRange(of: Response.thumbnailField) else { break }
            found = next
        }
        body = changed + rest
    }

    /// The CGI header block. A value with a line break would begin another header: it is left out.
    func head() -> String {
        var text = "Status: \(status) \(Response.reason(status))\r\n"
        for (name, value) in headers where !value.utf8.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            text += "\(name): \(value)\r\n"
        }
        if status != 204 && status != 304 { text += "Content-Length: \(length ?? Int64(body.count))\r\n" }
        return text + "\r\n"
    }

    private static func reason(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 204: "No Content"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 415: "Unsupported Media Type"
        case 422: "Unprocessable Content"
        case 423: "Locked"
        case 429: "Too Many Requests"
        case 460: "Checksum Mismatch"
        case 503: "Service Unavailable"
        default: status >= 500 ? "Internal Server Error" : "Status"
        }
    }
}
