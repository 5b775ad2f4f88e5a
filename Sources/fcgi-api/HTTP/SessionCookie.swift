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

    /// A header that sets it for `seconds`; 0 takes it away.
    static func header(_ token: String, seconds: Int64, publicURL: String) -> (name: String, value: String) {
        let secure = publicURL.lowercased().hasPrefix("https:") ? "; Secure" : ""
        return ("Set-Cookie", "\(name)=\(token); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Strict\(secure)")
    }
}

/// Where a form may come from, and where it may send its browser afterwards.
enum SameOrigin {
    /// Old browsers do not know SameSite; all of them send `Origin` with a form, and no page can forge it.
    static func check(_ request: Request, publicURL: String) throws(Refusal) {
        guard let origin = request.header("origin") else {
            throw Refusal(.forbidden, "a request with a cookie needs an Origin header; use a bearer token")
        }
        let host = request.header("host").map { "\(request.parameter("REQUEST_SCHEME") ?? "http")://\($0)" }
        guard areSameBytes(origin, self.origin(publicURL)) || host.map({ areSameBytes(origin, $0) }) == true else {
            throw Refusal(.forbidden, "the form is another site's")
        }
    }

    /// A path here, or an address with `publicURL`'s origin; nil for any other. It is judged byte by byte, as a browser
    /// reads it: in Swift's characters `//` and a combining mark do not begin with `//`.
    static func path(_ target: String, publicURL: String) -> String? {
        // Browsers drop tabs and line breaks and read \ as /: `/\t/elsewhere` is another origin.
        guard target.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") }) else { return nil }
        let isPath = target.utf8.starts(with: "/".utf8) && !target.utf8.starts(with: "//".utf8)
        let origin = origin(publicURL)
        guard isPath || areSameBytes(target, origin) || target.utf8.starts(with: (origin + "/").utf8) else {
            return nil
        }
        // Other than ASCII is not allowed in a header.
        return target.utf8.map { byte in
            byte < 0x80
                ? String(Unicode.Scalar(byte)) : "%" + String(byte, radix: 16, uppercase: true)
        }.joined()
    }

    /// Without the path that the service may live under.
    private static func origin(_ url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return url }
        return String(url[..<scheme.upperBound] + url[scheme.upperBound...].prefix { $0 != "/" })
    }
}
