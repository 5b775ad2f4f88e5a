public import ChatCore
import Crypto
import JWTKit

/// JSON Web Tokens: HS256 with the shared secret; RS256, ES256 and EdDSA with the keys of a JWKS file or of addresses.
///
/// The `alg` and `kid` of a token select its key (see ``TokenKeys``): an HS256 token is never checked with a public
/// key, and a token with `none` is refused.
public final class JWTTokens: TokenVerifier {
    /// Longer tokens are refused without reading: nginx limits a header line to 8 KiB.
    private static let maxLength = 8192
    private let settings: TokenSettings
    private let clock: Clock
    private let keys: TokenKeys
    private let sets: [KeySet]
    private let keyTimeout: Int
    private let remembered: Int
    private var verified: [String: Identity] = [:]
    /// The version of the sets with which the cached tokens were verified.
    private var version = 0

    /// - Parameters:
    ///   - sets: of `JWT_JWKS_URL`.
    ///   - keyTimeout: milliseconds for which a token with an unknown key may wait for a newer set, once in some
    ///     seconds.
    ///   - remembered: the number of verified tokens to cache; above it the cache is emptied.
    /// - Throws: ``SettingsError`` when the JWKS file cannot be used.
    public init(
        _ settings: TokenSettings, sets: [KeySet] = [], keyTimeout: Int = 1000, remembered: Int = 10_000,
        clock: @escaping Clock = systemClock
    ) throws(SettingsError) {
        self.sets = sets
        self.keyTimeout = keyTimeout
        self.remembered = remembered
        self.settings = settings
        self.clock = clock
        var set: String?
        if let path = settings.jwksFile {
            set = readFile(path)
            guard set != nil else { throw SettingsError(problems: ["JWT_JWKS_FILE=\(path) cannot be read"]) }
        }
        do { keys = try TokenKeys(secret: settings.secret, oldSecrets: settings.oldSecrets, set: set) } catch {
            throw SettingsError(
                problems: ["JWT_JWKS_FILE=\(settings.jwksFile ?? "") is not a usable key set: \(error)"])
        }
    }

    public func verify(_ token: String) throws(Refusal) -> Identity {
        let now = clock() / 1000
        // Check for ASCII before any look-up: other text could compare equal to it.
        guard token.utf8.count <= Self.maxLength, token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw Self.unusable
        }
        if !sets.isEmpty {
            // A key that is no longer in its set verifies nothing.
            let newest = sets.reduce(0) { $0 + $1.keys.version }
            if newest != version { verified.removeAll(keepingCapacity: true) }
            version = newest
        }
        if let identity = verified[token] {
            guard now < identity.expiresAt + leeway else {
                verified[token] = nil
                throw Self.expired
            }
            return identity
        }
        let identity = try check(token, now: now)
        guard remembered > 0 else { return identity }
        if verified.count >= remembered { verified.removeAll(keepingCapacity: true) }
        verified[token] = identity
        return identity
    }

    /// Seconds of clock difference between machines that are tolerated.
    private var leeway: Int64 { settings.leeway.seconds }

    private func check(_ token: String, now: Int64) throws(Refusal) -> Identity {
        guard let parts = CompactToken(token),
            let key = try keys(for: parts).first(where: { $0.hasSigned(token) })
        else { throw Self.unusable }
        let claims = try TokenClaims(parts.claims)
        let user: HostUser
        do throws(HostUser.Problem) { user = try HostUser(claims.subject) } catch {
            throw Refusal(.unauthorized, "the token's sub \(error.text)")
        }
        guard now < claims.expiresAt + leeway else { throw Self.expired }
        if let notBefore = claims.notBefore, notBefore > now + leeway {
            throw Refusal(.unauthorized, "the token is not valid yet")
        }
        if let issuedAt = claims.issuedAt, issuedAt / 1000 > now + leeway {
            throw Refusal(.unauthorized, "the token was issued in the future")
        }
        if let audience = settings.audience, !claims.audiences.contains(where: { areSameBytes($0, audience) }) {
            throw Refusal(.unauthorized, "the token is for another audience")
        }
        if key.source?.issuers.isEmpty != false, let issuer = settings.issuer,
            claims.issuer.map({ areSameBytes($0, issuer) }) != true
        {
            throw Refusal(.unauthorized, "the token is from another issuer")
        }
        return Identity(
            user: user.id, expiresAt: claims.expiresAt, issuedAt: claims.issuedAt, tokenID: claims.tokenID,
            name: claims.name, externalID: user.externalID, avatar: claims.picture)
    }

    /// Fetches newer sets when no known key fits.
    private func keys(for token: CompactToken) throws(Refusal) -> [TokenKeys.Key] {
        func known() -> [TokenKeys.Key] {
            keys.fitting(token, and: sets.isEmpty ? [] : sets.flatMap { $0.keys.list ?? [] })
        }
        let found = known()
        guard found.isEmpty, !sets.isEmpty, TokenKeys.isPublic(token.algorithm) else { return found }
        let asked = sets.filter { $0.serves(token.claims["iss"]?.string) }
        var isWaiting = false
        for set in asked where set.wantNewer(keyTimeout: keyTimeout / asked.count) { isWaiting = true }
        let newer = known()
        if newer.isEmpty, isWaiting || asked.contains(where: { $0.keys.list == nil }) {
            throw .unavailable("the address of the tokens' keys")
        }
        return newer
    }

    private static let unusable = Refusal(.unauthorized, "the token is missing, malformed or not signed by a known key")
    private static let expired = Refusal(.tokenExpired, "the token has expired")

    /// Issues a token for a user, signed with the shared secret.
    ///
    /// - Parameter lifetime: seconds; a negative one makes an expired token, for tests.
    public func issue(user: UUID128, lifetime: Int64, name: String? = nil) throws(SettingsError) -> String {
        try issue(subject: user.description, lifetime: lifetime, name: name)
    }

    /// - Parameter subject: the host's id of the user, unchanged.
    public func issue(subject: String, lifetime: Int64, name: String? = nil) throws(SettingsError) -> String {
        guard let secretKeys = keys.secret else {
            throw SettingsError(problems: ["JWT_SECRET is not set: there is nothing to sign with"])
        }
        let now = clock()
        let claims = ChatClaims(
            // Not rounded: a revocation must separate earlier from later tokens of the same second.
            sub: subject, exp: Double(now / 1000 + lifetime), nbf: nil, iat: Double(now) / 1000,
            jti: UUID128.v7(at: clock()).description, name: name,
            aud: settings.audience.map { ChatClaims.Audience(values: [$0]) }, iss: settings.issuer)
        do {
            return try waitFor { try await secretKeys.sign(claims) }
        } catch {
            throw SettingsError(problems: ["the token cannot be signed with JWT_SECRET"])
        }
    }
}

/// The claims that ``JWTTokens/issue(user:lifetime:name:)`` writes.
private struct ChatClaims: JWTPayload {
    var sub: String
    var exp: Double
    var nbf: Double?
    var iat: Double?
    var jti: String?
    var name: String?
    var aud: Audience?
    var iss: String?

    func verify(using algorithm: some JWTAlgorithm) {}

    /// RFC 7519, 4.1.3: one text or a list.
    struct Audience: Codable, Sendable {
        var values: [String]

        init(values: [String]) { self.values = values }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            values = try (try? [container.decode(String.self)]) ?? container.decode([String].self)
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            if values.count == 1 { try container.encode(values[0]) } else { try container.encode(values) }
        }
    }
}

extension TokenKeys.Key {
    fileprivate func hasSigned(_ token: String) -> Bool {
        let collection = collection
        return (try? waitFor { try await collection.verify(token, as: SignedClaims.self) }) != nil
    }
}

/// The library checks only the signature. Our own reader reads the claims, and our own clock checks the times.
private struct SignedClaims: JWTPayload {
    func verify(using algorithm: some JWTAlgorithm) {}
}

/// The registered claims (RFC 7519, 4.1) and `name`. A claim of the wrong type makes the token invalid.
struct TokenClaims {
    let subject: String
    /// Unix seconds.
    let expiresAt: Int64
    let notBefore: Int64?
    /// Unix milliseconds.
    let issuedAt: Int64?
    let tokenID: String?
    let name: String?
    let picture: String?
    let audiences: [String]
    let issuer: String?

    init(_ claims: WireValue) throws(Refusal) {
        func wrong(_ name: String) -> Refusal {
            Refusal(.unauthorized, "the token's \(name) is missing or of a wrong type")
        }
        func text(_ name: String) throws(Refusal) -> String? {
            guard let value = claims[name], !value.isNull else { return nil }
            guard let text = value.string else { throw wrong(name) }
            return text
        }
        /// The time in units of 1/`scale` second, rounded down.
        func time(_ name: String, scale: Double = 1) throws(Refusal) -> Int64? {
            guard let value = claims[name], !value.isNull else { return nil }
            guard let number = value.number, let time = whole(number * scale) else { throw wrong(name) }
            return time
        }
        // Many libraries write an integer id as a JSON number; beyond 64 bits it has already lost digits.
        switch claims["sub"] {
        case .string(let text)?: subject = text
        case .int(let number)?: subject = "\(number)"
        default: throw wrong("sub")
        }
        guard let expiresAt = try time("exp") else { throw wrong("exp") }
        self.expiresAt = expiresAt
        notBefore = try time("nbf")
        issuedAt = try time("iat", scale: 1000)
        tokenID = try text("jti")
        name = try text("name")
        // Earlier releases did not read it, so a value of another type is ignored.
        picture = claims["picture"]?.string
        issuer = try text("iss")
        switch claims["aud"] {
        case nil, .null?: audiences = []
        case .string(let one)?: audiences = [one]
        case .array(let all)?:
            audiences = all.compactMap(\.string)
            guard audiences.count == all.count else { throw wrong("aud") }
        default: throw wrong("aud")
        }
    }
}

extension WireValue {
    fileprivate var number: Double? {
        switch self {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }
}

/// The integer part of a JSON number; nil when no clock could show it.
private func whole(_ number: Double) -> Int64? {
    number.isFinite && abs(number) < 1e15 ? Int64(number.rounded(.down)) : nil
}
