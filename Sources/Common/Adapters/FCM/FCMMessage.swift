import ChatCore

/// The body of `POST /v1/projects/{project}/messages:send`, and the meaning of its answers.
/// https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
struct FCMMessage {
    let settings: PushSettings
    let push: Push
    let device: String

    var json: [UInt8] {
        var writer = JSONWriter(reserving: 2048)
        let notification = notification
        writer.map {
            $0.map("message") {
                $0.field("token", device)
                $0.field("data") { $0.texts(data) }
                if !notification.isEmpty { $0.field("notification") { $0.texts(notification) } }
                writeAndroid(&$0, isShown: !notification.isEmpty)
                writeApple(&$0, isShown: !notification.isEmpty)
            }
        }
        return writer.take()
    }

    /// FCM accepts only text values.
    private var data: [(String, String)] {
        switch push.content {
        case .seen(let seq):
            return [("Type", "seen"), ("RoomID", "\(push.room)"), ("Seq", "\(seq)"), ("Badge", "\(push.badge)")]
        case .deleted(let message, let seq):
            return [
                ("Type", "deleted"), ("RoomID", "\(push.room)"), ("MessageID", "\(message)"), ("Seq", "\(seq)"),
                ("Badge", "\(push.badge)"),
            ]
        case .message(let message, let unread):
            return [
                ("Type", "message"), ("RoomID", "\(push.room)"), ("MessageID", "\(message.id)"),
                ("SenderID", "\(message.sender)"), ("SenderName", cut(message.senderName, toBytes: PushText.maxTitle)),
                ("Seq", "\(message.seq)"), ("Unread", "\(unread)"), ("Badge", "\(push.badge)"),
                ("ContentType", message.contentType.name), ("Title", title), ("Body", body),
            ]
        }
    }

    /// The text that the phone shows by itself. When empty, the app decides.
    private var notification: [(String, String)] {
        guard settings.isShown, case .message = push.content else { return [] }
        return [("title", title), ("body", body)].filter { !$0.1.isEmpty }
    }

    private var title: String { PushText(settings: settings, push: push).title }
    private var body: String { PushText(settings: settings, push: push).body }

    /// One notification per room is shown: a newer one replaces the older, in FCM's store and on the screen.
    private func writeAndroid(_ writer: inout JSONWriter, isShown: Bool) {
        writer.map("android") {
            $0.field("collapse_key", push.room)
            $0.field("priority", push.isMessage ? "HIGH" : "NORMAL")
            $0.field("ttl", "\(settings.ttl.seconds)s")
            if isShown {
                $0.map("notification") {
                    $0.field("tag", push.room)
                    $0.field("notification_count", min(push.badge, Int64(Int32.max)))
                }
            }
        }
    }

    private func writeApple(_ writer: inout JSONWriter, isShown: Bool) {
        writer.map("apns") {
            $0.field("headers") {
                $0.texts([("apns-collapse-id", "\(push.room)"), ("apns-priority", isShown ? "10" : "5")])
            }
            $0.map("payload") {
                $0.map("aps") {
                    $0.field("badge", push.badge)
                    $0.field("thread-id", ifAny: isShown ? push.room : nil)
                    $0.field("content-available", ifAny: isShown ? nil : 1)
                }
            }
        }
    }

    /// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode
    static func outcome(_ status: Int, _ body: [UInt8], retryAfter: Int?) -> PushOutcome {
        if (200..<300).contains(status) { return .sent }
        let error = (try? JSONReader.decode(body))?["error"]
        let details = error?["details"]?.array ?? []
        let code = details.lazy.compactMap { $0["errorCode"]?.string }.first ?? error?["status"]?.string ?? ""
        let text = "FCM: \(status) \(code)"
        switch code {
        case "UNREGISTERED", "SENDER_ID_MISMATCH": return .unregistered
        case "INVALID_ARGUMENT" where blamesToken(details): return .unregistered
        case "INVALID_ARGUMENT", "THIRD_PARTY_AUTH_ERROR", "PERMISSION_DENIED": return .rejected(text)
        default: break
        }
        switch status {
        case 404: return .unregistered
        // FCM asks for one minute on a quota error without `Retry-After`.
        case 429: return .later(seconds: retryAfter ?? 60)
        case 503: return .later(seconds: retryAfter ?? 10)
        case 401, 408, 500...: return .failed(text)
        default: return .rejected(text)
        }
    }

    /// FCM says that the registration token is invalid.
    private static func blamesToken(_ details: [WireValue]) -> Bool {
        details.contains { detail in
            (detail["fieldViolations"]?.array ?? []).contains { $0["field"]?.string == "message.token" }
        }
    }
}

extension JSONWriter {
    fileprivate mutating func texts(_ entries: [(String, String)]) {
        map { for (name, value) in entries { $0.field(named: name, value) } }
    }
}
