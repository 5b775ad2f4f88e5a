import ChatCore
import JWTKit

/// The keys that verify tokens. A token's `alg` and `kid` select the key: its type must fit the algorithm, and a key
/// with an `alg` of its own serves no other.
struct TokenKeys: Sendable {
    private struct Key: Sendable {
        let id: String?
        let algorithms: [String]
        let collection: JWTKeyCollection
    }

    private static let secretAlgorithm = "HS256"
    private var keys: [Key] = []
    private(set) var secret: JWTKeyCollection?

    /// - Parameter set: a JWK Set (RFC 7517) as text. Keys of other types or uses are skipped.
    init(secret: String, set: String?) throws {
        if !secret.isEmpty {
            let collection = try waitFor {
                let keys = JWTKeyCollection()
                await keys.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
                return keys
            }
            self.secret = collection
        }
        guard let set else { return }
        guard let list = try JSONReader.decode(Array(set.utf8))["keys"]?.array else {
            throw SettingsError(problems: ["it has no list of keys"])
        }
        keys = try list.compactMap { try Self.key($0) }
        guard !keys.isEmpty else { throw SettingsError(problems: ["it has no key for RS256, ES256 or EdDSA"]) }
    }

    private static func key(_ value: WireValue) throws -> Key? {
        let kinds = ["RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"]
        guard let algorithm = value["kty"]?.string.flatMap({ kinds[$0] }), value["use"]?.string ?? "sig" == "sig",
            value["alg"]?.string ?? algorithm == algorithm
        else { return nil }
        // ES256 requires P-256, and Ed448 is not supported.
        let curve = ["ES256": "P-256", "EdDSA": "Ed25519"][algorithm]
        guard curve == nil || value["crv"]?.string == curve else { return nil }
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
        return Key(id: value["kid"]?.string, algorithms: [algorithm], collection: collection)
    }

    /// A token with a `kid` is verified with that key or refused. A token without one is accepted when exactly one key
    /// fits. The shared secret has no name, so a `kid` beside it is ignored.
    func collection(for token: CompactToken) -> JWTKeyCollection? {
        if areSameBytes(token.algorithm, Self.secretAlgorithm) { return secret }
        let fitting = keys.filter { $0.algorithms.contains { areSameBytes($0, token.algorithm) } }
        guard let name = token.keyID else { return fitting.count == 1 ? fitting[0].collection : nil }
        return fitting.first { $0.id.map { areSameBytes($0, name) } == true }?.collection
    }
}
