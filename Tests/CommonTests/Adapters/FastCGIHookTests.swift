import ChatCore
import Testing

@testable import ChatAdapters

/// The answers of FastCGI servers, complete and broken.
@Suite struct FastCGIAnswerTests {
    private typealias Failure = HTTPTransfer.Failure

    private static func record(_ type: UInt8, _ text: String, request: UInt8 = 1, padding: UInt8 = 0) -> [UInt8] {
        record(type, Array(text.utf8), request: request, padding: padding)
    }

    private static func record(_ type: UInt8, _ content: [UInt8], request: UInt8 = 1, padding: UInt8 = 0) -> [UInt8] {
        [1, type, 0, request, UInt8(content.count >> 8), UInt8(content.count & 255), padding, 0] + content
            + [UInt8](repeating: 0xFF, count: Int(padding))
    }

    private static let end = record(3, [0, 0, 0, 0, 0, 0, 0, 0])

    private func answer(_ bytes: [UInt8], pieces: Int = .max) throws -> HTTPTransfer.Answer {
        var answer = FastCGIAnswer()
        var rest = bytes[...]
        while !rest.isEmpty {
            try answer.receive(rest.prefix(pieces))
            rest = rest.dropFirst(pieces)
        }
        #expect(answer.isOver)
        return try answer.answer()
    }

    @Test(arguments: [1, 2, 3, 7, 8, 9, 100, Int.max])
    func piecesOfAnySize(_ pieces: Int) throws {
        let bytes =
            Self.record(6, "Content-type: text/html\r\nstatus:  503 Busy\r\nRetry-After: 7\r\n", padding: 5)
            + Self.record(7, "PHP Warning:  \u{1B}[31mred\nmore")
            + Self.record(6, "\r\n{\"a\":\n") + Self.record(6, "1}") + Self.record(6, "") + Self.end
        let answer = try answer(bytes, pieces: pieces)
        #expect(answer.status == 503)
        #expect(answer.retryAfter == 7)
        #expect(answer.body == Array("{\"a\":\n1}".utf8))
        #expect(answer.complaint == "PHP Warning:   [31mred")
    }

    @Test func withoutAStatusItIs200() throws {
        #expect(try answer(Self.record(6, "X: y\n\nbody") + Self.end).status == 200)
        #expect(try answer(Self.record(6, "\r\n") + Self.end).body == [])
    }

    @Test func recordsOfOthersAreIgnored() throws {
        let bytes =
            Self.record(6, "Status: 500 No\n\n", request: 2) + Self.record(10, "values", request: 0)
            + Self.record(99, "what") + Self.record(6, "Status: 204 No Content\n\n") + Self.end
        #expect(try answer(bytes).status == 204)
    }

    @Test func whatComesAfterTheEndIsNotRead() throws {
        #expect(try answer(Self.record(6, "A: b\n\nx") + Self.end + Self.record(6, "y") + [9, 9, 9]).body == [0x78])
    }

    @Test(arguments: [
        Array("HTTP/1.1 200 OK\r\n\r\n".utf8), record(6, "no header\n\n") + end, record(6, "A: b\n") + end, end,
        record(6, "Status: 20\n\n") + end, record(6, "Status: +20\n\n") + end, record(6, "Status: 099 x\n\n") + end,
        record(6, "Status: 99999999999999999999\n\n") + end, record(6, "Status:\n\n") + end,
        record(3, [0, 0, 0, 0, 2, 0, 0, 0]), record(3, [0, 0, 0, 0, 1, 0, 0, 0]),
        [UInt8](repeating: 0, count: 64),
    ])
    func brokenOnes(_ bytes: [UInt8]) {
        #expect(throws: Failure.self) { try answer(bytes) }
    }

    @Test func anAnswerWithoutEndIsRefused() {
        var answer = FastCGIAnswer()
        let record = Self.record(6, [UInt8](repeating: 0x20, count: 65_535))[...]
        #expect(throws: Failure.self) { for _ in 0...16 { try answer.receive(record) } }
    }

    @Test func complaintsAreKeptShort() throws {
        var bytes: [UInt8] = []
        for _ in 0..<50 { bytes += Self.record(7, [UInt8](repeating: 0x61, count: 60_000)) }
        let answer = try answer(bytes + Self.record(6, "Status: 500 x\n\n") + Self.end)
        #expect(answer.complaint?.utf8.count == 200)
    }
}

/// The bytes that a FastCGI server gets.
@Suite struct FastCGIRequestTests {
    @Test(arguments: [0, 1, 127, 65_528, 65_529, 200_000])
    func theBodyAndTheParametersArrive(_ count: Int) throws {
        let body = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let long = String(repeating: "é", count: 100)
        let bytes = FastCGIRequest.bytes(
            body, for: try FastCGIAddress("fcgi://unix:/run/php.sock/srv/app/chat.php"),
            [("X-Chat-Event", "push"), ("X-Long", long)])
        var streams: [UInt8: [UInt8]] = [:]
        var ends: [UInt8] = []
        var rest = bytes[...]
        while let type = rest.dropFirst().first {
            let head = Array(rest.prefix(8))
            let length = Int(head[4]) << 8 | Int(head[5])
            #expect(head[0] == 1 && head[2] == 0 && head[3] == 1 && head[6] == 0)
            streams[type, default: []] += rest.dropFirst(8).prefix(length)
            if length == 0 { ends.append(type) }
            rest = rest.dropFirst(8 + length)
        }
        #expect(streams[1] == [0, 1, 0, 0, 0, 0, 0, 0])
        #expect(streams[5] == body)
        #expect(ends == [4, 5])
        let parameters = Self.parameters(streams[4] ?? [])
        #expect(parameters["SCRIPT_FILENAME"] == "/srv/app/chat.php")
        #expect(parameters["DOCUMENT_ROOT"] == "/srv/app" && parameters["SCRIPT_NAME"] == "/chat.php")
        #expect(parameters["CONTENT_LENGTH"] == "\(count)" && parameters["REQUEST_METHOD"] == "POST")
        #expect(parameters["HTTP_X_CHAT_EVENT"] == "push" && parameters["HTTP_X_LONG"] == long)
    }

    private static func parameters(_ bytes: [UInt8]) -> [String: String] {
        var found: [String: String] = [:]
        var rest = bytes[...]
        func length() -> Int {
            let first = Int(rest.removeFirst())
            guard first > 127 else { return first }
            let more = rest.prefix(3).reduce(first & 127) { $0 << 8 | Int($1) }
            rest.removeFirst(3)
            return more
        }
        while !rest.isEmpty {
            let (name, value) = (length(), length())
            found[String(decoding: rest.prefix(name), as: UTF8.self)] =
                String(decoding: rest.dropFirst(name).prefix(value), as: UTF8.self)
            rest = rest.dropFirst(name + value)
        }
        return found
    }
}
