public import ChatCore
import Crypto

/// Apple's push service, over HTTP/2, with a token.
/// https://developer.apple.com/documentation/usernotifications/sending-notification-requests-to-apns
public final class APNsPushSender: PushSender {
    /// Apple refuses tokens older than an hour, and new ones within 20 minutes.
    private static let tokenUse = Duration.seconds(3000)

    private let settings: PushSettings
    private let apns: APNsSettings
    private let key: P256.Signing.PrivateKey
    private let client: HTTPClient
    private let clock: Clock
    private var token: (text: String, madeAt: Int64)?

    /// - Throws: ``SettingsError`` naming the setting, never the key.
    public init(
        _ settings: PushSettings, _ apns: APNsSettings, clock: @escaping Clock = systemClock,
        goesOn: (() -> Bool)? = nil
    ) throws(SettingsError) {
        // The value may be the key itself, by mistake, so errors do not show it.
        let name = "APNS_KEY_FILE"
        let pem: [UInt8]
        do throws(TextFile.Problem) { pem = try TextFile.read(apns.keyFile, atMost: 65_536) } catch {
            throw SettingsError(problems: ["\(name) cannot be read: \(error)"])
        }
        guard let key = try? P256.Signing.PrivateKey(pemRepresentation: String(decoding: pem, as: UTF8.self)) else {
            throw SettingsError(problems: [
                "\(name) is not the .p8 file of a key from Apple (a PEM private key of P-256)"
            ])
        }
        self.key = key
        self.settings = settings
        self.apns = apns
        self.clock = clock
        client = HTTPClient(authorities: apns.authorities, goesOn: goesOn)
    }

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        do throws(HTTPTransfer.Failure) {
            var answer = try post(push, device)
            if answer.status == 403, Self.reason(answer.body) == "ExpiredProviderToken" {
                token = nil
                answer = try post(push, device)
            }
            return Self.outcome(answer.status, answer.body, retryAfter: answer.retryAfter)
        } catch { return .failed("APNs: \(error.description)") }
    }

    private func post(_ push: Push, _ device: PushDevice) throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        let isAlert = push.isMessage && settings.isShown
        let expiration = settings.ttl == .zero ? 0 : clock() / 1000 + settings.ttl.seconds
        return try client.send(
            HTTPTransfer(
                method: "POST", url: "\(apns.endpoint)/3/device/\(device.address)",
                headers: [
                    "authorization: bearer \(try providerToken())", "apns-topic: \(apns.topic)",
                    // A push that changes the number on the icon must be an alert: as a background push it would be
                    // refused.
                    "apns-push-type: alert", "apns-priority: \(isAlert ? 10 : 5)",
                    "apns-expiration: \(expiration)", "apns-collapse-id: \(push.room)",
                    "content-type: application/json",
                ], body: .bytes(Self.body(settings, push)), timeout: .seconds(10)))
    }

    /// At most 4,096 bytes.
    static func body(_ settings: PushSettings, _ push: Push) -> [UInt8] {
        let text = PushText(settings: settings, push: push)
        let isAlert = push.isMessage && settings.isShown && !(text.title.isEmpty && text.body.isEmpty)
        var writer = JSONWriter(reserving: 2048)
        writer.map {
            $0.map("aps") {
                $0.field("badge", push.badge)
                guard isAlert else { return $0.field("content-available", 1) }
                $0.map("alert") {
                    $0.field("title", text.title)
                    $0.field("body", text.body)
                }
                $0.field("sound", "default")
                $0.field("thread-id", push.room)
                // The app may put a picture or another text into it.
                $0.field("mutable-content", 1)
            }
            // The alert has the texts already.
            text.writeFields(to: &$0, isLean: isAlert)
        }
        return writer.take()
    }

    private func providerToken() throws(HTTPTransfer.Failure) -> String {
        let now = clock() / 1000
        if let token, now - token.madeAt < Self.tokenUse.seconds, now >= token.madeAt { return token.text }
        let head = Array(#"{"alg":"ES256","kid":"\#(apns.keyID)"}"#.utf8)
        let claims = Array(#"{"iss":"\#(apns.teamID)","iat":\#(now)}"#.utf8)
        guard let text = try? SignedToken.make(head: head, claims: claims, key) else {
            throw HTTPTransfer.Failure(description: "the key of APNS_KEY_FILE cannot sign")
        }
        token = (text, now)
        return text
    }

    private static func reason(_ body: [UInt8]) -> String { (try? JSONReader.decode(body))?["reason"]?.string ?? "" }

    /// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
    static func outcome(_ status: Int, _ body: [UInt8], retryAfter: Int?) -> PushOutcome {
        if status == 200 { return .sent }
        let reason = reason(body)
        let text = "APNs: \(status) \(reason)"
        switch (status, reason) {
        case (410, _), (400, "BadDeviceToken"), (400, "DeviceTokenNotForTopic"): return .unregistered
        case (429, _): return .later(seconds: retryAfter ?? 60)
        case (503, _): return .later(seconds: retryAfter ?? 10)
        case (403, "ExpiredProviderToken"), (408, _), (500..., _): return .failed(text)
        default: return .rejected(text)
        }
    }
}
