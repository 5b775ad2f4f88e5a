import ChatCore
import JWTKit

/// The keys that tokens are checked with. Which one follows from the token's `alg` and `kid`: the key must be of the kind
/// that the algorithm needs, and one that says its own algorithm is for no other.
struct TokenKeys: Sendable {
    private struct Key: Sendable {
        let id: String?
        let algorithms: [String]
        let collection: JWTKeyCollection
    }

    private static let secretAlgorithm = "HS256"
    private var keys: [Key] = []
    private(set) var secret: JWTKeyCollection?

    /// - Parameter set: a JWK Set (RFC 7517) as text. Keys of kinds and for uses that are not tokens' here are passed over.
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
        // ES256 is of P-256 alone, and Ed448 is not known here.
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

    /// A token that names a key is checked with that one or not at all. One that names none is, when a single key fits.
    /// The shared secret is one key that has no name: what a token calls it says nothing.
    func collection(for token: CompactToken) -> JWTKeyCollection? {
        if areSameBytes(token.algorithm, Self.secretAlgorithm) { return secret }
        let fitting = keys.filter { $0.algorithms.contains { areSameBytes($0, token.algorithm) } }
        guard let name = token.keyID else { return fitting.count == 1 ? fitting[0].collection : nil }
        return fitting.first { $0.id.map { areSameBytes($0, name) } == true }?.collection
    }
}
