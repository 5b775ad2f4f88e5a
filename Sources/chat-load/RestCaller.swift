import ChatAdapters
import ChatCore
import Glibc

/// The calls of one thread.
final class RestCaller {
    private let place: Installation
    private let client: WebClient
    private static let enough = 60 * second
    private var lastGood = monotonic()
    private var interruptsBefore = interrupts
    var calls: [Int64] = []

    init(_ place: Installation) {
        self.place = place
        client = WebClient(authorities: place.authorities)
    }

    struct Reply {
        var status: Int
        var body: WireValue
        /// Milliseconds.
        var retryAfter: Int64?
        /// For people: short, and without characters that move a cursor.
        var code: String

        var isTransient: Bool { [0, 429, 502, 503, 504].contains(status) }

        static func problem(_ code: String) -> Reply { Reply(status: 400, body: .null, retryAfter: nil, code: code) }
    }

    /// - Returns: status 0 and the reason as `code` when there is no answer.
    func call(
        _ method: String, _ path: String, token: String, type: String = "application/json", body: [UInt8]? = nil,
        headers: [String] = []
    ) -> Reply {
        let start = monotonic()
        defer { calls.append(monotonic() - start) }
        let lines = ["Authorization: Bearer \(token)", "User-Agent: chat-load"] + headers
        do throws(WebClient.Failure) {
            let answer = try client.send(
                method, path.utf8.starts(with: "/".utf8) ? place.api + path : path,
                headers: body == nil ? lines : lines + ["Content-Type: \(type)"], body: body)
            let value = (try? JSONReader.decode(answer.body)) ?? .null
            let error = value["Error"]
            let reply = Reply(
                status: answer.status, body: value,
                retryAfter: Pause.asked(error?["RetryAfter"]) ?? Pause.asked(seconds: answer.retryAfter),
                code: printable(error?["Code"]?.string ?? "HTTP \(answer.status)", atMost: 80))
            if !reply.isTransient { lastGood = monotonic() }
            return reply
        } catch {
            return Reply(status: 0, body: .null, retryAfter: nil, code: "no answer: \(printable(error.description))")
        }
    }

    /// Begins another piece of work, which has a minute for its first good answer.
    func begin() { (lastGood, interruptsBefore) = (monotonic(), interrupts) }

    /// The reason why the rest of this piece of work is skipped: Ctrl-C, or only temporary failures for a minute.
    var givenUp: String? {
        if interrupts != interruptsBefore { return "interrupted" }
        return monotonic() - lastGood > Self.enough ? "no answer for a minute" : nil
    }

    /// Repeats a call after temporary failures.
    ///
    /// - Parameter pause: milliseconds, at most, between two of them.
    /// - Returns: the last answer.
    func repeating(_ times: Int, pause: Int64, also queued: Bool = false, _ ask: () -> Reply) -> Reply {
        var reply = ask()
        for _ in 1..<times where reply.isTransient || queued && reply.status == 202 {
            guard givenUp == nil else { break }
            Pause.sleep(milliseconds: min(reply.retryAfter ?? 500, pause))
            reply = ask()
        }
        return reply
    }

    static func json(_ fields: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.map(.short, fields)
        return writer.take()
    }

    func run(_ job: RestThreads.Job) -> RestThreads.JobOutcome {
        switch job {
        case .upload(_, let room, let sign, let token, let bytes): upload(room, sign, token, bytes)
        case .history(_, _, let room, let token, let wanted): history(room, token, wanted)
        }
    }

    /// Only an answer of 4xx is a refusal. After another one nobody knows: the request may have been carried out, so it is
    /// sent again with the same Sign.
    private func failed(_ reply: Reply) -> RestThreads.JobOutcome {
        reply.isTransient || reply.code == "conflict" || !(400..<500).contains(reply.status)
            ? .again(reply.code, reply.retryAfter ?? 500) : .refused(reply.code)
    }

    private func upload(_ room: String, _ sign: String, _ token: String, _ bytes: Int) -> RestThreads.JobOutcome {
        let draft = Self.json {
            $0.field("Content", "\(sign).bin")
            $0.field("ContentType", "file")
            $0.field("Sign", sign)
        }
        let first = call("POST", "/rooms/\(room)/messages", token: token, body: draft)
        guard first.status == 201 || first.status == 200, let id = first.body["Data"]?["ID"]?.string, isID(id) else {
            return first.status == 202 ? .again("queued", 200) : failed(first)
        }
        // An answer to a repeated draft whose file was complete before.
        if let seq = first.body["Data"]?["Seq"]?.seq { return .stored(seq: seq) }
        let (type, form) = Self.form(sign, bytes)
        var reply = call("POST", "/files/\(id)/upload", token: token, type: type, body: form)
        // 202: the file is stored, and the message gets its Seq soon.
        for _ in 0..<50 where reply.status == 202 {
            usleep(100_000)
            reply = call("GET", "/files/\(id)/upload", token: token)
        }
        if reply.status == 202 { return .again("queued", 200) }
        guard reply.status == 200 else { return failed(reply) }
        if let seq = reply.body["Data"]?["Message"]?["Seq"]?.seq { return .stored(seq: seq) }
        let message = call("GET", "/messages/\(id)", token: token)
        guard message.status == 200, let seq = message.body["Data"]?["Seq"]?.seq else { return .again("queued", 200) }
        return .stored(seq: seq)
    }

    /// A form with the whole file as one chunk, and its type.
    private static func form(_ sign: String, _ bytes: Int) -> (String, [UInt8]) {
        let line = "chat-load-\(sign)"
        func part(_ name: String, _ more: String = "") -> String {
            "--\(line)\r\nContent-Disposition: form-data; name=\"\(name)\"\(more)\r\n"
        }
        var form = Array("\(part("ChunkIndex"))\r\n1\r\n\(part("TotalChunk"))\r\n1\r\n".utf8)
        form += Array("\(part("File", "; filename=\"x\""))Content-Type: application/octet-stream\r\n\r\n".utf8)
        form += (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        return ("multipart/form-data; boundary=\(line)", form + Array("\r\n--\(line)--\r\n".utf8))
    }

    private func history(_ room: String, _ token: String, _ wanted: [ClosedRange<Int64>]) -> RestThreads.JobOutcome {
        var found: [RestThreads.Found] = []
        for range in wanted {
            let problem = pages(room, token, after: range.lowerBound - 1, through: range.upperBound) {
                found.append($0)
            }
            if let problem { return failed(problem) }
        }
        return .messages(found)
    }

    /// Passes on every message after a Seq, oldest first. The reading ends at the last Seq, whatever the server says
    /// about a next page.
    ///
    /// - Parameter isWhole: reads the whole history of a room: then a message after the last Seq is an error, and
    ///   Ctrl-C ends the reading.
    /// - Returns: the failed answer, or the fault in a page; nil after the last page.
    func pages(
        _ room: String, _ token: String, after: Int64, through: Int64, isWhole: Bool = false,
        _ take: (RestThreads.Found) -> Void
    ) -> Reply? {
        var place = after
        // All pages but the last should be full, but a server may send shorter ones.
        var pagesLeft = (through - after) / 20 + 20
        while place < through {
            guard pagesLeft > 0 else { return .problem("its pages have no end") }
            if isWhole, interrupts != interruptsBefore { return .problem("interrupted") }
            pagesLeft -= 1
            let reply = call("GET", "/rooms/\(room)/messages?after=\(place)&limit=100", token: token)
            guard reply.status == 200, let messages = reply.body["Data"]?.array else { return reply }
            guard messages.count <= 100 else { return .problem("a page has more messages than were asked for") }
            let before = place
            for message in messages {
                guard let seq = message["Seq"]?.seq else { return .problem("a Seq in it is not a number") }
                guard seq > before else { return .problem("its pages repeat or go backwards") }
                guard seq <= through else { return isWhole ? .problem("it has Seq \(seq), which is impossible") : nil }
                place = max(place, seq)
                let sign = message["Sign"]?.string ?? ""
                take(RestThreads.Found(seq: seq, sign: sign.utf8.count <= 64 ? sign : ""))
            }
            if reply.body["Next"]?.isNull != false { return nil }
            guard place > before else { return .problem("an empty page has a next page") }
        }
        return nil
    }
}

/// Whether a server's id of a room or message is safe in an address and on a terminal.
func isID(_ text: String) -> Bool {
    text.utf8.count == 36
        && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) || $0 == UInt8(ascii: "-") }
}

/// The description that the service gives of itself.
enum WebDocument {
    /// - Returns: the version in it.
    static func read(_ url: String, _ place: Installation) throws -> String? {
        let answer = try WebClient(authorities: place.authorities).send("GET", url, headers: [], timeout: .seconds(5))
        guard answer.status == 200 else { return nil }
        for line in answer.body.prefix(2000).split(separator: UInt8(ascii: "\n")) {
            let words = Credentials.words(Array(line))
            if words.count == 2, words[0] == "version:" { return printable(words[1], atMost: 40) }
        }
        return nil
    }
}
