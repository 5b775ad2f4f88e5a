import ChatCore
import Glibc

@testable import ws_relay

/// The other end of a stream of events, as a browser reads it: what is complete counts, and the id of the last such event is
/// where it goes on.
final class EventReader {
    let descriptor: Int32
    private var raw: [UInt8] = []
    private(set) var head = ""
    private(set) var frames: [WireValue] = []
    private(set) var comments = 0
    private(set) var hasEnded = false
    private(set) var retry: String?
    /// Without any id yet: where its reader was before.
    private(set) var lastID: String

    init(_ descriptor: Int32, lastID: String = "") {
        self.descriptor = descriptor
        self.lastID = lastID
    }

    deinit { close(descriptor) }

    func write(_ text: String) {
        let bytes = Array(text.utf8)
        _ = send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    func request(user: UInt64, ends: Int64 = 99_999_999, wait: Int? = nil, _ more: [String] = []) {
        let wait = wait.map { "&wait=\($0)" } ?? ""
        let id = lastID.isEmpty ? [] : ["Last-Event-ID: \(lastID)"]
        let lines = ["GET /api/v1/events?token=\(ws_relay_id(user))%20\(ends)\(wait) HTTP/1.1", "Host: h"] + id + more
        write((lines + ["", ""]).joined(separator: "\r\n"))
    }

    func read() {
        var news = 0
        while true {
            let got = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { buffer in
                let got = recv(descriptor, buffer.baseAddress!, buffer.count, Int32(MSG_DONTWAIT))
                if got > 0 { raw.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<got])) }
                return got
            }
            if got == 0 { hasEnded = true }
            guard got > 0 else { break }
            news += got
        }
        guard news > 0 else { return }
        if head.isEmpty,
            let end = raw.indices.first(where: { raw[$0] == 13 && raw[$0...].starts(with: [13, 10, 13, 10]) })
        {
            head = String(decoding: raw[..<end], as: UTF8.self)
            raw.removeFirst(end + 4)
        }
        if head.contains("text/event-stream") { readEvents() }
    }

    private func readEvents() {
        var (start, line, id, data) = (0, 0, String?.none, [UInt8]())
        while let at = lineEnd(from: line) {
            let text = raw[line..<at]
            line = at + 1
            if text.isEmpty {
                start = line
                if let id { lastID = id }
                if !data.isEmpty { frames.append((try? JSONReader.decode(data)) ?? .string("unreadable")) }
                (id, data) = (nil, [])
            } else if text.first == UInt8(ascii: ":") {
                comments += 1
            } else if text.starts(with: "id: ".utf8) {
                id = String(decoding: text.dropFirst(4), as: UTF8.self)
            } else if text.starts(with: "data: ".utf8) {
                data += text.dropFirst(6)
            } else if text.starts(with: "retry: ".utf8) {
                retry = String(decoding: text.dropFirst(7), as: UTF8.self)
            } else {
                frames.append(.string("no line of an event: \(String(decoding: text, as: UTF8.self))"))
            }
        }
        raw.removeFirst(start)
    }

    private func lineEnd(from start: Int) -> Int? {
        raw.withUnsafeBytes { bytes in
            guard start < bytes.count, let base = bytes.baseAddress else { return nil }
            return memchr(base + start, 10, bytes.count - start).map { UnsafeRawPointer($0) - base }
        }
    }

    /// The frames since the last call.
    func take() -> [WireValue] {
        read()
        defer { frames = [] }
        return frames
    }

    func takeTypes() -> [String] { take().map { $0["Type"]?.string ?? "?" } }
    func takeSeqs() -> [Int64] { take().compactMap { $0["Seq"]?.int } }

    /// The answer to a long poll, once it is whole; its id is where the next goes on.
    func takeAnswer() -> WireValue? {
        read()
        guard hasEnded || raw.last == UInt8(ascii: "}"), let value = try? JSONReader.decode(raw) else { return nil }
        if let id = value["LastEventID"]?.string { lastID = id }
        return value
    }
}

func ws_relay_id(_ number: UInt64) -> UUID128 { id(number) }

extension TestRelay {
    func connectReader(lastID: String = "", sendBuffer: Int32? = nil) -> EventReader {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends)
        if var size = sendBuffer { setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, 4) }
        hub.accepted(ends[0])
        return EventReader(ends[1], lastID: lastID)
    }

    /// As the log is read: a few frames at a time.
    func answerPage(of log: [RoomFrame]) {
        for case .frames(let room, let after, _, _, let purpose) in takeLookups() {
            let found = Array(log.filter { $0.seq > after }.prefix(2))
            hub.handle(
                .frames(
                    room: room, after: after,
                    FrameRun(frames: found, through: found.last?.seq ?? after, newest: log.last?.seq ?? after), purpose)
            )
        }
        run()
    }

    /// A reader in these rooms; with `lastID` it goes on.
    func joinEvents(
        user: UInt64, rooms: [UInt64: UInt64] = [1: 0], lastID: String = "", wait: Int? = nil, ends: Int64 = 1_000_000
    ) -> EventReader {
        let reader = connectReader(lastID: lastID)
        reader.request(user: user, ends: ends, wait: wait)
        run()
        finishJoining(user: user, rooms: rooms)
        return reader
    }
}
