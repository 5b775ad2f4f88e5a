public import ChatCore
import Crypto

/// Web Push: encrypted for the browser (RFC 8291), signed for its push service (RFC 8292), delivered by RFC 8030.
///
/// The address is untrusted: HTTPS to public addresses only, no redirects, a short answer within a short time.
public final class WebPushSender: PushSender {
    /// For one request.
    private static let timeout = Duration.seconds(5)
    /// Bytes of an answer.
    private static let maxAnswer = 16_384
    /// How long a token is valid (RFC 8292 allows a day), and the seconds after which a new one is made.
    private static let tokenLife = Duration.seconds(43_200)
    private static let tokenUse = Duration.seconds(3600)
    /// Origins whose tokens are kept.
    private static let maxTokens = 200

    private let settings: PushSettings
    private let webPush: WebPushSettings
    private let key: P256.Signing.PrivateKey
    private let client: HTTPClient
    private let clock: Clock
    private var tokens: [String: (text: String, end: Int64)] = [:]

    /// - Parameter goesOn: see ``PushServices``.
    public init(
        _ settings: PushSettings, _ webPush: WebPushSettings, clock: @escaping Clock = systemClock,
        goesOn: (() -> Bool)? = nil
    ) {
        client = HTTPClient(authorities: nil, goesOn: goesOn)
        self.settings = settings
        self.webPush = webPush
        self.clock = clock
        guard let key = try? P256.Signing.PrivateKey(rawRepresentation: webPush.keys.privateBytes) else {
            preconditionFailure("VAPIDKeys holds a valid key")
        }
        self.key = key
    }

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        let endpoint: PushEndpoint
        do throws(PushEndpoint.Problem) {
            endpoint = try PushEndpoint(
                device.address, hosts: webPush.hosts, allowsLoopback: webPush.allowsLoopback)
        } catch { return .rejected("Web Push: the endpoint \(error.text)") }
        return post(push, device, endpoint)
    }

    private func post(_ push: Push, _ device: PushDevice, _ endpoint: PushEndpoint) -> PushOutcome {
        guard let body = try? WebPushEncryption.encrypt(Self.text(settings, push), for: device) else {
            return .rejected("Web Push: the subscription's keys are no keys")
        }
        guard let token = token(for: endpoint.origin) else {
            return .rejected("Web Push: VAPID_PRIVATE_KEY cannot sign")
        }
        var request = HTTPTransfer(method: "POST", url: device.address)
        request.headers = [
            "Authorization: vapid t=\(token), k=\(webPush.keys.publicText)", "Content-Encoding: aes128gcm",
            "Content-Type: application/octet-stream", "TTL: \(settings.ttl.seconds)",
            "Urgency: \(push.isMessage ? "high" : "low")", "Topic: \(PushText.topic(of: push.room))",
        ]
        request.body = .bytes(body)
        request.timeout = Self.timeout
        request.maxAnswer = Self.maxAnswer
        request.publicOnly = !endpoint.isLoopback
        do throws(HTTPTransfer.Failure) {
            let answer = try client.send(request)
            return Self.outcome(answer.status, retryAfter: answer.retryAfter, from: endpoint.origin)
        } catch { return .failed("Web Push: \(endpoint.origin): \(error.description)") }
    }

    /// The plain text, in JSON.
    static func text(_ settings: PushSettings, _ push: Push) -> [UInt8] {
        let text = PushText(settings: settings, push: push)
        var writer = JSONWriter(reserving: 2048)
        writer.map { text.writeFields(to: &$0, isLean: push.isLean) }
        return writer.take()
    }

    /// RFC 8030, 5 and 8.4. A push service answers 404 or 410 for a subscription that has ended.
    static func outcome(_ status: Int, retryAfter: Int?, from origin: String) -> PushOutcome {
        let text = "Web Push: \(status) from \(origin)"
        switch status {
        case 200..<300: return .sent
        case 404, 410: return .unregistered
        case 413: return .tooLarge
        case 429: return .later(seconds: retryAfter ?? 60)
        case 408, 500...: return retryAfter.map { .later(seconds: $0) } ?? .failed(text)
        default: return .rejected(text)
        }
    }

    /// Nil: the key cannot sign.
    private func token(for origin: String) -> String? {
        let now = clock() / 1000
        if let token = tokens[origin], now < token.end { return token.text }
        if tokens.count >= Self.maxTokens { tokens = [:] }
        var claims = JSONWriter()
        claims.map {
            $0.field("aud", origin)
            $0.field("exp", now + Self.tokenLife.seconds)
            $0.field("sub", webPush.subject)
        }
        let head = Array(#"{"typ":"JWT","alg":"ES256"}"#.utf8)
        guard let text = try? SignedToken.make(head: head, claims: claims.take(), key) else { return nil }
        tokens[origin] = (text, now + Self.tokenUse.seconds)
        return text
    }
}
