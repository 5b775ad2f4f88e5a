public struct TokenSettings: Sendable {
    /// HS256 key; a secret.
    public var secret: String
    /// Earlier keys: they verify tokens and do not sign new ones. Secrets.
    public var oldSecrets: [String]
    public var jwksFile: String?
    public var keySources: [KeySource]
    /// A key set is fetched again after this time.
    public var keyRefresh: Duration
    /// A file of certificate authorities that replaces the system's, for the key sets.
    public var keyAuthorities: String?
    public var audience: String?
    public var issuer: String?
    /// The difference to the token issuer's clock that is tolerated. Whole seconds.
    public var leeway: Duration
    /// The namespace of users whose ids are not UUIDs; must never change.
    public var userNamespace: UUID128

    init(_ values: inout SettingsReader) {
        jwksFile = values.optional("JWT_JWKS_FILE")
        keySources = []
        let sources = pieces(of: values.text("JWT_JWKS_URL", default: ""), at: UInt8(ascii: " "))
        if sources.count > KeySource.maxSources {
            values.problem("JWT_JWKS_URL has more than \(KeySource.maxSources) entries")
        }
        for text in sources.prefix(KeySource.maxSources) {
            do throws(ServerURL.Problem) { keySources.append(try KeySource(String(text))) } catch {
                values.problem("JWT_JWKS_URL: \(error)")
            }
        }
        keyRefresh = values.seconds("JWT_JWKS_REFRESH_SECONDS", default: 300, in: 1...86_400)
        keyAuthorities = values.optional("JWT_JWKS_CA_FILE")
        audience = values.optional("JWT_AUDIENCE")
        issuer = values.optional("JWT_ISSUER")
        leeway = values.seconds("JWT_LEEWAY_SECONDS", default: 5, in: 0...300)
        userNamespace = HostUser.standardNamespace
        if let text = values.optional("USER_NAMESPACE") {
            if let namespace = UUID128(text) {
                userNamespace = namespace
            } else {
                values.problem("USER_NAMESPACE=\(text) is not a UUID")
            }
        }
        secret = values.text("JWT_SECRET", default: "")
        // RFC 7518, 3.2: the key must be at least as long as the hash.
        if secret.utf8.count < 32, !(secret.isEmpty && (jwksFile != nil || !sources.isEmpty)) {
            values.problem("JWT_SECRET has fewer than 32 bytes; make one with: openssl rand -base64 32")
        }
        oldSecrets = pieces(of: values.text("JWT_OLD_SECRET", default: ""), at: UInt8(ascii: " ")).map(String.init)
        if oldSecrets.contains(where: { $0.utf8.count < 32 }) {
            values.problem("JWT_OLD_SECRET has a secret of fewer than 32 bytes; separate secrets by blanks")
        }
        if oldSecrets.count > 8 { values.problem("JWT_OLD_SECRET has more than 8 secrets") }
    }
}
