import ChatCore
import Testing

@testable import fcgi_api

@Suite struct RequestTests {
    @Test(arguments: [
        ("/api/v1", "/api/v1/rooms?x=1", "/rooms"), ("/api/v1", "/healthz", "/healthz"), ("/api/v1", "/api/v1", "/"),
        ("/chat/api/v1", "/chat/api/v1/rooms", "/rooms"), ("", "/rooms", "/rooms"), ("/api/v1", "/api/v10", "/api/v10"),
    ])
    func stripsThePrefix(_ prefix: String, _ uri: String, _ path: String) throws {
        #expect(try request(["CHAT_PREFIX": prefix, "REQUEST_URI": uri]).path == path)
    }

    @Test(arguments: [
        ("/rooms/0190a0b0-1234-7000-8000-123456789abc/messages", nil),
        ("/users/auth0%7C12@x", nil), ("/messages/1/reactions/%F0%9F%91%8D", "/messages/1/reactions/"), ("", nil),
        ("//a/", nil), ("/users/a%2fb", "/users/"), ("/x%2fdevices/abc", "/"), ("/rooms%E2%80%8B/a", "/"),
        ("/rooms/join/0123456789abcdef0123456789abcdef", "/rooms/join/"),
        ("/devices", nil), ("/devices/", "/devices/"), ("/devices/FCM:1", "/devices/"), ("//Devices//x", "//Devices/"),
        ("/devices%2fx", "/"), ("/devices;/x", "/"), ("/d%65vices/x", "/"), ("/devices;x", "/"),
        ("/rooms%3Ftoken=x", "/"), ("/rooms%253Ftoken%253Dx", "/"), ("/rooms/eyJhbGciOiJIUzI1NiJ9.e30.x", "/rooms/"),
        ("/rooms/%65yJ", "/rooms/"), ("/a/" + String(repeating: "0", count: 32), "/a/"), ("/a/%", "/a/"),
        ("/a/%e", "/a/"), ("/a/%+f", "/a/"), ("/a/\u{e9}", "/a/"), ("/a/b\u{301}", "/a/"),
    ])
    func showsOnlyPartsOfAPathThatAreNoSecret(_ path: String, _ shown: String?) throws {
        let request = try request(["REQUEST_URI": "/api/v1" + path, "CHAT_PREFIX": "/api/v1"])
        #expect(request.shownPath == shown.map { $0 + "[redacted]" } ?? request.path)
    }

    @Test func readsHeadersInAnyCase() throws {
        let request = try request(["HTTP_X_REQUEST_ID": "a", "CONTENT_TYPE": "Application/JSON; charset=utf-8"])
        #expect(request.header("X-Request-Id") == "a")
        #expect(request.mediaType == "application/json")
        #expect(request.header("accept") == nil)
    }

    @Test func refusesABodyThatIsCutOffOrTooLarge() throws {
        let short = try request(["CONTENT_LENGTH": "10"], body: [1, 2, 3])
        #expect(throws: Refusal(.malformed, "the body is cut off: 3 of 10 bytes came")) { try short.body(limit: 100) }
        let large = try request(["CONTENT_LENGTH": "101"], body: [UInt8](repeating: 0, count: 101))
        #expect { try large.body(limit: 100) } throws: { ($0 as? Refusal)?.code == .tooLarge }
        let whole = try request(["CONTENT_LENGTH": "100"], body: [UInt8](repeating: 5, count: 100))
        #expect(try whole.body(limit: 100).count == 100)
        for length in ["-2", "+1", "x", "99999999999999999999"] {
            #expect(throws: Refusal.self) { try request(["CONTENT_LENGTH": length]) }
        }
    }

    /// Caddy writes -1 for a body that comes in chunks: its length is not known, as without the header.
    @Test func aLengthThatIsNotKnownIsNone() throws {
        for length in ["-1", ""] { #expect(try request(["CONTENT_LENGTH": length]).contentLength == 0) }
    }
}

@Suite struct QueryTests {
    @Test func decodesPairs() throws {
        let query = try Query("a=1&b=x+y%20z&c=&d&e=%F0%9F%91%8D&a=2")
        #expect(query["a"] == "1")
        #expect(query["b"] == "x y z")
        #expect(query["c"] == nil)
        #expect(query["e"] == "👍")
    }

    @Test(arguments: ["a=%", "a=%4", "a=%zz", "a=%ff"])
    func refusesBrokenEscapes(_ text: String) {
        #expect(throws: Refusal.self) { try Query(text[...]) }
    }

    @Test func boundsTheNumberOfPairs() {
        let text = (0...Query.maxPairs).map { "a\($0)=1" }.joined(separator: "&")
        #expect(throws: Refusal.self) { try Query(text[...]) }
    }

    @Test func limits() throws {
        #expect(try Query("").limit() == 50)
        #expect(try Query("limit=100").limit() == 100)
        for text in ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=1.5"] {
            #expect(throws: Refusal.self) { try Query(text[...]).limit() }
        }
    }
}

@Suite struct ResponseTests {
    @Test func headersCannotBeSmuggledIn() {
        var response = Response.text("x")
        response.headers.append(("Location", "/a\r\nSet-Cookie: b"))
        #expect(!response.head().contains("Set-Cookie"))
        #expect(response.head().contains("Content-Length: 1\r\n"))
        #expect(response.head().hasSuffix("\r\n\r\n"))
    }

    @Test func refusalsCarryWhatTheProtocolSays() throws {
        let response = Response.refusal(.unavailable("the database"), requestID: "r1")
        let json = try JSONReader.decode(response.body)
        #expect(response.status == 503)
        #expect(json["Success"] == .bool(false))
        #expect(json["Error"]?["Code"] == .string("unavailable"))
        #expect(json["RequestID"] == .string("r1"))
        #expect(response.head().contains("Retry-After: 3"))
    }
}

@Suite struct RouterTests {
    private let api = TestApi()

    @Test func findsNothingAndOtherMethods() throws {
        #expect(api.ask("GET", "/nothing").status == 404)
        #expect(api.ask("GET", "/rooms/not-a-uuid").status == 404)
        #expect(api.ask("PUT", "/rooms").status == 405)
        var router = Router { call throws(Refusal) in
            guard call.user != nil else { throw Refusal(.unauthorized, "who is there") }
        }
        router.on("GET", "/a/{x}") { _ throws(Refusal) in .noContent }
        router.on("DELETE", "/a/{x}") { _ throws(Refusal) in .noContent }
        #expect { try router.find("POST", "/a/c") } throws: { ($0 as? Refusal)?.allow == "DELETE, GET, HEAD" }
        #expect(try router.find("HEAD", "/a/%C3%A9%2F").1 == ["x": "é/"])
        #expect(throws: Refusal.self) { try router.find("GET", "/a/%ff") }
        router.on("POST", "/a/b") { _ throws(Refusal) in .noContent }
        #expect { try router.find("GET", "/a/b") } throws: { ($0 as? Refusal)?.allow == "POST" }
    }

    @Test(arguments: [
        ("abc.DEF_1-2", true), ("a b", false), (String(repeating: "a", count: 65), false), ("a\"b", false),
    ])
    func takesHarmlessRequestIDs(_ id: String, _ taken: Bool) throws {
        let call = Call(try request(["HTTP_X_REQUEST_ID": id]), now: 0)
        #expect((call.requestID == id) == taken)
    }
}
