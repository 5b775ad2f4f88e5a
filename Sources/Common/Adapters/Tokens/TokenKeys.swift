import ChatCore
import JWTKit

/// The keys that verify tokens. A token's `alg` and `kid` select the key: its type must fit the algorithm, and a key
/// with an `alg` of its own is used only for that.
struct TokenKeys: Sendable {
    struct Key: Sendable {
        let id: String?
        let algorithm: String
        /// The address that it came from; nil: a key of the settings.
        let source: KeySource?
        let collection: JWTKeyCollection
    }

    private static let secretAlgorithm = "HS256"
    private static let kinds = ["RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"]
    /// Keys of one set.
    private static let maxKeys = 100
    /// Characters of a key's longest number: 8192 bits of RSA.
    private static let longestNumber = 1366
    private var keys: [Key] = []
    private var secrets: [Key] = []

    /// The key that signs; nil: there is no secret.
    var secret: JWTKeyCollection? { isSigning ? secrets.first?.collection : nil }
    private let isSigning: Bool

    /// - Parameters:
    ///   - oldSecrets: only for verification.
    ///   - set: a JWK Set (RFC 7517) as text. Keys of other types or uses are skipped.
    init(secret: String, oldSecrets: [String] = [], set: String?) throws {
        isSigning = !secret.isEmpty
        for text in (isSigning ? [secret] : []) + oldSecrets {
            let collection = try waitFor {
                let keys = JWTKeyCollection()
                await keys.add(hmac: HMACKey(from: text), digestAlgorithm: .sha256)
                return keys
            }
            secrets.append(Key(id: nil, algorithm: Self.secretAlgorithm, source: nil, collection: collection))
        }
        if let set { keys = try Self.keys(of: Array(set.utf8)) }
    }

    /// The usable keys of a JWK Set, at least one. A shared secret in it is never used: every reader of the set knows
    /// it.
    ///
    /// - Parameter skipsBad: keys that cannot be read are skipped (RFC 7517, 5).
    static func keys(of set: [UInt8], source: KeySource? = nil, skipsBad: Bool = false) throws -> [Key] {
        guard let list = try JSONReader.decode(set)["keys"]?.array else {
            throw SettingsError(problems: ["it has no list of keys"])
        }
        guard list.count <= maxKeys else { throw SettingsError(problems: ["it has more than \(maxKeys) keys"]) }
        let keys = try list.enumerated().compactMap { place, value in
            do { return try key(value, source) } catch {
                guard skipsBad else {
                    if error is SettingsError { throw error }
                    // The library's own errors show names of Swift types.
                    throw SettingsError(problems: ["its key number \(place + 1) is incomplete, or not one of its kind"])
                }
                return nil
            }
        }
        guard !keys.isEmpty else { throw SettingsError(problems: ["it has no key for RS256, ES256 or EdDSA"]) }
        return keys
    }

    private static func key(_ value: WireValue, _ source: KeySource?) throws -> Key? {
        guard let algorithm = value["kty"]?.string.flatMap({ kinds[$0] }), value["use"]?.string ?? "sig" == "sig",
            value["alg"]?.string ?? algorithm == algorithm
        else { return nil }
        // ES256 requires P-256, and Ed448 is not supported.
        let curve = ["ES256": "P-256", "EdDSA": "Ed25519"][algorithm]
        guard curve == nil || value["crv"]?.string == curve else { return nil }
        guard (value["n"]?.string ?? "").utf8.count <= longestNumber, (value["e"]?.string ?? "").utf8.count <= 8 else {
            throw SettingsError(problems: ["a key is longer than 8192 bits"])
        }
        var writer = JSONWriter()
        writer.value(value)
        var key = try JWK(json: String(decoding: writer.take(), as: UTF8.self))
        key.keyIdentifier = JWKIdentifier(string: "only")
        key.algorithm = JWK.Algorithm(rawValue: algorithm)
        let only = key
        let collection = try waitFor {
            let keys = JWTKeyCollection()
            try await keys.add(jwk: only)
            return keys
        }
        return Key(id: value["kid"]?.string, algorithm: algorithm, source: source, collection: collection)
    }

    /// Whether a key set could have a key for such tokens.
    static func isPublic(_ algorithm: String) -> Bool { kinds.values.contains { areSameBytes($0, algorithm) } }

    /// A token with a `kid` is verified with that key or refused. A token without one is accepted when exactly one key
    /// fits. Shared secrets have no names: each is tried, and a `kid` beside them is ignored.
    ///
    /// - Parameter fetched: keys of sets at addresses.
    func fitting(_ token: CompactToken, and fetched: [Key] = []) -> [Key] {
        if areSameBytes(token.algorithm, Self.secretAlgorithm) { return secrets }
        let issuer = token.claims["iss"]?.string
        let fitting = (keys + fetched).filter { key in
            areSameBytes(key.algorithm, token.algorithm) && key.source?.serves(issuer) != false
        }
        guard let name = token.keyID else { return fitting.count == 1 ? fitting : [] }
        return fitting.first { $0.id.map { areSameBytes($0, name) } == true }.map { [$0] } ?? []
    }
}
