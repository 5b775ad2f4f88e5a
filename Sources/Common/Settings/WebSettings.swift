/// The public address of the service, and the pages that may use it.
public struct WebSettings: Sendable {
    /// The address as clients see it, without a slash at the end: an origin with or without a path, or a path alone.
    /// Empty: links in frames are paths from the origin's root.
    public var publicURL: String
    /// Origins whose pages may use REST and uploads; `*` alone: any, without cookies. Empty: only our own.
    public var origins: [String]
    /// Trusts a proxy in front of the web server: its X-Forwarded-Proto tells whether the client used TLS.
    public var trustsForwardedProto: Bool
    /// With this token /metrics may be read from anywhere; nil: only from this machine. A secret.
    public var metricsToken: String?

    init(_ values: inout SettingsReader) {
        publicURL = values.text("PUBLIC_URL", default: "")
        while publicURL.utf8.last == UInt8(ascii: "/") { publicURL.removeLast() }
        if !publicURL.isEmpty, !WebSettings.isAddress(publicURL) {
            values.problem("PUBLIC_URL=\(publicURL) is neither http(s)://host[:port][/path] nor a path such as /chat")
        }
        origins = values.list("CORS_ORIGINS")
        for origin in origins where !(origin == "*" && origins.count == 1) && !WebSettings.isOrigin(origin) {
            values.problem("CORS_ORIGINS: \(origin) is not an origin such as https://app.example, and not * alone")
        }
        trustsForwardedProto = values.choice("TRUST_FORWARDED_PROTO", ["no", "yes"], default: "no") == "yes"
        metricsToken = values.optional("METRICS_TOKEN")
        if let metricsToken, metricsToken.utf8.count < 16 {
            values.problem("METRICS_TOKEN has fewer than 16 bytes; make one with: openssl rand -base64 24")
        }
    }

    /// Scheme, host and port of `publicURL`; empty when it is a path.
    public var publicOrigin: String { WebSettings.origin(of: publicURL) }

    /// Whether `publicURL` leads to the asking machine itself, whichever that is.
    public var isLoopback: Bool {
        let host = publicOrigin.utf8.drop { $0 != UInt8(ascii: "/") }.dropFirst(2)
        let name = String(decoding: host, as: UTF8.self)
        return name.utf8.starts(with: "127.".utf8) || name.utf8.starts(with: "localhost".utf8)
            || name.utf8.starts(with: "[::1]".utf8)
    }

    /// Removes the path under which the service may live.
    public static func origin(of url: String) -> String {
        guard let scheme = url.firstRange(of: "://") else { return "" }
        let rest = url[scheme.upperBound...].utf8.prefix { $0 != UInt8(ascii: "/") }
        return String(url[..<scheme.upperBound]) + String(decoding: rest, as: UTF8.self)
    }

    private static func isAddress(_ text: String) -> Bool {
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"\"\\<>?#".utf8.contains($0) }) else { return false }
        if text.utf8.first == UInt8(ascii: "/") { return text.utf8.dropFirst().first != UInt8(ascii: "/") }
        return isOrigin(origin(of: text))
    }

    /// The form that browsers send: no path, no slash at the end, lower case. It is also inserted into nginx's
    /// configuration.
    private static func isOrigin(_ text: String) -> Bool {
        guard let scheme = text.firstRange(of: "://") else { return false }
        let before = text[..<scheme.lowerBound].utf8
        let host = text[scheme.upperBound...].utf8
        func isNameByte(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-._:[]".utf8.contains(byte)
        }
        return !before.isEmpty && before.allSatisfy { isNameByte($0) || $0 == UInt8(ascii: "+") } && !host.isEmpty
            && host.allSatisfy(isNameByte)
    }
}
