import ChatCore
import Testing

@testable import fcgi_api

/// Cases where a combining mark, or a look-alike of an ASCII character, would change a decision.
@Suite struct BytesNotCharactersTests {
    @Test(arguments: [
        "//\u{301}evil.example", "//evil.example", "/\u{5c}evil.example", "https://chat.example\u{301}.evil.example/",
        "https://chat.example.evil.example/", "https:\u{301}//chat.example/", "\u{301}/", "", "x",
    ])
    func noOtherOriginIsAPathHere(_ target: String) {
        #expect(SameOrigin.path(target, publicURL: "https://chat.example") == nil)
    }

    @Test func pathsHereStay() {
        #expect(SameOrigin.path("/\u{e9}?a=b#c", publicURL: "https://chat.example") == "/%C3%A9?a=b#c")
        #expect(SameOrigin.path("/\u{301}/x", publicURL: "https://chat.example") == "/%CC%81/x")
        let own = "https://chat.example/rooms"
        #expect(SameOrigin.path(own, publicURL: "https://chat.example/chat") == own)
    }

    @Test(arguments: [
        ("a/\u{301}b.png", "\u{301}b.png"), ("a\\\u{301}b", "\u{301}b"), ("..\u{301}/x", "x"), ("/\u{301}", "\u{301}"),
        ("a/b\u{301}.txt", "b\u{301}.txt"), (" \u{301}", "\u{301}"), ("x/ ", "file"), ("..", "file"),
    ])
    func noPathIsAName(_ given: String, _ name: String) {
        #expect(areSameBytes(FileName.cleaned(given), name))
    }

    @Test func aNameOfMarksIsCutByScalars() {
        let cut = FileName.cleaned("a" + String(repeating: "\u{301}", count: 4000) + ".png")
        #expect(cut.utf8.count <= 255 && cut.utf8.count > 250)
        #expect(cut.hasSuffix(".png") && cut.utf8.first == UInt8(ascii: "a"))
    }

    @Test func cookiesAndHeadersAreBytes() throws {
        func token(_ cookie: String) throws -> String? { try SessionCookie.token(request(["HTTP_COOKIE": cookie])) }
        #expect(try token("a=b; chat_session=t") == "t")
        #expect(try token("a=b\u{37e} chat_session=t") == nil)
        #expect(try token("a=b;\u{301}chat_session=t") == nil)
        #expect(try request(["CONTENT_TYPE": "application/json\u{37e}x"]).mediaType != "application/json")
        #expect(throws: Refusal.self) { try request(["CONTENT_LENGTH": "9223372036854775807"]) }
        #expect(throws: Refusal.self) { try request(["CONTENT_LENGTH": "+5"]) }
    }
}
