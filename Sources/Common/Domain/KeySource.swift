/// An address of public keys that verify tokens: an entry of `JWT_JWKS_URL`.
public struct KeySource: Sendable, Hashable {
    /// Entries of the setting.
    static let maxSources = 8

    /// The keys verify only tokens with one of these `iss`; empty: tokens with any `iss` that `JWT_ISSUER` allows.
    public let issuers: [String]
    public let url: String
    /// The address is that of a provider's configuration (OpenID Connect Discovery 1.0), which names the keys' address.
    public let isDiscovery: Bool

    private static let configuration = "/.well-known/openid-configuration"

    /// - Parameter text: `URL` or `ISSUER=URL`.
    public init(_ text: String) throws(ServerURL.Problem) {
        let bytes = Array(text.utf8)
        let marks = ["=https://", "=http://"].compactMap { bytes.firstRange(of: Array($0.utf8))?.lowerBound }
        let mark = marks.min()
        url = String(decoding: bytes[(mark.map { $0 + 1 } ?? 0)...], as: UTF8.self)
        isDiscovery = Array(url.utf8).suffix(Self.configuration.utf8.count).elementsEqual(Self.configuration.utf8)
        if let mark {
            issuers = [String(decoding: bytes[..<mark], as: UTF8.self)]
        } else if isDiscovery {
            // The address does not have the slash at the end of an issuer (OpenID Connect Discovery, section 4).
            let issuer = String(decoding: bytes.dropLast(Self.configuration.utf8.count), as: UTF8.self)
            issuers = [issuer, issuer + "/"]
        } else {
            issuers = []
        }
        guard issuers != [""] else { throw ServerURL.Problem("an entry has no issuer before its =") }
        guard url.utf8.allSatisfy({ isURLByte($0) && $0 != UInt8(ascii: "#") }) else {
            throw ServerURL.Problem("an address has characters that no URL has, or a #")
        }
        let parts = try ServerURL(url, ports: ["https": 443, "http": 80])
        // libcurl would read another host than this check in `http:///host` and `http://user@host`.
        guard parts.user == nil, !url.utf8.contains(UInt8(ascii: "@")) else {
            throw ServerURL.Problem("an address has a user's name or an @: write %40")
        }
        guard parts.hosts.count == 1, bytes.firstRange(of: Array(":///".utf8)) == nil else {
            throw ServerURL.Problem("an address does not have one host")
        }
        guard parts.scheme == "https" || Self.isLoopback(parts.hosts[0].name) else {
            throw ServerURL.Problem(
                "keys must come by https, or from this machine")
        }
    }

    /// Whether the keys verify tokens with this `iss`.
    public func serves(_ issuer: String?) -> Bool {
        guard !issuers.isEmpty else { return true }
        return issuer.map { issuer in issuers.contains { areSameBytes($0, issuer) } } ?? false
    }

    private static func isLoopback(_ host: String) -> Bool {
        ["localhost", "127.0.0.1", "::1"].contains { areSameBytes($0, host) }
    }
}
