/// The push services, and what a push looks like.
public struct PushSettings: Sendable {
    /// The JSON key of a Google service account, a secret; nil: no pushes by FCM.
    public var accountFile: String?
    public var endpoint: String
    /// A file of certificate authorities that replaces the system's.
    public var authorities: String?
    /// nil: no Web Push.
    public var webPush: WebPushSettings?
    /// nil: no pushes by APNs.
    public var apns: APNsSettings?
    /// The host application's URL for devices of the kind `webhook`; empty: there are none.
    public var webhookURL: String
    public var processes: Int
    /// A socket has this time to show a sign of life after a message before its user's devices get a push.
    public var delay: Duration
    /// Jobs that may wait; above the limit the oldest are dropped.
    public var queueLength: Int
    /// The phone shows the push by itself; false: it is data only, and the app decides. FCM and APNs.
    public var isShown: Bool
    /// Templates: {room}, {content}, {sender}, {type}, {unread}.
    public var title: String
    public var body: String
    /// How long a push service keeps a push for an offline device. Whole seconds.
    public var ttl: Duration

    init(_ values: inout SettingsReader, webhook: String) {
        accountFile = values.optional("FCM_SERVICE_ACCOUNT_FILE")
        endpoint = values.text("FCM_ENDPOINT", default: "https://fcm.googleapis.com")
        values.expectHTTP("FCM_ENDPOINT", endpoint)
        authorities = values.optional("FCM_CA_FILE")
        webPush = WebPushSettings(&values)
        apns = APNsSettings(&values)
        webhookURL = webhook
        processes = values.number("PUSH_PROCESSES", default: 1, in: 1...64)
        delay = values.seconds("PUSH_DELAY_SECONDS", default: 5, in: 0...600)
        queueLength = values.number("PUSH_QUEUE_LENGTH", default: 100_000, in: 100...10_000_000)
        isShown = values.choice("PUSH_STYLE", ["notification", "data"], default: "notification") == "notification"
        title = values.text("PUSH_TITLE", default: "{room}")
        body = values.text("PUSH_BODY", default: "{content}")
        ttl = values.seconds("PUSH_TTL_SECONDS", default: 86_400, in: 0...2_419_200)
    }

    /// The kinds of devices that get pushes.
    public var kinds: [PushKind] {
        PushKind.allCases.filter { kind in
            switch kind {
            case .fcm: accountFile != nil
            case .webPush: webPush != nil
            case .apns: apns != nil
            case .webhook: !webhookURL.isEmpty
            }
        }
    }

    public var isOn: Bool { !kinds.isEmpty }
}

/// Web Push: RFC 8030, 8291, 8292.
public struct WebPushSettings: Sendable {
    public var keys: VAPIDKeys
    /// How a push service reaches the operator: a `mailto:` or `https:` URL.
    public var subject: String
    /// The accepted push services, in lower case; empty: all.
    public var hosts: [String]
    /// Endpoints may be plain HTTP on this machine, for tests.
    public var allowsLoopback: Bool

    init?(_ values: inout SettingsReader) {
        let (secret, shown) = (values.optional("VAPID_PRIVATE_KEY"), values.optional("VAPID_PUBLIC_KEY"))
        subject = values.text("VAPID_SUBJECT", default: "")
        hosts = values.list("WEB_PUSH_HOSTS").map { asciiLowercased($0) }
        allowsLoopback = values.choice("WEB_PUSH_LOOPBACK", ["no", "yes"], default: "no") == "yes"
        guard secret != nil || shown != nil else { return nil }
        guard let secret, let shown else {
            values.problem(
                "\(secret == nil ? "VAPID_PRIVATE_KEY" : "VAPID_PUBLIC_KEY") is not set: the two keys belong together; "
                    + "make a pair with: fcgi-api push keys")
            return nil
        }
        for host in hosts where !PushEndpoint.isHostRule(host) {
            values.problem("WEB_PUSH_HOSTS: \(host) is not a host such as fcm.googleapis.com or *.push.apple.com")
        }
        let subject = subject
        let isURL = ["mailto:", "https://"].contains {
            subject.utf8.starts(with: $0.utf8) && subject.utf8.count > $0.utf8.count
        }
        if !isURL {
            values.problem(
                "VAPID_SUBJECT is not a mailto: or https: URL: push services use it to contact you about problems")
        }
        do throws(VAPIDKeys.Problem) { keys = try VAPIDKeys(private: secret, public: shown) } catch {
            values.problem("\(error.setting) \(error.text); make a pair with: fcgi-api push keys")
            return nil
        }
    }
}

/// Apple's push service, by a token.
public struct APNsSettings: Sendable {
    /// The `.p8` file of a key for APNs, a secret.
    public var keyFile: String
    public var keyID: String
    public var teamID: String
    /// The app's bundle id.
    public var topic: String
    public var endpoint: String
    /// A file of certificate authorities that replaces the system's.
    public var authorities: String?

    init?(_ values: inout SettingsReader) {
        let names = ["APNS_KEY_FILE", "APNS_KEY_ID", "APNS_TEAM_ID", "APNS_TOPIC"]
        let given = names.map { values.optional($0) }
        var address = values.text("APNS_ENDPOINT", default: "https://api.push.apple.com")
        values.expectHTTP("APNS_ENDPOINT", address)
        while address.utf8.last == UInt8(ascii: "/") { address.removeLast() }
        let plain = ["http://127.0.0.1", "http://localhost"]
        if address.utf8.starts(with: "http://".utf8), !plain.contains(where: { address.utf8.starts(with: $0.utf8) }) {
            values.problem("APNS_ENDPOINT does not begin with https://: the token could be read on the way")
        }
        endpoint = address
        authorities = values.optional("APNS_CA_FILE")
        guard given.contains(where: { $0 != nil }) else { return nil }
        for (name, value) in zip(names, given) where value == nil {
            values.problem("\(name) is not set: pushes by APNs need \(names.joined(separator: ", "))")
        }
        guard let file = given[0], let key = given[1], let team = given[2], let topic = given[3] else { return nil }
        (keyFile, keyID, teamID, self.topic) = (file, key, team, topic)
        for (name, id) in [("APNS_KEY_ID", key), ("APNS_TEAM_ID", team)] {
            let isID = id.utf8.count == 10 && id.utf8.allSatisfy { (0x30...0x39).contains($0) || isLetter($0) }
            if !isID { values.problem("\(name) is not one of Apple's ids of 10 letters and digits") }
        }
        if !topic.utf8.allSatisfy({ (0x30...0x39).contains($0) || isLetter($0) || $0 == 0x2d || $0 == 0x2e }) {
            values.problem("APNS_TOPIC=\(topic) is not an app's bundle id, such as org.example.chat")
        }
    }
}

private func isLetter(_ byte: UInt8) -> Bool { (0x41...0x5a).contains(byte & 0xdf) && byte < 0x80 }
