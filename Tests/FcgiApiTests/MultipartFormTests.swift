import ChatCore
import TestSupport
import Testing

@testable import fcgi_api

@Suite struct MultipartFormTests {
    private static let type = "multipart/form-data; boundary=cut"
    private static let head = "--cut\r\nContent-Disposition: form-data; name=\"File\"; filename=\"a\"\r\n\r\n"

    private struct Part: Equatable {
        var name: String
        var bytes: [UInt8]
        var isWhole = false
    }

    /// Each piece from a reused buffer: the parser must not keep it.
    private func read(_ pieces: [ArraySlice<UInt8>], type: String = type) throws(Refusal) -> [Part] {
        var form = try MultipartForm(contentType: type)
        var parts: [Part] = []
        for piece in pieces {
            try form.feed(piece) { event throws(Refusal) in
                switch event {
                case .begin(let head): parts.append(Part(name: head.name, bytes: []))
                case .data(let bytes): parts[parts.count - 1].bytes += bytes
                case .end: parts[parts.count - 1].isWhole = true
                }
            }
        }
        try form.finish()
        return parts
    }

    private func read(_ text: String, type: String = type) throws(Refusal) -> [Part] {
        try read([Array(text.utf8)[...]], type: type)
    }

    /// Content with many near misses of a boundary.
    private static let content = "\r\n--cu\r\r\n--cu\n--cut\r\n-\r\r\r\n\r\n--CUT\r\n--cu"
    private static let whole = Array(
        (head + content + "\r\n--cut\r\nContent-Disposition: form-data; name=ChunkIndex\r\n\r\n12\r\n--cut\r\n"
            + "Content-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--cut--\r\n").utf8)
    private static let parts = [
        Part(name: "File", bytes: Array(content.utf8), isWhole: true),
        Part(name: "ChunkIndex", bytes: Array("12".utf8), isWhole: true), Part(name: "empty", bytes: [], isWhole: true),
    ]

    @Test func readsItInOnePieceAndByteByByte() throws {
        #expect(try read([Self.whole[...]]) == Self.parts)
        #expect(try read(Self.whole.indices.map { Self.whole[$0...$0] }) == Self.parts)
    }

    @Test func readsItCutAnywhere() throws {
        for first in 0...Self.whole.count {
            #expect(try read([Self.whole[..<first], Self.whole[first...]]) == Self.parts)
            for second in stride(from: first, to: Self.whole.count, by: 7) {
                #expect(
                    try read([Self.whole[..<first], Self.whole[first..<second], Self.whole[second...]]) == Self.parts)
            }
        }
    }

    @Test func refusesEveryPrefix() {
        // The last line break is optional.
        for end in 0..<(Self.whole.count - 2) {
            #expect(throws: Refusal.self) { try read([Self.whole[..<end]]) }
        }
        #expect(throws: Never.self) { try read([Self.whole.dropLast(2)]) }
    }

    @Test func randomBytesNeverTrap() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var bytes = Self.whole
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] =
                    [13, 10, 45, 34, 59, 0, 255, 99].randomElement(using: &random)!
            }
            _ = try? read([bytes[...]])
        }
    }

    @Test(arguments: [
        String(repeating: "junk\r\n", count: 2000) + head + "x\r\n--cut--",
        head + "x\r\n--cut--" + String(repeating: "x", count: 8200),
        head + "x\r\n--cutter\r\n", head + "x\r\n--cut \r\n", "--cut\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data\r\n\r\nx\r\n--cut--",
        "--cut\r\n folded\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a\u{0}\r\n\r\nx\r\n--cut--",
        "--cut\r\nContent-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n--cut--",
        "--cut\r\nX-Long: " + String(repeating: "x", count: 8200) + "\r\n\r\nx\r\n--cut--",
    ])
    func refusesWhatIsNoForm(_ text: String) {
        #expect { try read(text) } throws: { ($0 as? Refusal)?.code == .malformed }
    }

    @Test(
        arguments: ["\r\n", "preamble\r\n", "\r\r\n", "--cu\r\n", "-\r\n--\r\n", ""],
        ["", "\r\n", "\r\n\r\n", "--cut", "junk"])
    func whatStandsAroundItIsPassedOver(_ before: String, _ after: String) throws {
        let bytes = Array((before + Self.head + "x\r\n--cut--" + after).utf8)
        let expected = [Part(name: "File", bytes: Array("x".utf8), isWhole: true)]
        #expect(try read([bytes[...]]) == expected)
        #expect(try read(bytes.indices.map { bytes[$0...$0] }) == expected)
    }

    @Test func aHeadMayBeFolded() throws {
        let lines = "Content-Disposition: form-data;\r\n name=\"File\";\r\n\tfilename=\"a b.txt\"\r\n"
        #expect(try PartHead(Array(lines.utf8)[...]).fileName == "a b.txt")
    }

    @Test func takesAsManyPartsAsAllowed() throws {
        let part = "--cut\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"
        #expect(try read(String(repeating: part, count: 32) + "--cut--").count == 32)
        #expect(throws: Refusal.self) { try read(String(repeating: part, count: 33) + "--cut--") }
        #expect(try read("--cut--").isEmpty)
    }

    @Test func boundariesAreBounded() throws {
        for type in [
            "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a ",
            "multipart/form-data; boundary=" + String(repeating: "x", count: 71), "multipart/form-data; boundary=ä",
        ] { #expect { try MultipartForm(contentType: type) } throws: { ($0 as? Refusal)?.code == .malformed } }
        #expect { try MultipartForm(contentType: "multipart/mixed; boundary=a") } throws: {
            ($0 as? Refusal)?.code == .unsupportedMediaType
        }
        let quoted = "Multipart/Form-Data; charset=utf-8; boundary=\"a b:c\";"
        #expect(try read("--a b:c--", type: quoted).isEmpty)
    }

    @Test(arguments: [
        (#"filename="a.png""#, "a.png"), (#"filename="a\"b.png""#, "a\"b.png"), (#"filename="a%22b.png""#, "a\"b.png"),
        (#"filename="C:\dir\a;b.png""#, #"C:\dir\a;b.png"#), ("filename=plain.txt", "plain.txt"),
        (#"filename="x"; filename*=UTF-8''%C3%A4.png"#, "ä.png"), (#"filename="""#, ""),
        (#"filename="x"; filename*=latin1''%E4"#, "x"),
    ])
    func readsFileNames(_ parameter: String, _ name: String) throws {
        let lines = "content-disposition: form-data; name=\"File\"; \(parameter)\r\nCONTENT-TYPE: image/png\r\n"
        let head = try PartHead(Array(lines.utf8)[...])
        #expect(head.fileName == name)
        #expect(head.contentType == "image/png")
    }
}

@Suite struct UploadFormTests {
    private func form(_ body: String, maxFile: Int64 = 1000, headers: [String: String] = [:]) throws(Refusal)
        -> UploadForm
    {
        var values = ["CONTENT_TYPE": "multipart/form-data; boundary=b", "CONTENT_LENGTH": "\(body.utf8.count)"]
        values.merge(headers) { _, new in new }
        return try UploadForm(try request(values, body: Array(body.utf8)), maxFile: maxFile, folder: "/tmp")
    }

    private func part(_ name: String, _ text: String) -> String {
        "--b\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n\(text)\r\n"
    }

    @Test func theFileIsOnDiskAndTheRestAreTexts() throws {
        let form = try form(part("File", "abc") + part("ChunkIndex", "7") + part("Other", "ä") + "--b--")
        #expect(form.file.size == 3)
        #expect(form.file.content.part().md5() == "900150983cd24fb0d6963f7d28e17f72")
        #expect(try form.number("ChunkIndex") == 7)
        #expect(form["Other"] == "ä")
        #expect(form["None"] == nil)
        #expect(throws: Never.self) { try self.form(part("x", "a") + part("File", "a") + part("x", "b") + "--b--") }
    }

    @Test func fieldsAreNumbersOrRefused() throws {
        for text in ["", "+1", "1.5", "x", "99999999999999999999", "1 "] {
            let form = try form(part("File", "abc") + part("ChunkIndex", text) + "--b--")
            #expect { try form.number("ChunkIndex") } throws: { ($0 as? Refusal)?.field == "ChunkIndex" }
        }
    }

    @Test func refusals() {
        func code(_ body: String, _ expected: ErrorCode, _ headers: [String: String] = [:]) {
            #expect { try form(body, headers: headers) } throws: { ($0 as? Refusal)?.code == expected }
        }
        code(part("ChunkIndex", "1") + "--b--", .invalid)
        code(part("File", "") + "--b--", .invalid)
        code(part("File", "a") + part("File", "b") + "--b--", .malformed)
        code(part("File", "a") + part("Sign", "a") + part("Sign", "b") + "--b--", .malformed)
        code(part("File", "a") + part("ChunkIndex", "1") + part("ChunkIndex", "1") + "--b--", .malformed)
        code(part("File", "a") + part("x", String(repeating: "x", count: 8193)) + "--b--", .malformed)
        code(part("File", String(repeating: "x", count: 1001)) + "--b--", .tooLarge)
        code(part("File", "a"), .malformed)
        code(part("File", "a") + "--b--", .malformed, ["CONTENT_LENGTH": "500"])
        code(part("File", "a") + "--b--", .tooLarge, ["CONTENT_LENGTH": "600000"])
        code(part("File", "abc") + "--b--", .checksumMismatch, ["HTTP_CONTENT_MD5": "kAFQmDzST7DWlj99KOF/cg="])
        code(part("File", "abc") + "--b--", .checksumMismatch, ["HTTP_X_AMZ_CHECKSUM_SHA256": "x"])
    }

    @Test func checksumsThatMatch() throws {
        let headers = [
            "HTTP_CONTENT_MD5": "kAFQmDzST7DWlj99KOF/cg==",
            "HTTP_X_AMZ_CHECKSUM_SHA256": "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=",
        ]
        let file = try form(part("File", "abc") + "--b--", headers: headers).file
        #expect(file.size == 3 && file.toldMD5 == "kAFQmDzST7DWlj99KOF/cg==")
    }

    @Test func base64AsOthersWriteIt() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            #expect(base64(Array(text.utf8)) == expected)
        }
    }
}

@Suite struct FileRuleTests {
    @Test(arguments: [
        ("plan.pdf", "plan.pdf"), ("C:\\fakepath\\plan.pdf", "plan.pdf"), ("../../etc/passwd", "passwd"),
        ("..", "file"), ("", "file"), ("/", "file"), (" a\u{0}b\u{85}.txt ", "ab.txt"), ("../\u{301}x", "\u{301}x"),
    ])
    func namesAreCleaned(_ text: String, _ name: String) { #expect(FileName.cleaned(text) == name) }

    @Test func longNamesKeepTheirExtension() {
        let name = FileName.cleaned(String(repeating: "ä", count: 300) + ".jpeg")
        #expect(name.utf8.count <= 255 && name.utf8.count > 250 && name.hasSuffix("ä.jpeg"))
    }

    @Test(
        arguments: [
            ("/a?b#c", "/a?b#c"), ("/", "/"), ("/ä", "/%C3%A4"), ("https://chat.example", "https://chat.example"),
            ("https://chat.example/x", "https://chat.example/x"), ("//evil", nil), ("/\\evil", nil), ("/a\\b", nil),
            ("/\t/evil", nil), ("https://chat.example.evil/", nil), ("https://chat.example@evil/", nil), ("evil", nil),
            ("https://evil/", nil), ("javascript:x", nil), ("", nil), ("/a\r\nSet-Cookie: x", nil),
        ] as [(String, String?)])
    func redirectsStayHere(_ target: String, _ expected: String?) {
        #expect(SameOrigin.path(target, publicURL: "https://chat.example") == expected)
        #expect(SameOrigin.path(target, publicURL: "https://chat.example/") == expected)
        #expect(SameOrigin.path(target, publicURL: "https://chat.example/talk") == expected)
    }

    /// TLS may end at a proxy in front of nginx, and the service may live under a path.
    @Test func formsComeFromThePublicOrigin() throws {
        func check(_ origin: String) throws {
            let values = ["HTTP_ORIGIN": origin, "HTTP_HOST": "inside:8000", "REQUEST_SCHEME": "http"]
            try SameOrigin.check(
                try request(values), try Settings(testing: ["PUBLIC_URL": "https://chat.example/talk"]).web)
        }
        try check("https://chat.example")
        for origin in ["http://chat.example", "https://chat.example/talk", "https://evil.example", "null"] {
            #expect(throws: Refusal.self) { try check(origin) }
        }
    }
}
