/// An address of public keys that verify tokens: an entry of `JWT_JWKS_URL`.
public struct KeySource: Sendable, Hashable {
    /// Entries of the setting.
    static let most = 8

    /// Tokens with this `iss` alone are verified by these keys; nil: tokens with any that `JWT_ISSUER` allows.
    public let issuer: String?
    public let url: String

    /// - Parameter text: `URL` or `ISSUER=URL`.
    public init(_ text: String) throws(ServerURL.Problem) {
        let bytes = Array(text.utf8)
        let marks = ["=https://", "=http://"].compactMap { bytes.firstRange(of: Array($0.utf8))?.lowerBound }
        let mark = marks.min()
        issuer = mark.map { String(decoding: bytes[..<$0], as: UTF8.self) }
        url = String(decoding: bytes[(mark.map { $0 + 1 } ?? 0)...], as: UTF8.self)
        guard issuer != "" else { throw ServerURL.Problem("an entry has no issuer before its =") }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"\"<>\\^`{|}#".utf8.contains($0) }) else {
            throw ServerURL.Problem("an address has characters that no URL has, or a #")
        }
        let parts = try ServerURL(url, ports: ["https": 443, "http": 80])
        // Where libcurl would read another host than this check: `http:///host`, `http://user@host`.
        guard parts.user == nil, !url.utf8.contains(UInt8(ascii: "@")) else {
            throw ServerURL.Problem("an address has a user's name or an @: write %40")
        }
        guard parts.hosts.count == 1, bytes.firstRange(of: Array(":///".utf8)) == nil else {
            throw ServerURL.Problem("an address does not have one host")
        }
        guard parts.scheme == "https" || Self.isLoopback(parts.hosts[0].name) else {
            throw ServerURL.Problem(
                "keys come by https, or from this machine itself")
        }
    }

    private static func isLoopback(_ host: String) -> Bool {
        ["localhost", "127.0.0.1", "::1"].contains { areSameBytes($0, host) }
    }
}
