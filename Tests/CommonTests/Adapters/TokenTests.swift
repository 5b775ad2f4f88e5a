import ChatAdapters
import ChatCore
import Crypto
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite struct TokenTests {
    private static let secret = "0123456789abcdef0123456789abcdef"
    private let user = UUID128(high: 1, low: 2)

    private func tokens(_ values: [String: String] = [:], now: Int64 = 1_000_000_000_000) throws -> JWTTokens {
        let all = ["JWT_SECRET": Self.secret].merging(values) { $1 }
        return try JWTTokens(Settings(testing: all).tokens, clock: { now })
    }

    /// A token made without the library: header and claims as given, signed with HMAC-SHA256.
    private func forged(_ header: String, _ claims: String, key: String = secret) -> String {
        let signed = base64URL(Array(header.utf8)) + "." + base64URL(Array(claims.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Array(signed.utf8), using: SymmetricKey(data: Array(key.utf8)))
        return signed + "." + base64URL(Array(code))
    }

    private func base64URL(_ bytes: [UInt8]) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        var text = ""
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            var bits = part.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << UInt32((3 - part.count) * 8)
            for _ in 0...part.count {
                text.append(alphabet[Int(bits >> 18 & 63)])
                bits <<= 6
            }
        }
        return text
    }

    @Test func issuedTokensAreGoodUntilTheyExpire() throws {
        let token = try tokens().issue(user: user, lifetime: 60, name: "Ada")
        let identity = try tokens().verify(token)
        #expect(identity.user == user)
        #expect(identity.expiresAt == 1_000_000_060)
        #expect(identity.name == "Ada")
        #expect(identity.tokenID != nil)
        let late = try #require(throws: Refusal.self) { try tokens(now: 1_000_000_065_000).verify(token) }
        #expect(late.code == .tokenExpired)
    }

    @Test(arguments: [
        (#""4711""#, "4711" as String?), ("4711", "4711"), ("-7", "-7"), (#""Zo\u00eb""#, "Zoë"),
        (#""01900000-0000-7000-8000-0000000000AA""#, nil),
    ])
    func theSubIsAnyText(_ sub: String, _ externalID: String?) throws {
        let identity = try tokens().verify(forged(#"{"alg":"HS256"}"#, #"{"sub":\#(sub),"exp":1000000060}"#))
        #expect(identity.externalID == externalID)
        if let externalID { #expect(identity.user == (try HostUser(externalID).id)) }
    }

    @Test(arguments: ["4711.5", "18446744073709551616", "true", "null", "[]", #""""#, #""a\nb""#])
    func whatIsNoUserIsNoSub(_ sub: String) throws {
        let refusal = try #require(throws: Refusal.self) {
            try tokens().verify(forged(#"{"alg":"HS256"}"#, #"{"sub":\#(sub),"exp":1000000060}"#))
        }
        #expect(refusal.code == .unauthorized && refusal.message.contains("sub"))
    }

    @Test(arguments: [0, 1]) func aTokenThatWasVerifiedStillExpires(remembered: Int) throws {
        let now = Atomic<Int64>(1_000_000_000_000)
        let settings = try Settings(testing: ["JWT_SECRET": Self.secret]).tokens
        let tokens = try JWTTokens(settings, remembered: remembered, clock: { now.load(ordering: .relaxed) })
        let token = try tokens.issue(user: user, lifetime: 60)
        for _ in 0..<2 { #expect(try tokens.verify(token).user == user) }
        now.store(1_000_000_065_000, ordering: .relaxed)
        #expect(throws: Refusal.self) { try tokens.verify(token) }
    }

    @Test func handMadeTokens() throws {
        let claims = #"{"sub":"\#(user)","exp":1000000060}"#
        #expect(try tokens().verify(forged(#"{"alg":"HS256","typ":"JWT"}"#, claims)).user == user)
        let bad: [(String, String, String)] = [
            (#"{"alg":"none"}"#, claims, Self.secret), (#"{"alg":"HS512"}"#, claims, Self.secret),
            (#"{"alg":"RS256"}"#, claims, Self.secret), (#"{}"#, claims, Self.secret), ("x", claims, Self.secret),
            (#"{"alg":"HS256","crit":["x"]}"#, claims, Self.secret),
            (#"{"alg":"HS256"}"#, claims, "another key of thirty-two bytes!!"),
            (#"{"alg":"HS256"}"#, #"{"sub":"\#(user)"}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"exp":1000000060}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"sub":"","exp":1000000060}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":"soon"}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":1e300}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":1000000060,"nbf":1000000030}"#, Self.secret),
            (#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":999999994}"#, Self.secret),
            (#"{"alg":"HS256"}"#, "not json", Self.secret),
        ]
        for (header, claims, key) in bad {
            #expect(throws: Refusal.self, "\(header) \(claims)") {
                try tokens().verify(forged(header, claims, key: key))
            }
        }
        let unsigned = forged(#"{"alg":"none"}"#, claims).split(separator: ".").prefix(2).joined(separator: ".") + "."
        for text in ["", ".", "..", "a.b.c", unsigned, String(repeating: "x", count: 10_000)] {
            #expect(throws: Refusal.self) { try tokens().verify(text) }
        }
    }

    @Test func aTokenHasOneSpelling() throws {
        let claims = #"{"sub":"\#(user)","exp":1000000060}"#
        let good = forged(#"{"alg":"HS256","typ":"JWT"}"#, claims)
        let verifier = try tokens()
        #expect(try verifier.verify(good).user == user)
        // 32 bytes are 43 characters, of which the last has two unused bits.
        let last = String(good.last!)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        let place = alphabet.firstIndex(of: Character(last))!
        let spellings = [
            good + "=", good.dropLast() + String(alphabet[place + 1]), good + "A", good + " ", "\u{feff}" + good,
            good.replacing("K", with: "\u{212a}"), good.replacing("-", with: "+"), good.replacing("_", with: "/"),
        ]
        for other in spellings where !areSameBytes(other, good) {
            #expect(throws: Refusal.self, "\(other)") { try verifier.verify(String(other)) }
        }
    }

    @Test func aClaimStandsOnce() throws {
        let claims = [
            #"{"sub":"\#(user)","sub":"\#(UUID128.zero)","exp":1000000060}"#,
            #"{"sub":"\#(user)","exp":1000000060,"exp":1000000060}"#,
            #"{"sub":"\#(user)","exp":1000000060,"\#u{61}ud":"a","aud":"b"}"#,
        ]
        for doubled in claims {
            #expect(throws: Refusal.self, "\(doubled)") { try tokens().verify(forged(#"{"alg":"HS256"}"#, doubled)) }
        }
        let good = #"{"sub":"\#(user)","exp":1000000060}"#
        #expect(throws: Refusal.self) { try tokens().verify(forged(#"{"alg":"HS256","alg":"HS256"}"#, good)) }
        #expect(throws: Refusal.self) { try tokens().verify(forged(#"{"alg":"HS256"}"#, good + "{}")) }
    }

    @Test(arguments: [
        (#""nbf":1000000005"#, true), (#""nbf":1000000006"#, false), (#""iat":1000000005"#, true),
        (#""iat":1000003600"#, false), (#""nbf":1e300"#, false), (#""iat":"now""#, false), (#""aud":7"#, false),
        (#""jti":{}"#, false), (#""nbf":null,"iat":null,"name":null"#, true),
    ])
    func clocksMayDifferALittle(_ claim: String, _ isGood: Bool) throws {
        let token = forged(#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":1000000060,\#(claim)}"#)
        let verified = try? tokens().verify(token)
        #expect((verified != nil) == isGood)
        let expired = forged(#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":999999996}"#)
        #expect(try tokens().verify(expired).expiresAt == 999_999_996)
        #expect(throws: Refusal.self) { try tokens(["JWT_LEEWAY_SECONDS": "0"]).verify(expired) }
    }

    @Test func audienceAndIssuerAreCheckedWhenSet() throws {
        let strict = try tokens(["JWT_AUDIENCE": "chat", "JWT_ISSUER": "us"])
        #expect(throws: Refusal.self) { try strict.verify(try tokens().issue(user: user, lifetime: 60)) }
        #expect(try strict.verify(try strict.issue(user: user, lifetime: 60)).user == user)
        let claims = #"{"sub":"\#(user)","exp":1000000060,"aud":["a","chat"],"iss":"us"}"#
        #expect(try strict.verify(forged(#"{"alg":"HS256"}"#, claims)).user == user)
    }

    @Test func oldSecretsVerifyAndSignNothing() throws {
        let (first, second) = (String(repeating: "1", count: 32), String(repeating: "2", count: 32))
        let claims = #"{"sub":"\#(user)","exp":1000000060}"#
        let rotated = try tokens(["JWT_OLD_SECRET": "\(first)  \(second)"])
        for key in [first, second, Self.secret] {
            #expect(try rotated.verify(forged(#"{"alg":"HS256","kid":"x"}"#, claims, key: key)).user == user)
        }
        #expect(throws: Refusal.self) {
            try rotated.verify(forged(#"{"alg":"HS256"}"#, claims, key: String(repeating: "3", count: 32)))
        }
        #expect(try tokens().verify(try rotated.issue(user: user, lifetime: 60)).user == user)
        #expect(throws: SettingsError.self) { try tokens(["JWT_OLD_SECRET": "short \(first)"]) }
        let verifying = try tokens(["JWT_OLD_SECRET": first, "JWT_SECRET": "", "JWT_JWKS_URL": "https://a.example/"])
        #expect(try verifying.verify(forged(#"{"alg":"HS256"}"#, claims, key: first)).user == user)
        #expect(throws: SettingsError.self) { try verifying.issue(user: user, lifetime: 60) }
    }

    @Test func anAddressOfKeysIsSafe() throws {
        let plain = try KeySource("https://a.example:8443/keys?v=1")
        #expect((plain.issuers, plain.url) == ([], "https://a.example:8443/keys?v=1"))
        let found = try KeySource("https://a.example/tenant/.well-known/openid-configuration")
        #expect(found.isDiscovery && found.issuers == ["https://a.example/tenant", "https://a.example/tenant/"])
        #expect(found.serves("https://a.example/tenant/") && !found.serves("https://a.example/") && !found.serves(nil))
        let exact = try KeySource("b=https://a.example/.well-known/openid-configuration")
        #expect(exact.isDiscovery && exact.serves("b") && !exact.serves("https://a.example"))
        let named = try KeySource("https://a.example/=https://a.example/keys?b=c")
        #expect((named.issuers, named.url) == (["https://a.example/"], "https://a.example/keys?b=c"))
        for good in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost/keys", "a=b=http://localhost"] {
            #expect(throws: Never.self) { try KeySource(good) }
        }
        for bad in [
            "http://a.example/", "http://127.0.0.1@a.example/", "http:///a.example/", "http://localhost.a.example/", "",
            "=https://a.example/", "https://a.example/#x", "https://a,b/", "ftp://localhost/", "file:///etc/passwd",
            "https://ä.example/", "HTTPS", "a=", "http://127.0.0.1\\@a.example/", "http://127.0.0.1.a.example/",
        ] {
            #expect(throws: ServerURL.Problem.self) { try KeySource(bad) }
        }
    }

    @Test func publicKeysComeFromAFile() throws {
        let elliptic = P256.Signing.PrivateKey()
        let edwards = Curve25519.Signing.PrivateKey()
        let point = Array(elliptic.publicKey.rawRepresentation)
        let keys = """
            {"keys":[
            {"kty":"EC","crv":"P-256","alg":"ES256","kid":"e","x":"\(base64URL(Array(point[0..<32])))",
            "y":"\(base64URL(Array(point[32...])))"},
            {"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"d","x":"\(base64URL(Array(edwards.publicKey.rawRepresentation)))"}
            ]}
            """
        let path = "/tmp/chat-test-\(UUID128.v7(at: systemClock())).json"
        let file = try #require(fopen(path, "w"))
        fputs(keys, file)
        fclose(file)
        defer { unlink(path) }
        let claims = base64URL(Array(#"{"sub":"\#(user)","exp":1000000060}"#.utf8))
        func token(_ header: String, _ sign: ([UInt8]) throws -> [UInt8]) rethrows -> String {
            let signed = base64URL(Array(header.utf8)) + "." + claims
            return signed + "." + base64URL(try sign(Array(signed.utf8)))
        }
        let both = try tokens(["JWT_JWKS_FILE": path])
        let byElliptic = try token(#"{"alg":"ES256","kid":"e"}"#) {
            Array(try elliptic.signature(for: $0).rawRepresentation)
        }
        let byEdwards = try token(#"{"alg":"EdDSA","kid":"d"}"#) { Array(try edwards.signature(for: $0)) }
        #expect(try both.verify(byElliptic).user == user)
        #expect(try both.verify(byEdwards).user == user)
        #expect(throws: Refusal.self) { try tokens().verify(byElliptic) }
        // An unknown `kid` matches no key; without a `kid` the only fitting key is used.
        let unknown = try token(#"{"alg":"ES256","kid":"x"}"#) {
            Array(try elliptic.signature(for: $0).rawRepresentation)
        }
        let unnamed = try token(#"{"alg":"ES256"}"#) { Array(try elliptic.signature(for: $0).rawRepresentation) }
        let misnamed = try token(#"{"alg":"ES256","kid":"d"}"#) {
            Array(try elliptic.signature(for: $0).rawRepresentation)
        }
        #expect(throws: Refusal.self) { try both.verify(unknown) }
        #expect(throws: Refusal.self) { try both.verify(misnamed) }
        #expect(try both.verify(unnamed).user == user)
        let mixed = try token(#"{"alg":"EdDSA","kid":"e"}"#) { Array(try edwards.signature(for: $0)) }
        #expect(throws: Refusal.self) { try both.verify(mixed) }
        // The public key as an HMAC secret: a classic attack.
        let confused = token(#"{"alg":"HS256","kid":"e"}"#) { bytes in
            Array(HMAC<SHA256>.authenticationCode(for: bytes, using: SymmetricKey(data: point)))
        }
        #expect(throws: Refusal.self) { try both.verify(confused) }
        let alone = try tokens(["JWT_JWKS_FILE": path, "JWT_SECRET": ""])
        #expect(try alone.verify(byElliptic).user == user)
        #expect(throws: Refusal.self) {
            try alone.verify(forged(#"{"alg":"HS256"}"#, #"{"sub":"\#(user)","exp":1000000060}"#))
        }
        #expect(throws: SettingsError.self) { try tokens(["JWT_JWKS_FILE": "/nowhere"]) }
    }
}
