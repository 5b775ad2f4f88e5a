import ChatCore

extension SessionCookie {
    /// Bytes of a token: browsers drop a cookie when its name and value have more than 4096.
    static let longestToken = 4096 - name.utf8.count

    static func token(_ request: Request) -> String? { token(in: request.header("cookie")) }

    /// The header that sets the cookie for `seconds`; 0 removes it. Its path is the API's: other applications of the
    /// host do not receive it.
    static func header(
        _ token: String, seconds: Int64, _ request: Request, _ web: WebSettings, path: String? = nil
    ) -> (name: String, value: String) {
        let isSecure = request.isSecure(web) || web.publicURL.utf8.starts(with: "https:".utf8)
        let place = path ?? (SameOrigin.isPlainPath(request.prefix) ? request.prefix : "/")
        return (
            "Set-Cookie",
            "\(name)=\(token); Path=\(place); Max-Age=\(seconds); HttpOnly; SameSite=Strict\(isSecure ? "; Secure" : "")"
        )
    }
}

/// The pages from which a form is accepted, and the addresses to which it may redirect.
enum SameOrigin {
    /// Old browsers do not support SameSite, but all send `Origin` with a form, and no page can forge it.
    ///
    /// - Parameter others: origins whose pages are allowed too.
    static func check(_ request: Request, _ web: WebSettings, others: [String] = []) throws(Refusal) {
        guard let origin = request.header("origin") else {
            throw Refusal(.forbidden, "a request with a cookie needs an Origin header; use a bearer token")
        }
        let host = request.header("host").map { "\(request.isSecure(web) ? "https" : "http")://\($0)" }
        let allowed = ([web.publicOrigin, host].compactMap { $0 } + others).filter { !$0.isEmpty }
        guard allowed.contains(where: { $0.utf8.elementsEqual(origin.utf8) }) else {
            throw Refusal(.forbidden, "the request comes from a page of another site")
        }
    }

    /// A path of this host, or an address with `publicURL`'s origin; nil for any other. It is compared as bytes, like
    /// in a browser: in Swift's characters `//` followed by a combining mark does not begin with `//`.
    static func path(_ target: String, publicURL: String) -> String? {
        // Browsers drop tabs and line breaks and read \ as /: `/\t/elsewhere` is another origin.
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else { return nil }
        let bytes = target.utf8
        let isPath = bytes.starts(with: "/".utf8) && !bytes.starts(with: "//".utf8)
        let origin = WebSettings.origin(of: publicURL)
        guard isPath || !origin.isEmpty && (bytes.elementsEqual(origin.utf8) || bytes.starts(with: "\(origin)/".utf8))
        else { return nil }
        // A header may contain only ASCII.
        return target.utf8.map { byte in
            byte < 0x80
                ? String(Unicode.Scalar(byte)) : "%" + String(byte, radix: 16, uppercase: true)
        }.joined()
    }

    /// A path that is safe in a header and in a page without escaping.
    static func isPlainPath(_ text: String) -> Bool {
        let bytes = text.utf8
        return bytes.starts(with: "/".utf8) && !bytes.starts(with: "//".utf8)
            && bytes.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "/._~-?=&%+".utf8.contains(byte)
                }
            }
    }
}
