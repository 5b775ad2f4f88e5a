import ChatCore
import Testing

@Suite struct ChatRequestTests {
    private static let room = "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e5f"
    private static let user = "018f6c2e-7b3a-7c4d-9e5f-0a1b2c3d4e60"

    private func parse(_ json: String) throws -> (ChatRequest, String?) {
        var sign: String?
        let value = try JSONReader.decode(Array(json.utf8))
        return (try ChatRequest.parse(value, sign: &sign), sign)
    }

    @Test func theClientsExample() throws {
        let (request, sign) = try parse(
            """
            {"Type":"message","RoomID":"\(Self.room)","ReceiverID":"\(Self.user)","Content":"Hello World",
            "ContentType":"text","MessageType":"direct","Sign":"unique-sign-123","ParentMessageID":""}
            """)
        #expect(sign == "unique-sign-123")
        #expect(
            request
                == .message(
                    room: UUID128(Self.room), receiver: HostUser(UUID128(Self.user)!),
                    draft: MessageDraft(content: "Hello World"))
        )
    }

    @Test(arguments: [
        ("[]", ErrorCode.malformed, nil as String?), ("{}", .invalid, "Type"), (#"{"Type":"x"}"#, .unknownType, "Type"),
        (#"{"Type":7}"#, .invalid, "Type"), (#"{"Type":"message","Content":"x"}"#, .invalid, "RoomID"),
        (#"{"Type":"message","RoomID":"x","Content":"x"}"#, .invalid, "RoomID"),
        (#"{"Type":"message","RoomID":"ROOM"}"#, .invalid, "Content"),
        (#"{"Type":"message","RoomID":"ROOM","Content":7}"#, .invalid, "Content"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"a\u0000b"}"#, .invalid, "Content"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"x","ContentType":"y"}"#, .invalid, "ContentType"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"x","MessageType":"system"}"#, .invalid, "MessageType"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"x","MessageType":"replied"}"#, .invalid, "ParentMessageID"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"x","ParentMessageID":"ROOM"}"#, .invalid, "ParentMessageID"),
        (#"{"Type":"message","RoomID":"ROOM","Content":"a/b","ContentType":"file"}"#, .invalid, "Content"),
        (#"{"Type":"seen"}"#, .invalid, "RoomID"), (#"{"Type":"seen","RoomID":"ROOM","Seq":-1}"#, .invalid, "Seq"),
        (#"{"Type":"react","MessageID":"ROOM","Reaction":"ab"}"#, .invalid, "Reaction"),
        (#"{"Type":"resume","Rooms":7}"#, .invalid, "Rooms"), (#"{"Type":"auth"}"#, .invalid, "Token"),
    ])
    func refusals(json: String, code: ErrorCode, field: String?) throws {
        let error = try #require(throws: Refusal.self) {
            try parse(json.split(separator: "ROOM", omittingEmptySubsequences: false).joined(separator: Self.room))
        }
        #expect(error.code == code)
        #expect(error.field == field)
    }

    @Test func limits() throws {
        func message(_ content: String, sign: String = "s") -> String {
            #"{"Type":"message","RoomID":"\#(Self.room)","Content":"\#(content)","Sign":"\#(sign)"}"#
        }
        _ = try parse(message(String(repeating: "x", count: RequestLimit.content)))
        _ = try parse(message("x", sign: String(repeating: "s", count: 64)))
        #expect(throws: Refusal.self) { try parse(message(String(repeating: "x", count: RequestLimit.content + 1))) }
        #expect(throws: Refusal.self) { try parse(message("x", sign: String(repeating: "s", count: 65))) }
    }

    @Test func aRefusalKnowsItsSign() throws {
        var sign: String?
        let value = try JSONReader.decode(Array(#"{"Type":"nonsense","Sign":"abc"}"#.utf8))
        #expect(throws: Refusal.self) { try ChatRequest.parse(value, sign: &sign) }
        #expect(sign == "abc")
    }
}
