import ChatCore
import TestSupport
import Testing

@testable import ChatAdapters

@Suite struct FCMTests {
    private func answer(_ status: Int, _ code: String?, _ name: String = "X", retryAfter: Int? = nil) -> PushOutcome {
        let details = code.map {
            #"{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"\#($0)"}"#
        }
        let body = #"{"error":{"code":\#(status),"status":"\#(name)","message":"m","details":[\#(details ?? "")]}}"#
        return FCMMessage.outcome(status, Array(body.utf8), retryAfter: retryAfter)
    }

    /// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, every entry.
    @Test func everyDocumentedErrorIsUnderstood() {
        #expect(answer(500, "UNSPECIFIED_ERROR") == .failed("FCM: 500 UNSPECIFIED_ERROR"))
        #expect(answer(400, "INVALID_ARGUMENT") == .rejected("FCM: 400 INVALID_ARGUMENT"))
        #expect(answer(404, "UNREGISTERED") == .unregistered)
        #expect(answer(403, "SENDER_ID_MISMATCH") == .unregistered)
        #expect(answer(429, "QUOTA_EXCEEDED", retryAfter: 7) == .later(seconds: 7))
        #expect(answer(429, "QUOTA_EXCEEDED") == .later(seconds: 60))
        #expect(answer(503, "UNAVAILABLE", retryAfter: 3) == .later(seconds: 3))
        #expect(answer(500, "INTERNAL") == .failed("FCM: 500 INTERNAL"))
        #expect(answer(401, "THIRD_PARTY_AUTH_ERROR") == .rejected("FCM: 401 THIRD_PARTY_AUTH_ERROR"))
    }

    @Test func answersWithoutAWordGoByTheirStatus() {
        #expect(FCMMessage.outcome(200, [], retryAfter: nil) == .sent)
        #expect(FCMMessage.outcome(502, Array("<html>".utf8), retryAfter: nil) == .failed("FCM: 502 "))
        #expect(FCMMessage.outcome(418, [], retryAfter: nil) == .rejected("FCM: 418 "))
    }

    @Test func aMalformedTokenIsNoDevice() {
        let body = #"""
            {"error":{"code":400,"status":"INVALID_ARGUMENT","details":[
            {"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"},
            {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.token"}]}]}}
            """#
        #expect(FCMMessage.outcome(400, Array(body.utf8), retryAfter: nil) == .unregistered)
    }

    /// Another server's numbers: none may trap, and none may keep a token or a wait for ever.
    @Test func numbersOfOtherServersAreBounded() {
        for (life, end) in [
            (nil, 4540), (3600, 4540), (Int64.max, 1000 + 86_400 - 60), (.min, 940), (0, 940),
        ] as [(Int64?, Int64)] {
            #expect(ServiceAccount.end(of: life, from: 1000) == end, "\(life ?? -1)")
        }
        for (text, seconds) in [
            ("7", 7), ("0", 0), ("9223372036854776", 86_400), ("9223372036854775807", 86_400),
            ("99999999999999999999999999", 86_400), ("-1", nil), ("-9223372036854775808", nil), ("NaN", nil), ("", nil),
            ("1e9", nil), ("Fri, 31 Dec 1999 23:59:59 GMT", nil),
        ] as [(String, Int?)] {
            #expect(HTTPTransfer.seconds(text) == seconds, "\(text)")
        }
    }

    @Test func templatesAreFilledOnce() {
        #expect(filled("{room}: {content}", ["room": "A {content}", "content": "b"]) == "A {content}: b")
        #expect(filled("{unknown} {room", ["room": "A"]) == "{unknown} {room")
    }

    @Test(arguments: ["notification", "data"]) func theBodyStaysBelowFourKibibytes(style: String) throws {
        let id = UUID128.v7(at: 1)
        let message = PushMessage(
            id: id, sender: id, seq: 1, contentType: .text, content: String(repeating: "👩‍👩‍👧‍👦", count: 600), roomName: "R")
        let json = FCMMessage(
            settings: try Settings(testing: ["PUSH_STYLE": style]).push,
            push: Push(room: id, content: .message(message, unread: 2)), device: String(repeating: "t", count: 200)
        ).json
        #expect(json.count <= 4096)
        let value = try JSONReader.decode(json)["message"]
        #expect((value?["notification"] == nil) == (style == "data"))
        #expect(value?["data"]?["Body"]?.string?.hasSuffix("👩‍👩‍👧‍👦…") == true)
    }
}

@Suite struct TraceParentTests {
    @Test func theMessageIsTheTrace() throws {
        let id = try #require(UUID128("0190a0b0-c0d0-7000-8000-00000000000a"))
        #expect("\(TraceParent(of: id))" == "00-0190a0b0c0d070008000" + "00000000000a-800000000000000b-01")
    }
}
