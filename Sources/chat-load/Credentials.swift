import ChatCore
import Crypto
import Glibc

/// The users of a run and their tokens. No secret or token is in a command line, which every user of the machine can
/// read.
struct Credentials {
    struct User {
        /// The name in `Members` of a new room: a UUID, or the host's own id.
        let id: String
        var token: String
    }

    enum Source {
        case secret([UInt8])
        case command(String)
        case tokens([String])
    }

    let source: Source
    let environment: [String: String]
    /// Seconds for which a token is made.
    let lifetime: Int64

    /// - Parameter count: the number of users; with a file of tokens, the number of tokens that are used.
    func users(_ count: Int, _ chance: inout Chance) throws(Unusable) -> [User] {
        switch source {
        case .tokens(let tokens):
            guard tokens.count >= count else {
                throw Unusable("--tokens has \(tokens.count) tokens and --users asks for \(count)")
            }
            var users: [User] = []
            for (line, token) in tokens.prefix(count).enumerated() {
                guard let id = Self.subject(of: token) else { throw Unusable("--tokens: line \(line + 1) is no JWT") }
                users.append(User(id: id, token: token))
            }
            guard Set(users.map { Array($0.id.utf8) }).count == count else {
                throw Unusable("--tokens: two of the first \(count) tokens are one user's")
            }
            return users
        case .secret, .command:
            var users: [User] = []
            for _ in 0..<count {
                let id = Self.uuid(&chance)
                users.append(User(id: id, token: try token(for: id)))
            }
            return users
        }
    }

    func token(for user: String) throws(Unusable) -> String {
        switch source {
        case .secret(let secret): return sign(user, secret)
        case .command(let command): return try Self.ask(command, user)
        case .tokens: throw Unusable("a token of --tokens has expired")
        }
    }

    private func sign(_ user: String, _ secret: [UInt8]) -> String {
        var writer = JSONWriter()
        writer.map {
            $0.field("sub", user)
            $0.field("iat", wallClock() / second)
            $0.field("exp", wallClock() / second + lifetime)
            if let audience = environment["JWT_AUDIENCE"] { $0.field("aud", audience) }
            if let issuer = environment["JWT_ISSUER"] { $0.field("iss", issuer) }
        }
        let body =
            base64URL(Array(#"{"alg":"HS256","typ":"JWT"}"#.utf8)) + [UInt8(ascii: ".")] + base64URL(writer.take())
        let code = HMAC<SHA256>.authenticationCode(for: body, using: SymmetricKey(data: secret))
        return String(decoding: body + [UInt8(ascii: ".")] + base64URL(Array(code)), as: UTF8.self)
    }

    /// The host's own command prints a token for `CHAT_USER`.
    private static func ask(_ command: String, _ user: String) throws(Unusable) -> String {
        setenv("CHAT_USER", user, 1)
        guard let pipe = popen(command, "r") else { throw Unusable("--token-command cannot be started") }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while text.count < 16_384 {
            let count = fread(&buffer, 1, buffer.count, pipe)
            if count == 0 { break }
            text += buffer[..<count]
        }
        let status = pclose(pipe)
        let token = words(text).first ?? ""
        guard status == 0, subject(of: token) != nil else {
            throw Unusable("--token-command printed no JWT (status \(status >> 8)); it gets the user's id in CHAT_USER")
        }
        return token
    }

    static func words(_ text: [UInt8]) -> [String] {
        text.split { $0 <= 32 }.map { String(decoding: $0, as: UTF8.self) }
    }

    /// The `sub` of a token, unverified: the server verifies it.
    static func subject(of token: String) -> String? {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, token.utf8.count <= 8192, token.utf8.allSatisfy({ $0 > 32 && $0 < 127 }),
            let body = base64URLDecoded(parts[1]), let claims = try? JSONReader.decode(body)
        else { return nil }
        return claims["sub"]?.string
    }

    /// A random UUID, derived from the run's seed.
    private static func uuid(_ chance: inout Chance) -> String {
        let (high, low) = (chance.next() & ~0xf000 | 0x4000, chance.next() & ~(3 << 62) | 1 << 63)
        let bytes = (0..<16).map { UInt8(truncatingIfNeeded: ($0 < 8 ? high : low) >> UInt64((7 - $0 % 8) * 8)) }
        let digits = Array(hex(bytes).utf8)
        let parts = [digits[..<8], digits[8..<12], digits[12..<16], digits[16..<20], digits[20...]]
        return parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "-")
    }

    /// Reads the secret: the whole of a file, or its line `JWT_SECRET=…` when it is a file of settings.
    static func secret(in path: String) throws(Unusable) -> [UInt8] {
        let text: [UInt8]
        do { text = try TextFile.read(path) } catch { throw Unusable("--secret-file \(path) cannot be read: \(error)") }
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let name = Array("JWT_SECRET=".utf8)
            if line.starts(with: name) { return trimmed(line.dropFirst(name.count)) }
        }
        return trimmed(text[...])
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var rest = bytes
        while let last = rest.last, last <= 32 { rest.removeLast() }
        while let first = rest.first, first <= 32 { rest.removeFirst() }
        if rest.count > 1, let quote = rest.first, quote == rest.last, quote == 34 || quote == 39 {
            rest = rest.dropFirst().dropLast()
        }
        return Array(rest)
    }
}
