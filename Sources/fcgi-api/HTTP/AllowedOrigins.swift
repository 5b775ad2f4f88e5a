import ChatCore

/// The pages of other origins that may use the API (CORS). The token is the protection; this only lets browsers send
/// it.
struct AllowedOrigins {
    private let origins: [String]

    init(_ origins: [String] = []) { self.origins = origins }

    /// How long a browser caches a preflight's answer; Chrome's maximum.
    private static let maxAge = Duration.seconds(7200)
    private static let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    /// The headers of an answer that a page may read.
    private static let exposed = """
        Retry-After, X-Request-ID, Location, Allow, ETag, Content-Disposition, Content-Range, WWW-Authenticate, \
        traceparent, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, \
        Upload-Length, Upload-Expires
        """

    private var isAny: Bool { origins == ["*"] }

    /// The answer to a preflight; nil for another request.
    func preflight(_ request: Request) -> Response? {
        guard !origins.isEmpty, request.method == "OPTIONS", request.header("origin") != nil,
            request.header("access-control-request-method") != nil
        else { return nil }
        var response = Response.noContent
        guard allowed(request) != nil else { return response }
        response.headers = [
            ("Access-Control-Allow-Methods", Self.methods), ("Access-Control-Max-Age", "\(Self.maxAge.seconds)"),
        ]
        // `*` does not cover Authorization.
        if let names = request.header("access-control-request-headers"), Self.areNames(names) {
            response.headers.append(("Access-Control-Allow-Headers", names))
        }
        return response
    }

    /// The headers for every answer, including refusals.
    func headers(_ request: Request) -> [(name: String, value: String)] {
        guard !origins.isEmpty else { return [] }
        var headers: [(name: String, value: String)] = isAny ? [] : [("Vary", "Origin")]
        guard let origin = allowed(request) else { return headers }
        headers += [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", Self.exposed)]
        // Browsers refuse credentials together with `*`.
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
