import ChatCore

/// A token in a browser that runs no JavaScript: no script of any page can read it, and no other site's page can send it.
enum SessionCookie {
    static let name = "chat_session"

    static func token(_ request: Request) -> String? {
        for pair in pieces(of: request.header("cookie") ?? "", at: UInt8(ascii: ";")) {
            let sides = pieces(of: pair, at: UInt8(ascii: "="), maxSplits: 1)
            guard sides.count == 2, areSameBytes(trimmed(sides[0]), name) else { continue }
            return trimmed(sides[1])
        }
        return nil
    }

    /// A header that sets it for `seconds`; 0 takes it away. It is sent to the API alone: other applications of the host
    /// have no business with it.
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

/// Where a form may come from, and where it may send its browser afterwards.
enum SameOrigin {
    /// Old browsers do not know SameSite; all of them send `Origin` with a form, and no page can forge it.
    static func check(_ request: Request, _ web: WebSettings) throws(Refusal) {
        guard let origin = request.header("origin") else {
            throw Refusal(.forbidden, "a request with a cookie needs an Origin header; use a bearer token")
        }
        let host = request.header("host").map { "\(request.isSecure(web) ? "https" : "http")://\($0)" }
        let allowed = [web.publicOrigin, host].compactMap { $0 }.filter { !$0.isEmpty }
        guard allowed.contains(where: { $0.utf8.elementsEqual(origin.utf8) }) else {
            throw Refusal(.forbidden, "the form is another site's")
        }
    }

    /// A path here, or an address with `publicURL`'s origin; nil for any other. It is judged byte by byte, as a browser
    /// reads it: in Swift's characters `//` and a combining mark do not begin with `//`.
    static func path(_ target: String, publicURL: String) -> String? {
        // Browsers drop tabs and line breaks and read \ as /: `/\t/elsewhere` is another origin.
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else { return nil }
        let bytes = target.utf8
        let isPath = bytes.starts(with: "/".utf8) && !bytes.starts(with: "//".utf8)
        let origin = WebSettings.origin(of: publicURL)
        guard isPath || !origin.isEmpty && (bytes.elementsEqual(origin.utf8) || bytes.starts(with: "\(origin)/".utf8))
        else { return nil }
        // Other than ASCII is not allowed in a header.
        return target.utf8.map { byte in
            byte < 0x80
                ? String(Unicode.Scalar(byte)) : "%" + String(byte, radix: 16, uppercase: true)
        }.joined()
    }

    /// A path that may stand in a header and in a page as it is.
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
