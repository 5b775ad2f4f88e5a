import ChatCore
import JWTKit

/// A Google service account: requests access tokens (RFC 7523) and caches each until shortly before it expires.
final class ServiceAccount {
    private static let scope = "https://www.googleapis.com/auth/firebase.messaging"
    /// Google accepts assertions of at most an hour; a token is renewed `margin` before it expires.
    private static let assertionLife = Duration.seconds(3600)
    private static let margin = Duration.seconds(60)
    private static let longestLife = Duration.seconds(86_400)

    let project: String
    private let email: String
    private let tokenURL: String
    private let keys: JWTKeyCollection
    private let clock: Clock
    private var token: (text: String, end: Int64)?

    /// - Throws: ``SettingsError`` naming the setting, never the key.
    init(file: String, clock: @escaping Clock) throws(SettingsError) {
        func wrong(_ why: String) -> SettingsError {
            SettingsError(problems: ["FCM_SERVICE_ACCOUNT_FILE=\(file) \(why)"])
        }
        guard let text = readFile(file) else { throw wrong("cannot be read") }
        guard let value = try? JSONReader.decode(Array(text.utf8)), let project = value["project_id"]?.string,
            let email = value["client_email"]?.string, let pem = value["private_key"]?.string
        else { throw wrong("has no project_id, client_email and private_key: take the JSON key of a service account") }
        self.project = project
        self.email = email
        tokenURL = value["token_uri"]?.string ?? "https://oauth2.googleapis.com/token"
        self.clock = clock
        do {
            let key = try Insecure.RSA.PrivateKey(pem: pem)
            keys = try waitFor {
                let keys = JWTKeyCollection()
                await keys.add(rsa: key, digestAlgorithm: .sha256)
                return keys
            }
        } catch { throw wrong("has a private_key that is not an RSA key") }
    }

    /// Drops a token that FCM refused; the next push requests a new one.
    func forgetToken() { token = nil }

    func accessToken(_ client: HTTPClient) throws(HTTPTransfer.Failure) -> String {
        let now = clock() / 1000
        if let token, now < token.end { return token.text }
        let assertion = try assertion(now)
        let body = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=\(assertion)"
        let answer = try client.send(
            HTTPTransfer(
                method: "POST", url: tokenURL, headers: ["Content-Type: application/x-www-form-urlencoded"],
                body: .bytes(Array(body.utf8)), timeout: .seconds(10)))
        let value = try? JSONReader.decode(answer.body)
        guard answer.status == 200, let text = value?["access_token"]?.string else {
            throw HTTPTransfer.Failure(
                description: "no access token: \(answer.status) \(value?["error"]?.string ?? "")")
        }
        token = (text, Self.end(of: value?["expires_in"]?.int, from: now))
        return text
    }

    /// The Unix second until which a token is used.
    ///
    /// - Parameter life: the seconds that the server gave.
    static func end(of life: Int64?, from now: Int64) -> Int64 {
        now + min(max(life ?? 3600, 0), longestLife.seconds) - margin.seconds
    }

    private func assertion(_ now: Int64) throws(HTTPTransfer.Failure) -> String {
        let claims = Assertion(
            iss: email, scope: Self.scope, aud: tokenURL, iat: now, exp: now + Self.assertionLife.seconds)
        do {
            return try waitFor { [keys] in try await keys.sign(claims) }
        } catch {
            throw HTTPTransfer.Failure(description: "the service account's key cannot sign")
        }
    }

    private struct Assertion: JWTPayload {
        var iss: String
        var scope: String
        var aud: String
        var iat: Int64
        var exp: Int64

        func verify(using algorithm: some JWTAlgorithm) {}
    }
}
