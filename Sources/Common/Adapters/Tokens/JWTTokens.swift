public import ChatCore
import Crypto
import JWTKit

/// JSON Web Tokens: HS256 with the shared secret; RS256, ES256 and EdDSA with the keys of a JWKS file.
///
/// Which key a token is checked with follows from its `alg` and nothing else: a token that says HS256 never meets a
/// public key, and `none` meets nothing.
public final class JWTTokens: TokenVerifier {
    /// Tokens longer than this are refused unread: a header line of nginx has 8 KiB.
    private static let maxLength = 8192
    private let settings: TokenSettings
    private let clock: Clock
    private let secretKeys: JWTKeyCollection?
    private let publicKeys: JWTKeyCollection?
    private let remembered: Int
    private var verified: [String: Identity] = [:]

    /// - Parameter remembered: verified tokens that are kept; past that all are forgotten and verified again.
    /// - Throws: ``SettingsError`` when the JWKS file cannot be used.
    public init(
        _ settings: TokenSettings, remembered: Int = 10_000, clock: @escaping Clock = systemClock
    ) throws(SettingsError) {
        self.remembered = remembered
        self.settings = settings
        self.clock = clock
        do {
            let secret = settings.secret
            secretKeys =
                secret.isEmpty
                ? nil
                : try waitFor {
                    let keys = JWTKeyCollection()
                    await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
                    return keys
                }
            publicKeys = try settings.jwksFile.map { path in
                guard let text = readFile(path) else {
                    throw SettingsError(problems: ["JWT_JWKS_FILE=\(path) cannot be read"])
                }
                return try waitFor {
                    let keys = JWTKeyCollection()
                    try await keys.add(jwksJSON: text)
                    return keys
                }
            }
        } catch let error as SettingsError {
            throw error
        } catch {
            throw SettingsError(problems: ["JWT_JWKS_FILE=\(settings.jwksFile ?? "") is not a usable key set: \(error)"]
            )
        }
    }

    public func verify(_ token: String) throws(Refusal) -> Identity {
        let now = clock() / 1000
        if let identity = verified[token] {
            guard now < identity.expiresAt else {
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

    private func check(_ token: String, now: Int64) throws(Refusal) -> Identity {
        guard !token.isEmpty, token.utf8.count <= Self.maxLength, let keys = keys(for: token) else {
            throw Self.unusable
        }
        let claims: ChatClaims
        do { claims = try waitFor { try await keys.verify(token, as: ChatClaims.self) } } catch { throw Self.unusable }
        guard let user = UUID128(claims.sub) else { throw Refusal(.unauthorized, "the token's sub is not a UUID") }
        guard let expiresAt = seconds(claims.exp) else { throw Self.unusable }
        guard now < expiresAt else { throw Self.expired }
        if let notBefore = claims.nbf {
            guard let notBefore = seconds(notBefore), notBefore <= now else {
                throw Refusal(.unauthorized, "the token is not valid yet")
            }
        }
        if let audience = settings.audience, claims.aud?.values.contains(audience) != true {
            throw Refusal(.unauthorized, "the token is for another audience")
        }
        if let issuer = settings.issuer, claims.iss != issuer {
            throw Refusal(.unauthorized, "the token is from another issuer")
        }
        return Identity(
            user: user, expiresAt: expiresAt, issuedAt: claims.iat.flatMap { seconds($0 * 1000) }, tokenID: claims.jti,
            name: claims.name)
    }

    private func keys(for token: String) -> JWTKeyCollection? {
        guard let header = token.split(separator: ".", omittingEmptySubsequences: false).first,
            let bytes = base64URLDecoded(header), let fields = try? JSONReader.decode(bytes)
        else { return nil }
        // RFC 7515, 4.1.11: an extension that must be understood, and is not.
        guard fields["crit"] == nil else { return nil }
        switch fields["alg"]?.string {
        case "HS256": return secretKeys
        case "RS256", "ES256", "EdDSA": return publicKeys
        default: return nil
        }
    }

    private static let unusable = Refusal(.unauthorized, "the token is missing, malformed or not signed by a known key")
    private static let expired = Refusal(.tokenExpired, "the token has expired")

    /// Signs a token for a user with the shared secret.
    ///
    /// - Parameter lifetime: seconds; negative ones make an expired token, for tests.
    public func issue(user: UUID128, lifetime: Int64, name: String? = nil) throws(SettingsError) -> String {
        guard let secretKeys else {
            throw SettingsError(problems: ["JWT_SECRET is not set: there is nothing to sign with"])
        }
        let now = clock()
        let claims = ChatClaims(
            // Not rounded, so that a revocation tells the tokens before it from those of the same second behind it.
            sub: user.description, exp: Double(now / 1000 + lifetime), nbf: nil, iat: Double(now) / 1000,
            jti: UUID128.v7(at: clock()).description, name: name,
            aud: settings.audience.map { ChatClaims.Audience(values: [$0]) }, iss: settings.issuer)
        do {
            return try waitFor { try await secretKeys.sign(claims) }
        } catch {
            throw SettingsError(problems: ["the token cannot be signed: \(error)"])
        }
    }
}

/// Times are checked here, against our own clock, and not by the library against the system's.
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

/// The whole part of a JSON number, or nil where it is none that a clock could show.
private func seconds(_ number: Double) -> Int64? {
    number.isFinite && abs(number) < 1e15 ? Int64(number.rounded(.down)) : nil
}

func base64URLDecoded(_ text: Substring) -> [UInt8]? {
    var bits: UInt32 = 0
    var count = 0
    var bytes: [UInt8] = []
    for character in text.utf8 {
        let value: UInt8
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "-"): value = 62
        case UInt8(ascii: "_"): value = 63
        default: return nil
        }
        bits = bits << 6 | UInt32(value)
        count += 6
        if count >= 8 {
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
    }
    return bytes
}
