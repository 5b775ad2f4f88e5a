import ChatCore
import Glibc

extension SessionQuestion {
    /// Bytes of all cookies that are passed on.
    private static let longestCookies = 8192
    private static let longestHeader = 2048

    /// Nil: the request has none of the cookies, or more than are passed on.
    init?(_ request: Request, _ settings: SessionSettings) {
        let cookies = Self.cookies(request.header("cookie") ?? "", settings.cookies)
        guard (1...Self.longestCookies).contains(cookies.utf8.count), Self.isPlain(cookies) else { return nil }
        let address = request.parameter("REMOTE_ADDR") ?? ""
        self.init(
            cookies: cookies, headers: Self.headers(request, settings.headers), address: address,
            network: Self.network(address))
    }

    /// The named cookies, or all; never our own, which is a token.
    private static func cookies(_ header: String, _ names: [String]) -> String {
        pieces(of: header, at: UInt8(ascii: ";")).map { trimmed($0) }.filter { cookie in
            let name = pieces(of: cookie, at: UInt8(ascii: "="), maxSplits: 1, omittingEmpty: false).first ?? ""
            guard !name.isEmpty, !areSameBytes(name, SessionCookie.name) else { return false }
            return names.isEmpty || names.contains { areSameBytes($0, name) }
        }.joined(separator: "; ")
    }

    private static func headers(_ request: Request, _ names: [String]) -> [(name: String, value: String)] {
        names.compactMap { name in
            guard let value = request.header(name), value.utf8.count <= longestHeader, isPlain(value) else {
                return nil
            }
            return (name, value)
        }
    }

    /// A line break would begin another header.
    private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }

    /// An address of IPv4, or the network of one of IPv6: a provider gives each customer at least 2^64 of these.
    static func network(_ address: String) -> [UInt8] {
        var six = in6_addr()
        guard inet_pton(AF_INET6, address, &six) == 1 else { return Array(address.utf8.prefix(64)) }
        return withUnsafeBytes(of: &six) { bytes in
            // ::ffff:192.0.2.1 is an address of IPv4.
            bytes.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
                ? Array(bytes) : Array(bytes.prefix(8))
        }
    }
}
