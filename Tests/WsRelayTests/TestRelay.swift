import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport

@testable import ws_relay

final class FakeFeed: Feed {
    var subscribed: [String] = []
    func subscribe(_ channel: String) { subscribed.append(channel) }
    func unsubscribe(_ channel: String) { subscribed.removeAll { $0 == channel } }
}

final class FakeCommands: CommandOutlet {
    var commands: [Command] = []
    var isFull = false
    func put(_ command: Command, encoded: [UInt8], from socket: UInt64) -> Bool {
        if !isFull { commands.append(command) }
        return !isFull
    }
    func endTick() {}
}

final class FakeLookups: LookupOutlet {
    var asked: [Lookup] = []
    func ask(_ lookup: Lookup) -> Bool {
        asked.append(lookup)
        return true
    }
}

final class FakeEphemerals: EphemeralOutlet {
    var frames: [RoomFrame] = []
    var presences: [Presence] = []
    func publish(_ frame: RoomFrame, in room: UUID128) { frames.append(frame) }
    func note(_ presence: Presence) { presences.append(presence) }
    func renew(_ users: [UUID128], at unixMilliseconds: Int64) {}
    var charged: [RateCount] = []
    func charge(_ counts: [RateCount]) { charged += counts }
    var delivered: [ClosedRange<UInt64>] = []
    func noteDelivery(of room: UUID128, first: UInt64, last: UInt64, sockets: Int) {
        delivered.append(first...last)
    }
    var alive: [UUID128] = []
    func noteLife(of user: UUID128, at unixMilliseconds: Int64) { alive.append(user) }
    var beats = 0
    func beat() { beats += 1 }
}

/// A token is the user's id, a blank, and the Unix second at which it ends.
final class FakeTokens: TokenVerifier {
    func verify(_ token: String) throws(Refusal) -> Identity {
        let parts = token.split(separator: " ")
        guard parts.count == 2, let user = UUID128(String(parts[0])), let end = Int64(parts[1]) else {
            throw Refusal(.unauthorized, "no")
        }
        return Identity(user: user, expiresAt: end, issuedAt: 500, tokenID: "id-\(user)")
    }
}

func id(_ number: UInt64) -> UUID128 { UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0000 | number) }

/// A hub with real sockets; the test plays everything else and moves the clock.
final class TestRelay {
    let feed = FakeFeed()
    let commands = FakeCommands()
    let lookups = FakeLookups()
    let ephemerals = FakeEphemerals()
    let hub: Hub
    var milliseconds: Int64 = 1_000_000

    init(
        _ values: [String: String] = [:], memory: RelayMemory? = nil, writesPerTick: Int? = nil
    ) throws {
        let settings = try Settings(testing: ["WS_RESUME_GRACE_MS": "0"].merging(values) { $1 }).relay
        hub = Hub(
            settings: settings, relayID: 7, tokens: FakeTokens(), feed: feed, commands: commands, lookups: lookups,
            ephemerals: ephemerals, memory: memory ?? RelayMemory(capacity: settings.maxConnections),
            writesPerTick: writesPerTick, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        hub.beginTick(milliseconds: milliseconds, unixMilliseconds: milliseconds)
    }

    /// Runs until nothing happens any more.
    func run() {
        for _ in 0..<100 {
            var some = false
            hub.endTick()
            hub.sockets.epoll.wait(milliseconds: 0) {
                some = true
                hub.handle($0)
            }
            hub.endTick()
            if !some { return }
        }
    }

    func pass(seconds: Int) {
        for _ in 0..<seconds {
            milliseconds += 1000
            hub.beginTick(milliseconds: milliseconds, unixMilliseconds: milliseconds)
            hub.everySecond()
            run()
        }
    }

    func connect(sendBuffer: Int32? = nil) -> TestClient {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0, &ends)
        if var size = sendBuffer { setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, 4) }
        hub.accepted(ends[0])
        return TestClient(ends[1])
    }

    /// Only the request; no confirmation, no look-up result.
    func greet(user: UInt64, ends: Int64 = 1_000_000, subprotocol: String? = nil, early: [UInt8] = []) -> TestClient {
        let client = connect()
        client.upgrade(token: "\(id(user))%20\(ends)", subprotocol: subprotocol, early: early)
        run()
        return client
    }

    /// All steps up to `welcome`, with these rooms.
    func join(
        user: UInt64, rooms: [UInt64: UInt64] = [1: 0], ends: Int64 = 1_000_000, subprotocol: String? = nil
    ) -> TestClient {
        let client = greet(user: user, ends: ends, subprotocol: subprotocol)
        finishJoining(user: user, rooms: rooms)
        client.read()
        return client
    }

    func finishJoining(user: UInt64, rooms: [UInt64: UInt64]) {
        hub.handle(.subscribed(channel: "user:\(id(user))"))
        for case .memberships(let asked, let epoch) in takeLookups() where asked == id(user) {
            hub.handle(
                .memberships(
                    of: asked, epoch: epoch,
                    rooms.map { Membership(user: asked, room: id($0.key), lastSeq: $0.value) }))
        }
        for room in rooms.keys.sorted() { hub.handle(.subscribed(channel: "room:\(id(room))")) }
        answerFrames { _ in [] }
        run()
    }

    func takeLookups() -> [Lookup] {
        defer { lookups.asked = [] }
        return lookups.asked
    }

    /// Plays the log: `frames` of a room in order.
    func answerFrames(_ frames: (UUID128) -> [RoomFrame]) {
        for case .frames(let room, let after, _, let limit, let purpose) in takeLookups() {
            let found = Array(frames(room).filter { $0.seq > after }.prefix(limit))
            let through = found.last?.seq ?? after
            hub.handle(
                .frames(
                    room: room, after: after,
                    FrameRun(frames: found, through: through, newest: through), purpose))
        }
        run()
    }

    func publish(_ frames: RoomFrame..., room: UInt64 = 1) {
        hub.handle(
            .message(
                channel: "room:\(id(room))", payload: FrameChunk(room: id(room), frames: frames).encode()))
        run()
    }
}

extension RoomFrame {
    /// A frame whose `Data` is its own Seq.
    static func numbered(
        _ seq: UInt64, kind: FrameKind = .newMessage, socket: UInt64? = nil, sign: String? = nil,
        joined: [UInt64] = [], left: [UInt64] = [], room: UInt64 = 1, padding: Int = 0
    ) -> RoomFrame {
        let body = FrameBody(room: id(room), seq: Int64(seq)) {
            if padding == 0 { $0.int(Int64(seq)) } else { $0.string(String(repeating: "x", count: padding)) }
        }
        return RoomFrame(
            seq: seq, kind: kind, origin: socket.map { SocketAddress(relay: 7, socket: $0) }, sign: sign,
            joined: joined.map { id($0) }, left: left.map { id($0) }, body: body)
    }
}

/// The client end of a socket: speaks WebSocket and records the frames.
final class TestClient {
    let descriptor: Int32
    var raw: [UInt8] = []
    var head = ""
    var frames: [WireValue] = []
    /// The same frames as they came.
    var payloads: [[UInt8]] = []
    var pings = 0
    var compressed = 0
    private let deflate = Deflate()
    var pongs: [[UInt8]] = []
    var closed: (code: UInt16, reason: String)?
    var hasEnded = false

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    func write(_ bytes: [UInt8]) { _ = Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) }

    func upgrade(token: String, subprotocol: String?, early: [UInt8]) {
        write(
            Array(Self.head("?token=\(token)", subprotocol.map { ["Sec-WebSocket-Protocol: \($0)"] } ?? []).utf8)
                + early)
    }

    static func head(_ query: String, _ more: [String] = []) -> String {
        let lines = [
            "GET /ws/v1/chat\(query) HTTP/1.1", "Host: h", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        return (lines + more + ["", ""]).joined(separator: "\r\n")
    }

    func ask(_ entries: (String, WireValue)...) {
        write(ClientFrame.bytes(2, Self.pack(entries)))
    }

    static func pack(_ entries: [(String, WireValue)]) -> [UInt8] {
        var writer = MessagePackWriter()
        writer.value(.map(entries.map { .init($0.0, $0.1) }))
        return writer.bytes
    }

    func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let got = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if got == 0 { hasEnded = true }
            guard got > 0 else { break }
            raw.append(contentsOf: buffer[..<got])
        }
        parse()
    }

    private func parse() {
        if head.isEmpty {
            guard
                let end = raw.indices.first(where: { raw[$0] == 13 && raw[$0...].starts(with: [13, 10, 13, 10]) })
            else { return }
            head = String(decoding: raw[..<end], as: UTF8.self)
            raw.removeFirst(end + 4)
            guard head.contains(" 101 ") else { return }
        }
        var at = 0
        defer { raw.removeFirst(at) }
        while case (let opcode, var payload, let end)? = frame(at) {
            if raw[at] & 0x40 != 0, case .message(let inflated) = deflate.inflate(payload, most: 1 << 20) {
                (payload, compressed) = (inflated, compressed + 1)
            }
            at = end
            switch opcode {
            case 1: frames.append((try? JSONReader.decode(payload)) ?? .null)
            case 2:
                payloads.append(payload)
                frames.append((try? MessagePackReader.decode(payload)) ?? .null)
            case 8:
                closed = (
                    UInt16(payload[0]) << 8 | UInt16(payload[1]), String(decoding: payload[2...], as: UTF8.self)
                )
            case 9: pings += 1
            default: pongs.append(payload)
            }
        }
    }

    /// The frame that begins at `at`, and where the next begins.
    private func frame(_ at: Int) -> (UInt8, [UInt8], Int)? {
        guard raw.count >= at + 2 else { return nil }
        let (start, length): (Int, Int)
        switch raw[at + 1] {
        case 126 where raw.count >= at + 4: (start, length) = (at + 4, Int(raw[at + 2]) << 8 | Int(raw[at + 3]))
        case 127 where raw.count >= at + 10:
            (start, length) = (at + 10, raw[at + 2..<at + 10].reduce(0) { $0 << 8 | Int($1) })
        case 126, 127: return nil
        default: (start, length) = (at + 2, Int(raw[at + 1]))
        }
        guard raw.count >= start + length else { return nil }
        return (raw[at] & 0x0F, Array(raw[start..<start + length]), start + length)
    }

    /// Returns the frames since the last call.
    func take() -> [WireValue] {
        read()
        defer { frames = [] }
        return frames
    }

    func takeTypes() -> [String] { take().map { $0["Type"]?.string ?? "?" } }
    func takeSeqs() -> [Int64] { take().map { $0["Seq"]?.int ?? -1 } }
}
