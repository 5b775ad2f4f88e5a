import ChatCore

/// One HTTP request from nginx. Valid only until its response is written, because it reads from the connection.
struct Request {
    let method: String
    /// The client's own spelling, without the query and the API's prefix; segments are still percent-encoded.
    let path: String
    /// The path for logs and the status, up to the first part that may be a secret.
    let shownPath: String
    let query: Query
    /// The part of the address before `path`.
    let prefix: String
    /// The length of the body.
    let contentLength: Int
    /// Looks up a CGI variable, such as REMOTE_ADDR or HTTP_ACCEPT.
    let parameter: (String) -> String?
    /// Reads body bytes into the buffer, 0 at the end; waits for the client at most as long as the socket's time limit.
    let read: (UnsafeMutableRawBufferPointer) -> Int

    static let defaultPrefix = "/api/v1"

    init(
        parameter: @escaping (String) -> String?, read: @escaping (UnsafeMutableRawBufferPointer) -> Int = { _ in 0 }
    ) throws(Refusal) {
        self.parameter = parameter
        self.read = read
        let uri = parameter("REQUEST_URI") ?? "/"
        let parts = pieces(of: uri, at: UInt8(ascii: "?"), maxSplits: 1, omittingEmpty: false)
        prefix = parameter("CHAT_PREFIX") ?? Request.defaultPrefix
        path = Request.strip(prefix, from: String(parts.first ?? "/"))
        shownPath = Request.shown(path)
        method = Request.method(
            parameter("REQUEST_METHOD") ?? "GET", path, override: parameter("HTTP_X_HTTP_METHOD_OVERRIDE"))
        query = try Query(parts.count > 1 ? parts[1] : "")
        contentLength = try Request.length(parameter("CONTENT_LENGTH"))
    }

    /// nginx's log has the same rule: upstreams.conf. It shows only parts that cannot be secrets, because a list of
    /// possible secrets would always miss a spelling.
    private static func shown(_ path: String) -> String {
        var end = path.utf8.startIndex
        var previous = ""
        for segment in path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            // After `devices/` there is a push token.
            guard !areSameBytes(previous, "devices"), isPlain(segment) else { return path[..<end] + "[redacted]" }
            previous = asciiLowercased(Substring(segment))
            end = segment.endIndex == path.utf8.endIndex ? segment.endIndex : path.utf8.index(after: segment.endIndex)
        }
        return path
    }

    /// A UUID, a word of an address or a user's id. Tokens and tickets are longer, invitations' codes too.
    private static func isPlain(_ segment: Substring.UTF8View) -> Bool {
        if segment.count == 36, UUID128(String(Substring(segment))) != nil { return true }
        guard segment.firstRange(of: Array("eyJ".utf8)) == nil else { return false }
        // Other spellings of `devices/…`.
        guard segment.count <= 7 || !areSameBytes(asciiLowercased(Substring(segment.prefix(7))), "devices") else {
            return false
        }
        var (rest, count) = (segment[...], 0)
        while let byte = rest.first, count < 31 {
            let isEscape = byte == UInt8(ascii: "%")
            let text = rest.prefix(isEscape ? 3 : 1)
            let isHarmless =
                isEscape ? shownEscapes.contains(asciiLowercased(Substring(text))) : shownBytes.contains(byte)
            guard isHarmless else { return false }
            rest = rest.dropFirst(text.count)
            count += 1
        }
        return rest.isEmpty
    }

    private static let shownBytes = Set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.~!()*+,:@|-".utf8)
    /// A space, `@`, `:`, `|`: in ids that come from e-mail addresses or identity providers.
    private static let shownEscapes: Set<String> = ["%20", "%40", "%3a", "%7c"]

    /// `name` in any case, as in "content-type".
    func header(_ name: String) -> String? {
        let cgi = String(decoding: name.utf8.map(Request.cgi), as: UTF8.self)
        let value = parameter(cgi == "CONTENT_TYPE" || cgi == "CONTENT_LENGTH" ? cgi : "HTTP_" + cgi)
        return value?.isEmpty == true ? nil : value
    }

    /// The unchecked token of `Authorization: Bearer`; nil: there is no such header, or it has another form.
    var bearer: String? {
        let words = pieces(of: header("authorization") ?? "", at: UInt8(ascii: " "))
        return words.count == 2 && areSameBytes(asciiLowercased(words[0]), "bearer") ? String(words[1]) : nil
    }

    /// Milliseconds since the web server chose this pool (`CHAT_SENT`, seconds with three decimals); nil: the server
    /// did not send it, or the clock has jumped.
    func waited(until now: Int64) -> Int? {
        guard let text = parameter("CHAT_SENT"), text.utf8.count <= 20 else { return nil }
        let parts = pieces(of: text, at: UInt8(ascii: "."), omittingEmpty: false)
        guard parts.count == 2, parts[1].utf8.count == 3,
            parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let sent = Int64(parts[0] + parts[1])
        else { return nil }
        let waited = now.subtractingReportingOverflow(sent)
        return waited.overflow || !(-1000...3_600_000).contains(waited.partialValue)
            ? nil : max(0, Int(waited.partialValue))
    }

    /// Whether the client used TLS, according to the web server or to a trusted proxy in front of it.
    func isSecure(_ web: WebSettings) -> Bool {
        if let https = parameter("HTTPS"), !https.isEmpty, https.lowercased() != "off" { return true }
        if parameter("REQUEST_SCHEME")?.lowercased() == "https" { return true }
        return web.trustsForwardedProto && header("x-forwarded-proto")?.lowercased() == "https"
    }

    /// The media type in lower case, without its parameters.
    var mediaType: String? {
        header("content-type").flatMap { pieces(of: $0, at: UInt8(ascii: ";")).first }.map {
            asciiLowercased(trimmed($0))
        }
    }

    /// Whether it belongs to the tus protocol.
    var isTus: Bool { Request.isTus(path) }

    private static func isTus(_ path: String) -> Bool {
        path.utf8.elementsEqual("/files/tus".utf8) || path.utf8.starts(with: "/files/tus/".utf8)
    }

    /// Some tus clients cannot send every method: they put the intended one into a header.
    private static func method(_ method: String, _ path: String, override: String?) -> String {
        guard let override, isTus(path), ["POST", "PATCH", "HEAD", "DELETE", "OPTIONS"].contains(override) else {
            return method
        }
        return override
    }

    private static func cgi(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "-"): UInt8(ascii: "_")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): byte & 0xdf
        default: byte
        }
    }

    private static func strip(_ prefix: String, from path: String) -> String {
        guard !prefix.isEmpty, path.utf8.starts(with: prefix.utf8) else { return path }
        let rest = path.utf8.dropFirst(prefix.utf8.count)
        return rest.isEmpty ? "/" : rest.first == UInt8(ascii: "/") ? String(Substring(rest)) : path
    }

    /// Far above every limit, and far below the point where sums of lengths overflow.
    private static let longestBody = 1 << 50

    private static func length(_ text: String?) throws(Refusal) -> Int {
        // Caddy writes -1 for a chunked body.
        guard let text, !text.isEmpty, !text.utf8.elementsEqual("-1".utf8) else { return 0 }
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let length = Int(text), length <= longestBody else {
            throw Refusal(.malformed, "the Content-Length is not a number of bytes")
        }
        return length
    }
}
