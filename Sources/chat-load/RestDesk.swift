import CLoad
import ChatAdapters
import ChatCore
import Glibc

/// REST calls beside the sockets: a few threads with a kept connection each. The results wake the run's own thread.
final class RestDesk: @unchecked Sendable {
    enum Job: Sendable {
        /// A message with a file: its draft, and the file as one chunk. Both may be repeated.
        case upload(number: Int, room: String, sign: String, token: String, bytes: Int)
        /// The messages that `resync` says to fetch.
        case history(member: Int, stream: Int, room: String, token: String, wanted: [ClosedRange<Int64>])
    }

    enum Outcome: Sendable {
        case stored(seq: Int64)
        /// Try again after so many milliseconds.
        case again(String, Int)
        case refused(String)
        case messages([Found])
    }

    struct Found: Sendable {
        let seq: Int64
        let sign: String
    }

    struct Done: Sendable {
        let job: Job
        let outcome: Outcome
        /// Nanoseconds of each call.
        let calls: [Int64]
    }

    private let place: Installation
    private let monitor = Monitor()
    private var jobs: [Job] = []
    private var done: [Done] = []
    private(set) var open = 0
    let wake = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))

    init(_ place: Installation, threads: Int) {
        self.place = place
        for _ in 0..<threads { _ = startThread { [self] in work() } }
    }

    func add(_ job: Job) {
        open += 1
        monitor.locked {
            jobs.append(job)
            monitor.notify()
        }
    }

    func take() -> [Done] {
        var count: UInt64 = 0
        _ = read(wake, &count, 8)
        let found = monitor.locked {
            defer { done = [] }
            return done
        }
        open -= found.count
        return found
    }

    private func work() {
        let caller = RestCaller(place)
        while true {
            let job = monitor.locked {
                while jobs.isEmpty { monitor.wait(until: monotonic() / millisecond + 60_000) }
                return jobs.removeFirst()
            }
            caller.calls = []
            let outcome = caller.run(job)
            monitor.locked { done.append(Done(job: job, outcome: outcome, calls: caller.calls)) }
            var one: UInt64 = 1
            _ = write(wake, &one, 8)
        }
    }
}

/// The calls of one thread.
final class RestCaller {
    private let place: Installation
    private let client: WebClient
    var calls: [Int64] = []

    init(_ place: Installation) {
        self.place = place
        client = WebClient(authorities: place.authorities)
    }

    struct Reply {
        var status: Int
        var body: WireValue
        /// Milliseconds.
        var retryAfter: Int?
        var code: String

        var isTransient: Bool { [0, 429, 502, 503, 504].contains(status) }
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
            return Reply(
                status: answer.status, body: value,
                retryAfter: error?["RetryAfter"]?.int.map { Int(clamping: $0) }
                    ?? answer.retryAfter.map { min($0, 3600) * 1000 },
                code: error?["Code"]?.string ?? "HTTP \(answer.status)")
        } catch {
            return Reply(status: 0, body: .null, retryAfter: nil, code: "no answer: \(error)")
        }
    }

    static func json(_ fields: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.map(.short, fields)
        return writer.take()
    }

    func run(_ job: RestDesk.Job) -> RestDesk.Outcome {
        switch job {
        case .upload(_, let room, let sign, let token, let bytes): upload(room, sign, token, bytes)
        case .history(_, _, let room, let token, let wanted): history(room, token, wanted)
        }
    }

    private func failed(_ reply: Reply) -> RestDesk.Outcome {
        reply.isTransient || reply.code == "conflict"
            ? .again(reply.code, reply.retryAfter ?? 500) : .refused(reply.code)
    }

    private func upload(_ room: String, _ sign: String, _ token: String, _ bytes: Int) -> RestDesk.Outcome {
        let draft = Self.json {
            $0.field("Content", "\(sign).bin")
            $0.field("ContentType", "file")
            $0.field("Sign", sign)
        }
        let first = call("POST", "/rooms/\(room)/messages", token: token, body: draft)
        guard first.status == 201 || first.status == 200, let id = first.body["Data"]?["ID"]?.string else {
            return first.status == 202 ? .again("queued", 200) : failed(first)
        }
        // An answer to a repeated draft whose file was complete before.
        if let seq = first.body["Data"]?["Seq"]?.int { return .stored(seq: seq) }
        let line = "chat-load-\(sign)"
        func part(_ name: String, _ more: String = "") -> String {
            "--\(line)\r\nContent-Disposition: form-data; name=\"\(name)\"\(more)\r\n"
        }
        var form = Array("\(part("ChunkIndex"))\r\n1\r\n\(part("TotalChunk"))\r\n1\r\n".utf8)
        form += Array("\(part("File", "; filename=\"x\""))Content-Type: application/octet-stream\r\n\r\n".utf8)
        form += (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        form += Array("\r\n--\(line)--\r\n".utf8)
        var reply = call(
            "POST", "/files/\(id)/upload", token: token, type: "multipart/form-data; boundary=\(line)", body: form)
        // 202: all is stored, and the message gets its Seq soon.
        for _ in 0..<50 where reply.status == 202 {
            usleep(100_000)
            reply = call("GET", "/files/\(id)/upload", token: token)
        }
        if reply.status == 202 { return .again("queued", 200) }
        guard reply.status == 200 else { return failed(reply) }
        if let seq = reply.body["Data"]?["Message"]?["Seq"]?.int { return .stored(seq: seq) }
        let message = call("GET", "/messages/\(id)", token: token)
        guard message.status == 200, let seq = message.body["Data"]?["Seq"]?.int else { return .again("queued", 200) }
        return .stored(seq: seq)
    }

    private func history(_ room: String, _ token: String, _ wanted: [ClosedRange<Int64>]) -> RestDesk.Outcome {
        var found: [RestDesk.Found] = []
        for range in wanted {
            let problem = pages(room, token, after: range.lowerBound - 1, through: range.upperBound) {
                found.append($0)
            }
            if let problem { return failed(problem) }
        }
        return .messages(found)
    }

    /// Passes on every message after a Seq, oldest first.
    ///
    /// - Returns: the answer that was no page; nil after the last page.
    func pages(
        _ room: String, _ token: String, after: Int64, through: Int64 = .max, _ take: (RestDesk.Found) -> Void
    ) -> Reply? {
        var place = after
        while place < through {
            let reply = call("GET", "/rooms/\(room)/messages?after=\(place)&limit=100", token: token)
            guard reply.status == 200, let messages = reply.body["Data"]?.array else { return reply }
            let before = place
            for message in messages {
                guard let seq = message["Seq"]?.int else { continue }
                place = max(place, seq)
                guard seq <= through else { return nil }
                take(RestDesk.Found(seq: seq, sign: message["Sign"]?.string ?? ""))
            }
            if messages.isEmpty || place == before || reply.body["Next"]?.isNull != false { return nil }
        }
        return nil
    }
}

/// The description that the service gives of itself.
enum WebDocument {
    /// - Returns: the version in it.
    static func read(_ url: String, _ place: Installation) throws -> String? {
        let answer = try WebClient(authorities: place.authorities).send("GET", url, headers: [], timeout: 5000)
        guard answer.status == 200 else { return nil }
        for line in answer.body.prefix(2000).split(separator: UInt8(ascii: "\n")) {
            let words = Credentials.words(Array(line))
            if words.count == 2, words[0] == "version:" { return words[1] }
        }
        return nil
    }
}

func pause(milliseconds: Int) { usleep(UInt32(max(0, min(milliseconds, 60_000))) * 1000) }
