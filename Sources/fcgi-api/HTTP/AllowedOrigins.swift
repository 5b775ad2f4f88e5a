import ChatCore

/// Which pages of other origins may use the API (CORS). The token is what protects; this only lets browsers pass it on.
struct AllowedOrigins {
    private let origins: [String]

    init(_ origins: [String] = []) { self.origins = origins }

    /// Seconds that a browser keeps a preflight's answer; Chrome takes no more.
    private static let maxAge = 7200
    private static let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    /// What a page may read of an answer beside its body.
    private static let exposed = """
        Retry-After, X-Request-ID, Location, Allow, ETag, Content-Disposition, Content-Range, WWW-Authenticate, \
        traceparent, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, \
        Upload-Length, Upload-Expires
        """

    private var isAny: Bool { origins == ["*"] }

    /// The answer to a browser's question before its request; nil for what is none.
    func preflight(_ request: Request) -> Response? {
        guard !origins.isEmpty, request.method == "OPTIONS", request.header("origin") != nil,
            request.header("access-control-request-method") != nil
        else { return nil }
        var response = Response.noContent
        guard allowed(request) != nil else { return response }
        response.headers = [
            ("Access-Control-Allow-Methods", Self.methods), ("Access-Control-Max-Age", "\(Self.maxAge)"),
        ]
        // `*` would not stand for Authorization.
        if let names = request.header("access-control-request-headers"), Self.areNames(names) {
            response.headers.append(("Access-Control-Allow-Headers", names))
        }
        return response
    }

    /// What goes beside every answer, a refusal too.
    func headers(_ request: Request) -> [(name: String, value: String)] {
        guard !origins.isEmpty else { return [] }
        var headers: [(name: String, value: String)] = isAny ? [] : [("Vary", "Origin")]
        guard let origin = allowed(request) else { return headers }
        headers += [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", Self.exposed)]
        // Browsers refuse it beside `*`, and rightly.
        if !isAny { headers.append(("Access-Control-Allow-Credentials", "true")) }
        return headers
    }

    private func allowed(_ request: Request) -> String? {
        guard let origin = request.header("origin") else { return nil }
        if isAny { return "*" }
        return origins.first { $0.utf8.elementsEqual(origin.utf8) }
    }

    private static func areNames(_ text: String) -> Bool {
        text.utf8.count <= 2048
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "-_, ".utf8.contains(byte)
                }
            }
    }
}
