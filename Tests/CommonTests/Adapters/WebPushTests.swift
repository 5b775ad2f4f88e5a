import ChatCore
import Crypto
import TestSupport
import Testing

@testable import ChatAdapters

@Suite struct WebPushTests {
    /// RFC 8291, appendix A.
    @Test func theMessageOfTheStandardIsTheSameByteForByte() throws {
        func bytes(_ text: String) throws -> [UInt8] { try #require(base64URLDecoded(text.utf8)) }
        let key = try P256.KeyAgreement.PrivateKey(
            rawRepresentation: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
        let body = try WebPushEncryption.encrypt(
            Array("When I grow up, I want to be a watermelon".utf8),
            to: bytes(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
            secret: bytes("BTBZMqHH6r4Tts7J_aSIgg"), with: key, salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"))
        let expected =
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK"
            + "6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        #expect(String(decoding: base64URL(body), as: UTF8.self) == expected)
    }

    @Test func noTwoBodiesAreTheSame() throws {
        let receiver = P256.KeyAgreement.PrivateKey().publicKey
        let device = PushDevice(
            user: .zero, id: "a", kind: .webPush, address: "", publicKey: Array(receiver.x963Representation),
            secret: [UInt8](repeating: 1, count: 16))
        let (one, other) = (
            try WebPushEncryption.encrypt([1], for: device), try WebPushEncryption.encrypt([1], for: device)
        )
        #expect(one[..<16] != other[..<16] && one[21..<86] != other[21..<86] && one.count == 86 + 18)
    }

    @Test func theLongestPushFits() throws {
        let id = UUID128.v7(at: 1)
        let message = PushMessage(
            id: id, sender: id, senderName: String(repeating: "\"", count: 128), seq: .max, contentType: .text,
            content: String(repeating: "\"", count: 16_384), roomName: String(repeating: "\\", count: 128))
        let push = Push(room: id, content: .message(message, unread: .max), badge: .max)
        let settings = try Settings(testing: [:]).push
        #expect(WebPushSender.text(settings, push).count <= WebPushEncryption.maxBytes)
        #expect(APNsPushSender.body(settings, push).count <= 4096)
        var lean = push
        lean.isLean = true
        #expect(WebPushSender.text(settings, lean).count < 500)
    }

    @Test func everyAnswerIsUnderstood() {
        func answer(_ status: Int, _ seconds: Int? = nil) -> PushOutcome {
            WebPushSender.outcome(status, retryAfter: seconds, from: "https://a.example")
        }
        #expect(answer(201) == .sent && answer(202) == .sent)
        #expect(answer(404) == .unregistered && answer(410) == .unregistered)
        #expect(answer(429) == .later(seconds: 60) && answer(429, 7) == .later(seconds: 7))
        #expect(answer(503, 7) == .later(seconds: 7))
        #expect(answer(500) == .failed("Web Push: 500 from https://a.example"))
        for status in [301, 307, 400, 401, 403] {
            #expect(answer(status) == .rejected("Web Push: \(status) from https://a.example"))
        }
    }

    @Test func onlyPublicHostsAreEndpoints() throws {
        for text in [
            "https://fcm.googleapis.com/fcm/send/a:b-c_d", "https://updates.push.services.mozilla.com/wpush/v2/gAAA=",
            "https://WNS2-by3p.notify.windows.com/w/?token=a%2fb", "https://push.example.org:8443/a?b=c",
        ] { _ = try PushEndpoint(text) }
        for text in [
            "https://127.0.0.1/", "https://[::1]/", "https://localhost/", "https://2130706433/", "https://0x7f.1/",
            "http://push.example.org/", "https://a@push.example.org/", "https://push.example.org#@b/", "https:///a",
            "https://push.example.org:0/", "https://push.example.org:99999/", "https://push..example.org/",
            "https://push.example.org\u{301}/", "https://exämple.org/", "HTTPS://push.example.org/",
            "https://a.b\\c.d/",
            "https://push.example.org /", "http://localhost/", "https://example.org./",
        ] {
            #expect(throws: PushEndpoint.Problem.self, "\(text)") { _ = try PushEndpoint(text) }
        }
        #expect(try PushEndpoint("https://A.example:8443/x").origin == "https://a.example:8443")
        #expect(try PushEndpoint("http://127.0.0.1:90/x", allowsLoopback: true).isLoopback)
        #expect(throws: PushEndpoint.Problem.self) {
            _ = try PushEndpoint("http://127.0.0.1.example.org/", allowsLoopback: true)
        }
    }

    @Test func theOperatorMayNameThePushServices() throws {
        let hosts = ["fcm.googleapis.com", "*.notify.windows.com"]
        for text in ["https://fcm.googleapis.com/a", "https://a.b.notify.windows.com/"] {
            _ = try PushEndpoint(text, hosts: hosts)
        }
        for text in ["https://notify.windows.com/", "https://evilnotify.windows.com/", "https://a.fcm.googleapis.com/"]
        {
            #expect(throws: PushEndpoint.Problem.self, "\(text)") { _ = try PushEndpoint(text, hosts: hosts) }
        }
    }

    @Test func keysOfSettingsAreCheckedAsAPair() throws {
        let (keys, other) = (VAPIDKeys(), VAPIDKeys())
        let pair = [
            "VAPID_PUBLIC_KEY": keys.publicText, "VAPID_PRIVATE_KEY": keys.privateText,
            "VAPID_SUBJECT": "mailto:a@example.org",
        ]
        func problem(_ changes: [String: String]) -> String {
            do throws(SettingsError) {
                _ = try Settings(testing: pair.merging(changes) { $1 })
                return ""
            } catch { return error.description }
        }
        #expect(try Settings(testing: pair).push.kinds == [.webPush])
        #expect(problem(["VAPID_PUBLIC_KEY": other.publicText]).contains("is not the public key of VAPID_PRIVATE_KEY"))
        #expect(problem(["VAPID_PRIVATE_KEY": ""]).contains("VAPID_PRIVATE_KEY is not set"))
        #expect(problem(["VAPID_PRIVATE_KEY": keys.privateText + "="]).contains("32 bytes as base64url"))
        #expect(problem(["VAPID_SUBJECT": "operator"]).contains("VAPID_SUBJECT is not a mailto: or https: URL"))
        for text in ["VAPID_PRIVATE_KEY": String(repeating: "A", count: 43)] {
            #expect(problem([text.key: text.value]).contains("no private key of P-256"))
            #expect(!problem([text.key: text.value]).contains(text.value))
        }
    }
}

@Suite struct APNsTests {
    private func answer(_ status: Int, _ reason: String, _ seconds: Int? = nil) -> PushOutcome {
        APNsPushSender.outcome(status, Array(#"{"reason":"\#(reason)"}"#.utf8), retryAfter: seconds)
    }

    /// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
    @Test func everyKindOfAnswerIsUnderstood() {
        #expect(answer(200, "") == .sent)
        for (status, reason) in [
            (400, "BadDeviceToken"), (400, "DeviceTokenNotForTopic"), (410, "Unregistered"), (410, "ExpiredToken"),
        ] { #expect(answer(status, reason) == .unregistered, "\(reason)") }
        for (status, reason) in [
            (400, "BadTopic"), (400, "PayloadEmpty"), (403, "InvalidProviderToken"), (403, "BadCertificate"),
            (405, "MethodNotAllowed"), (413, "PayloadTooLarge"),
        ] { #expect(answer(status, reason) == .rejected("APNs: \(status) \(reason)")) }
        #expect(answer(403, "ExpiredProviderToken") == .failed("APNs: 403 ExpiredProviderToken"))
        #expect(answer(429, "TooManyRequests") == .later(seconds: 60))
        #expect(answer(429, "TooManyProviderTokenUpdates", 7) == .later(seconds: 7))
        #expect(answer(503, "ServiceUnavailable") == .later(seconds: 10))
        #expect(answer(500, "InternalServerError") == .failed("APNs: 500 InternalServerError"))
        #expect(APNsPushSender.outcome(502, Array("<html>".utf8), retryAfter: nil) == .failed("APNs: 502 "))
    }

    @Test func settingsBelongTogether() throws {
        func problem(_ values: [String: String]) -> String {
            do throws(SettingsError) {
                _ = try Settings(testing: values)
                return ""
            } catch { return error.description }
        }
        let some = problem(["APNS_KEY_FILE": "/key.p8", "APNS_KEY_ID": "short", "APNS_TOPIC": "a b"])
        #expect(some.contains("APNS_TEAM_ID is not set") && !some.contains("APNS_KEY_ID is not set"))
        let wrong = problem([
            "APNS_KEY_FILE": "/key.p8", "APNS_KEY_ID": "short", "APNS_TEAM_ID": "0123456789", "APNS_TOPIC": "a b",
        ])
        #expect(wrong.contains("APNS_KEY_ID is not one") && wrong.contains("APNS_TOPIC=a b is not an app's"))
        let values = [
            "APNS_KEY_FILE": "/dev/null", "APNS_KEY_ID": "ABCDEFGHIJ", "APNS_TEAM_ID": "0123456789",
            "APNS_TOPIC": "org.example.chat",
        ]
        let settings = try Settings(testing: values)
        #expect(settings.push.kinds == [.apns])
        #expect(throws: SettingsError.self) { _ = try PushServices(settings.push, hooks: settings.hooks) }
    }
}
