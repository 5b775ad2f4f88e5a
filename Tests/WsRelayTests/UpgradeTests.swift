import Testing

@testable import ws_relay

@Suite struct UpgradeTests {
    private static let usual = [
        "Host: chat.example.org", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]

    private static func visitor(
        _ target: String = "/ws/v1/chat?token=t0k", method: String = "GET", without: String? = nil,
        with extra: [String] = [], origins: [String] = []
    ) -> Visitor {
        let kept = usual.filter { line in without.map { !line.hasPrefix($0) } ?? true }
        let text = (["\(method) \(target) HTTP/1.1"] + kept + extra + ["", ""]).joined(separator: "\r\n")
        return Visitor(Array(text.utf8), origins: OriginRule(origins))
    }

    private static func upgrade(_ visitor: Visitor) -> Upgrade? {
        if case .client(.socket(let upgrade)) = visitor { upgrade } else { nil }
    }

    private static func refusal(_ visitor: Visitor) -> HTTPRefusal? {
        if case .refused(let refusal) = visitor { refusal } else { nil }
    }

    @Test func answersTheExampleOfTheRFC() throws {
        let upgrade = try #require(Self.upgrade(Self.visitor()))
        let answer = String(decoding: upgrade.answer, as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
        #expect(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"))
        #expect(answer.hasSuffix("\r\n\r\n"))
        #expect(!answer.contains("Protocol:"))
    }

    @Test func takesTheTokenFromEachPlace() {
        #expect(Self.upgrade(Self.visitor())?.credential == .token("t0k"))
        #expect(Self.upgrade(Self.visitor("/ws/v1/chat?a=b&token=x%2Ey+z"))?.credential == .token("x.y z"))
        #expect(
            Self.upgrade(Self.visitor("/ws/v1/chat", with: ["Authorization: Bearer  h.e.a"]))?.credential
                == .token("h.e.a"))
        #expect(Self.upgrade(Self.visitor(with: ["authorization: bearer first"]))?.credential == .token("first"))
        let offered = Self.upgrade(
            Self.visitor("/ws/v1/chat", with: ["Sec-WebSocket-Protocol: chat.json, bearer.a.b.c"]))
        #expect(offered?.credential == .token("a.b.c"))
        #expect(offered?.subprotocol == .json)
    }

    @Test func confirmsOnlyAKnownSubprotocol() {
        func answer(_ offered: String) -> String {
            Self.upgrade(Self.visitor(with: ["Sec-WebSocket-Protocol: \(offered)"]))
                .map { String(decoding: $0.answer, as: UTF8.self) } ?? ""
        }
        #expect(answer("chat.msgpack").contains("Sec-WebSocket-Protocol: chat.msgpack\r\n"))
        #expect(answer("soap, chat.json, chat.msgpack").contains("Sec-WebSocket-Protocol: chat.json\r\n"))
        #expect(!answer("soap").contains("Sec-WebSocket-Protocol"))
        // A browser that offers only the token needs its confirmation, or it closes the connection.
        #expect(answer("bearer.a.b.c").contains("Sec-WebSocket-Protocol: bearer.a.b.c\r\n"))
        #expect(!answer("bearer.a.b.c, chat.json").contains("a.b.c"))
    }

    @Test func refusesWhatIsNoUpgrade() {
        #expect(Self.refusal(Self.visitor(without: "Upgrade:")) == .upgradeRequired)
        #expect(Self.refusal(Self.visitor(without: "Connection:")) == .upgradeRequired)
        #expect(Self.refusal(Self.visitor(without: "Sec-WebSocket-Version")) == .upgradeRequired)
        #expect(
            Self.refusal(Self.visitor(without: "Sec-WebSocket-Version", with: ["Sec-WebSocket-Version: 8"]))
                == .upgradeRequired)
        #expect(Self.refusal(Self.visitor(method: "POST")) == .methodNotAllowed)
        #expect(Self.refusal(Self.visitor("/ws/v1/other")) == .notFound)
        #expect(Self.refusal(Self.visitor("/ws/v1/chat")) == .unauthorized)
        #expect(Self.refusal(Self.visitor("/ws/v1/chat?token=")) == .unauthorized)
        #expect(Self.refusal(Self.visitor("/ws/v1/chat", with: ["Authorization: Basic x"])) == .unauthorized)
        #expect(Self.visitor("/healthz") == .health)
        #expect(Self.refusal(Self.visitor("/healthz", method: "PUT")) == .methodNotAllowed)
    }

    @Test(arguments: [
        "", "c2hvcnQ=", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZ!==", "aaaaaaaaaaaaaaaaaaaaaaaa",
    ])
    func refusesABadKey(key: String) {
        let answer = Self.visitor(without: "Sec-WebSocket-Key", with: ["Sec-WebSocket-Key: \(key)"])
        #expect(Self.refusal(answer)?.status == 400)
    }

    @Test(arguments: [
        "GET /ws/v1/chat HTTP/1.0\r\n\r\n", "GET  /ws/v1/chat HTTP/1.1\r\n\r\n", "GET /ws/v1/chat\r\n\r\n",
        "GET /ws/v1/chat HTTP/1.1\nHost: a\r\n\r\n", "GET /ws/v1/chat HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET /ws/v1/chat HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "GET /ws/v1/chat HTTP/1.1\r\n: a\r\n\r\n",
        "GET /ws/v1/chat HTTP/1.1\r\nHost: a\u{0}\r\n\r\n", "GET /ws/v1/chat HTTP/1.1\r\nHost\r\n\r\n",
        "GET http://a/ws/v1/chat HTTP/1.1\r\n\r\n", "G@T / HTTP/1.1\r\n\r\n", "\r\n\r\n", " / HTTP/1.1\r\n\r\n",
    ])
    func refusesAMalformedHead(head: String) {
        #expect(Self.refusal(Visitor(Array(head.utf8), origins: OriginRule([])))?.status == 400)
    }

    @Test func refusesTwoOfWhatMayComeOnce() {
        for line in ["Host: b", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"] {
            #expect(Self.refusal(Self.visitor(with: [line]))?.status == 400)
        }
        #expect(
            Self.refusal(Self.visitor(with: ["Authorization: Bearer a", "Authorization: Bearer b"]))?.status == 400)
        #expect(Self.refusal(Self.visitor(with: ["Content-Length: 5"]))?.status == 400)
        #expect(Self.refusal(Self.visitor(with: ["Transfer-Encoding: chunked"]))?.status == 400)
        #expect(Self.refusal(Self.visitor(with: (0..<64).map { "X-\($0): y" }))?.status == 400)
    }

    @Test(arguments: ["%", "%4", "%zz", "%FF", "%C0%80"])
    func refusesABadQuery(escape: String) {
        #expect(Self.refusal(Self.visitor("/ws/v1/chat?token=a\(escape)"))?.status == 400)
    }

    @Test func admitsOriginsByTheList() {
        func status(_ origin: String?, _ allowed: [String]) -> Int? {
            Self.refusal(Self.visitor(with: origin.map { ["Origin: \($0)"] } ?? [], origins: allowed))?.status
        }
        let list = ["https://a.org"]
        #expect(status(nil, list) == nil)
        #expect(status("https://a.org", list) == nil)
        #expect(status("https://CHAT.example.org", list) == nil)
        #expect(status("https://evil.org", list) == 403)
        #expect(status("https://evil.org/?chat.example.org", list) == 403)
        #expect(status("https://a.org.evil.org", list) == 403)
        #expect(status("null", list) == 403)
        #expect(status("https://evil.org", []) == nil)
        #expect(status("https://evil.org", ["*"]) == nil)
    }

    @Test func answersInTheEnvelopeOfREST() {
        let answer = String(decoding: HTTPRefusal.tooMany(retryAfter: 7).answer(requestID: "r1"), as: UTF8.self)
        #expect(answer.hasPrefix("HTTP/1.1 429 Too Many Requests\r\n"))
        #expect(answer.contains("\r\nRetry-After: 7\r\n"))
        #expect(answer.contains("\r\nConnection: close\r\n"))
        #expect(answer.hasSuffix(#","Message":"too many connections"},"RequestID":"r1"}"#))
    }
}

@Suite struct HeadReaderTests {
    @Test func findsTheEndAtEveryCut() {
        let head = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
        let all = head + [0x82, 0x80]
        for cut in 0..<head.count {
            var reader = HeadReader()
            #expect(all[..<cut].withUnsafeBytes { reader.feed($0) } == .needsMore)
            #expect(all[cut...].withUnsafeBytes { reader.feed($0) } == .head(head, rest: [0x82, 0x80]))
        }
    }

    @Test func isBounded() {
        var reader = HeadReader()
        let piece = Array(repeating: UInt8(ascii: "a"), count: RequestHead.maxBytes)
        #expect(piece.withUnsafeBytes { reader.feed($0) } == .needsMore)
        #expect([UInt8(ascii: "a")].withUnsafeBytes { reader.feed($0) } == .tooLarge)
    }
}
