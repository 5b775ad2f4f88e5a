import ChatCore
import Foundation
import Glibc
import Testing

@testable import ws_relay

/// Random operations on the relay's tables, with real sockets: after each tick every slot is free or owned exactly
/// once, every user's list is whole, and epoll watches just the open descriptors. `RANDOM_SECONDS=1800` goes on with
/// fresh seeds (`make test-relay`); `RANDOM_SEED=7` runs one alone.
@Suite struct HubRandomTests {
    private static let steps = 1500
    private static let one = ProcessInfo.processInfo.environment["RANDOM_SEED"].flatMap(UInt64.init)
    private static let seconds = ProcessInfo.processInfo.environment["RANDOM_SECONDS"].flatMap(Int64.init) ?? 0

    @Test(arguments: one.map { [$0] } ?? Array(1...8))
    func theTablesStayWhole(seed: UInt64) throws { try Self.run(seed: seed) }

    @Test(.enabled(if: seconds > 0, "RANDOM_SECONDS says how long"))
    func theTablesStayWholeForLong() throws {
        let end = monotonicSeconds() + Self.seconds
        var seed = UInt64(truncatingIfNeeded: monotonicSeconds()) &* 1000
        while monotonicSeconds() < end {
            try Self.run(seed: seed)
            seed += 1
        }
        print("HubRandomTests: the last seed was \(seed)")
    }

    private static func run(seed: UInt64) throws {
        let world = try RandomWorld(seed: seed)
        for step in 0..<steps {
            world.step()
            if let fault = TableCheck(world.relay.hub).fault ?? world.heardWrongly() {
                Issue.record(
                    "seed \(seed), step \(step): \(fault)\n\(world.history.suffix(12).joined(separator: "\n"))")
                return
            }
        }
    }
}

private func monotonicSeconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec)
}

/// SplitMix64: the same steps for the same seed.
private struct SeededRandom: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

/// Users, their clients and their rooms, all acting at random.
private final class RandomWorld {
    private static let users: ClosedRange<UInt64> = 1...9
    private static let rooms: ClosedRange<UInt64> = 1...7

    private final class Player {
        let user: UInt64
        let client: TestClient
        let isJSON: Bool

        init(_ user: UInt64, _ client: TestClient, isJSON: Bool) {
            (self.user, self.client, self.isJSON) = (user, client, isJSON)
        }
    }

    /// Somebody who gets events, and is always back where they were: over all their connections every room's frames come in
    /// order, once, without a hole.
    private final class Follower {
        let user: UInt64
        var reader: EventReader?
        var wait: Int?
        var lastID = ""
        var seqs: [UInt64: UInt64] = [:]

        init(_ user: UInt64) { self.user = user }
    }

    let relay: TestRelay
    private var followers: [Follower] = []
    private(set) var history: [String] = []
    private var random: SeededRandom
    private var players: [Player] = []
    private var logs: [UInt64: [RoomFrame]] = [:]
    private var members: [UInt64: Set<UInt64>] = [:]
    /// Former members may still have frames of a room.
    private var formerMembers: [UInt64: Set<UInt64>] = [:]
    private var late: [Lookup] = []
    private let deflates: Bool

    init(seed: UInt64) throws {
        random = SeededRandom(state: seed)
        deflates = seed % 2 == 0
        relay = try TestRelay(
            [
                "WS_MAX_CONNECTIONS": "48", "WS_MAX_CONNECTIONS_PER_USER": "6", "WS_OUTBOX_BYTES": "65536",
                "WS_OUTBOX_SECONDS": "3", "WS_DEFLATE": deflates ? "on" : "off", "WS_HEARTBEAT": "4",
                "WS_IDLE_SECONDS": "20", "WS_RESUME_GRACE_MS": seed % 3 == 0 ? "400" : "0",
            ], writesPerTick: [96, 700, 5000][Int(seed % 3)])
        for room in Self.rooms {
            members[room] = Set(Self.users.filter { _ in chance(60) })
            formerMembers[room] = members[room]
            logs[room] = (1...UInt64(pick(1...300))).map { .numbered($0, room: room, padding: pick([0, 0, 40, 900])) }
        }
    }

    private func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
    private func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    private func pick<T>(_ list: [T]) -> T { list.randomElement(using: &random)! }
    private func last(_ room: UInt64) -> UInt64 { UInt64(logs[room]!.count) }

    private func note(_ what: String) { history.append(what) }

    func step() {
        if chance(30) { relay.milliseconds += Int64(pick(1...300)) }
        relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
        for _ in 0..<pick(1...4) { act() }
        if chance(70) { relay.hub.resumes.endHolds() }
        relay.hub.endTick()
        if chance(90) {
            relay.hub.sockets.epoll.wait(milliseconds: 0) {
                relay.hub.handle($0)
                relay.hub.endTickIfFull()
            }
        }
        relay.hub.endTick()
    }

    private func act() {
        switch pick(0...99) {
        case 0..<13: open()
        case 13..<16: follow()
        case 16..<30: readSome()
        case 30..<40: hangUp()
        case 40..<56: resume()
        case 56..<70: publish()
        case 70..<86: answer()
        case 86..<88: pass()
        case 88..<90: revoke()
        case 90..<93: ask()
        case 93..<95: tellUser()
        case 95..<96: misbehave()
        case 96..<98: reply()
        case 98: confirmAgain()
        default: if chance(20) { relay.hub.handle(.restored) }
        }
    }

    // MARK: Clients

    private func open() {
        guard players.count < 60 else { return hangUp() }
        let user = UInt64(pick(1...Int(Self.users.upperBound)))
        let client = relay.connect(sendBuffer: chance(40) ? 2048 : nil)
        let isJSON = chance(20)
        let more =
            (isJSON ? ["Sec-WebSocket-Protocol: chat.json"] : [])
            + (deflates && chance(60) ? ["Sec-WebSocket-Extensions: permessage-deflate"] : [])
        note("open user \(user) \(more)")
        client.write(Array(TestClient.head("?token=\(id(user))%2099999999", more).utf8))
        if chance(10) { return }
        if chance(30) { resume(of: Player(user, client, isJSON: isJSON)) }
        players.append(Player(user, client, isJSON: isJSON))
    }

    /// Connects, or hangs up at any moment: what was read until then counts.
    private func follow() {
        if followers.isEmpty { followers = (1...3).map { Follower($0) } }
        let follower = pick(followers)
        guard follower.reader == nil || chance(30) else { return }
        if follower.reader != nil, chance(50) {
            note("user \(follower.user) stops following")
            return follower.reader = nil
        }
        follower.wait = chance(30) ? pick(1...5) : nil
        note("user \(follower.user) follows, \(follower.wait.map { "waiting \($0)" } ?? "as a stream")")
        let reader = relay.connectReader(lastID: follower.lastID, sendBuffer: chance(40) ? 2048 : nil)
        reader.request(user: follower.user, wait: follower.wait)
        follower.reader = reader
    }

    private func hear(_ follower: Follower) -> String? {
        guard let reader = follower.reader, chance(25) else { return nil }
        var frames: [WireValue] = []
        if follower.wait == nil {
            frames = reader.take()
        } else if let answer = reader.takeAnswer() {
            frames = answer["Data"]?.array ?? []
        }
        follower.lastID = reader.lastID
        if reader.hasEnded { follower.reader = nil }
        for frame in frames {
            guard let type = frame["Type"]?.string else { return "follower \(follower.user) hears \(frame)" }
            guard let seq = frame["Seq"]?.int.map({ UInt64($0) }),
                let room = Self.rooms.first(where: { id($0).description == frame["RoomID"]?.string })
            else { continue }
            defer { follower.seqs[room] = seq }
            guard type == "new_message" else { continue }
            if !formerMembers[room]!.contains(follower.user) { return "follower \(follower.user) hears room \(room)" }
            guard let last = follower.seqs[room] else { continue }
            if seq <= last { return "follower \(follower.user) hears \(seq) of room \(room) behind \(last)" }
            // A user who was away from the room goes on with the frame that brings them back.
            let missed = logs[room]![Int(last)..<Int(seq) - 1]
            if !missed.isEmpty,
                !logs[room]![Int(last)..<Int(seq)].contains(where: { $0.joined.contains(id(follower.user)) })
            {
                return "follower \(follower.user) misses \(last + 1) to \(seq - 1) of room \(room)"
            }
        }
        return nil
    }

    private func readSome() {
        for player in players where chance(40) { player.client.read() }
    }

    /// With unread bytes the server's write fails, without them its read ends.
    private func hangUp() {
        guard !players.isEmpty else { return }
        for _ in 0..<pick([1, 1, 1, 4, 20]) where !players.isEmpty {
            let player = players.remove(at: pick(0...players.count - 1))
            note("hang up user \(player.user)")
            switch pick(0...3) {
            case 0: player.client.write(ClientFrame.bytes(8, [3, 232]))
            case 1: shutdown(player.client.descriptor, Int32(SHUT_WR))
            default: break
            }
        }
    }

    private func resume() {
        guard !players.isEmpty else { return }
        for _ in 0..<pick(1...6) { resume(of: pick(players)) }
    }

    private func resume(of player: Player) {
        note("resume user \(player.user)")
        let points = Self.rooms.filter { _ in chance(80) }.map { room -> WireValue in
            let seq = chance(60) ? 0 : Int64(pick(0...Int(last(room)) + 3))
            return .map([.init("RoomID", .string(id(room).description)), .init("Seq", .int(seq))])
        }
        send([("Type", .string("resume")), ("Rooms", .array(points))], player)
    }

    private func send(_ entries: [(String, WireValue)], _ player: Player) {
        if player.isJSON {
            var writer = JSONWriter(reserving: 256)
            writer.value(.map(entries.map { .init($0.0, $0.1) }))
            player.client.write(ClientFrame.bytes(1, writer.take()))
        } else {
            player.client.write(ClientFrame.bytes(2, TestClient.pack(entries)))
        }
    }

    private func ask() {
        guard !players.isEmpty else { return }
        let (player, room) = (pick(players), id(UInt64(pick(1...7))).description)
        let type = pick(["message", "typing", "seen", "ping", "edit", "auth"])
        note("\(type) user \(player.user)")
        send(
            [
                ("Type", .string(type)), ("RoomID", .string(room)), ("MessageID", .string(room)),
                ("Content", .string("x")),
                ("Token", .string("\(id(player.user)) 99999999")), ("Sign", .string("s\(pick(0...3))")),
            ], player)
    }

    private func misbehave() {
        guard !players.isEmpty else { return }
        let player = pick(players)
        switch pick(0...3) {
        case 0: player.client.write([0xFF, 0xFF, 0xFF])
        case 1: player.client.write((0..<500).flatMap { _ in ClientFrame.bytes(9, [1]) })
        case 2: player.client.write(Array(ClientFrame.bytes(2, [1, 2, 3]).dropLast()))
        default: player.client.write(ClientFrame.bytes(player.isJSON ? 2 : 1, [0x80]))
        }
    }

    // MARK: Servers

    private func publish() {
        let room = UInt64(pick(1...Int(Self.rooms.upperBound)))
        var frames: [RoomFrame] = []
        for _ in 0..<pick([1, 1, 2, 8]) {
            let user = UInt64(pick(1...Int(Self.users.upperBound)))
            let (joins, leaves) = (chance(10), chance(10))
            if joins { members[room]!.insert(user); formerMembers[room]!.insert(user) }
            if leaves, !joins { members[room]!.remove(user) }
            let frame = RoomFrame.numbered(
                last(room) + 1, joined: joins ? [user] : [], left: leaves && !joins ? [user] : [], room: room,
                padding: pick([0, 50, 3000, 16_000]))
            logs[room]!.append(frame)
            frames.append(frame)
        }
        note("publish \(frames.count) in room \(room)")
        // A lost frame is found by the next one, or by the fetch.
        guard chance(90) else { return }
        relay.hub.handle(
            .message(channel: "room:\(id(room))", payload: FrameChunk(room: id(room), frames: frames).encode()))
    }

    private func tellUser() {
        let (user, room) = (UInt64(pick(1...9)), UInt64(pick(1...7)))
        let event: UserEvent
        switch pick(0...3) {
        case 0: event = .probe
        case 1: event = .presence(isHidden: chance(50))
        case 2: event = .blocked(room: id(room), chance(50))
        default:
            guard members[room]!.contains(user) else { return }
            event = .joined(room: id(room), seq: last(room), created: FrameBody(room: id(room)) { $0.null() })
        }
        relay.hub.handle(.message(channel: "user:\(id(user))", payload: event.encode()))
    }

    /// An answer to a socket's own command.
    private func reply() {
        guard let serial = relay.hub.sockets.allSerials.keys.sorted().randomElement(using: &random) else { return }
        let frame = FrameBody { $0.null() }.frame(.response, sign: "s1")
        relay.hub.handle(
            .message(channel: "relay:7", payload: RelayAnswer(socket: serial, frame: frame).encode()))
    }

    private func answer() {
        for channel in relay.feed.subscribed where chance(60) { relay.hub.handle(.subscribed(channel: channel)) }
        late += relay.takeLookups()
        late.shuffle(using: &random)
        for _ in 0..<min(late.count, pick(1...40)) {
            let lookup = late.removeLast()
            if chance(4) { relay.hub.handle(.failed(lookup)) } else { answer(lookup) }
        }
    }

    private func confirmAgain() {
        for channel in relay.feed.subscribed { relay.hub.handle(.subscribed(channel: channel)) }
    }

    private func answer(_ lookup: Lookup) {
        switch lookup {
        case .memberships(let user, let epoch):
            let list = Self.rooms.filter { room in members[room]!.contains { id($0) == user } }
            relay.hub.handle(
                .memberships(
                    of: user, epoch: epoch,
                    list.map { Membership(user: user, room: id($0), lastSeq: last($0)) }))
        case .frames(let asked, let after, _, let limit, let purpose):
            guard let room = Self.rooms.first(where: { id($0) == asked }) else { return }
            let frames = Array(logs[room]!.filter { $0.seq > after }.prefix(chance(50) ? limit : pick(1...30)))
            let through = frames.last?.seq ?? after
            relay.hub.handle(
                .frames(
                    room: asked, after: after,
                    FrameRun(frames: frames, through: through, newest: max(after, last(room))), purpose))
        case .room(let message, let latent):
            relay.hub.handle(.room(chance(50) ? nil : id(1), ofMessage: message, latent))
        case .ticket, .revocations, .learn: break
        }
    }

    private func pass() {
        note("a second")
        relay.milliseconds += 1000
        relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
        relay.hub.everySecond()
    }

    private func revoke() {
        let user = UInt64(pick(1...9))
        note("revoke user \(user)")
        let subject: Revocation.Subject = chance(50) ? .token("id-\(id(user))") : .user(id(user), before: 501)
        relay.hub.revoke([Revocation(subject, at: 1)])
    }

    // MARK: What clients hear

    /// A room's frame never reaches a user who was never a member.
    func heardWrongly() -> String? {
        for follower in followers { if let fault = hear(follower) { return fault } }
        for player in players {
            defer { player.client.frames = [] }
            for frame in player.client.frames {
                if frame["Type"]?.string == "welcome",
                    frame["Data"]?["UserID"].map(Self.text) != id(player.user).description
                {
                    return "user \(player.user) is welcomed as \(frame["Data"] ?? .null)"
                }
                guard frame["Type"]?.string == "new_message", let text = frame["RoomID"].map(Self.text),
                    let room = Self.rooms.first(where: { id($0).description == text })
                else { continue }
                guard formerMembers[room]!.contains(player.user) else {
                    return "user \(player.user) hears room \(room)"
                }
            }
        }
        return nil
    }

    private static func text(_ value: WireValue) -> String { value.string ?? "" }
}

/// The invariants between two ticks.
private struct TableCheck {
    private(set) var fault: String?
    private let hub: Hub

    init(_ hub: Hub) {
        self.hub = hub
        open = (0..<UInt32(hub.sockets.connections.used)).filter { hub.sockets.connections[$0].descriptor >= 0 }
        fault = slots() ?? users() ?? epoll() ?? rooms() ?? writes()
    }

    private let open: [UInt32]

    private func slots() -> String? {
        let (table, free) = (hub.sockets.connections, Set(hub.sockets.connections.free))
        if free.count != table.free.count { return "a slot is free twice: \(table.free)" }
        if table.count != open.count { return "count is \(table.count), open are \(open.count)" }
        if open.contains(where: free.contains) { return "a slot is open and free" }
        if open.count + free.count != table.used { return "a slot is lost" }
        if Set(open.map { table[$0].descriptor }).count != open.count { return "two slots have one descriptor" }
        let streams = open.filter { table[$0].getsEvents && table[$0].user != noIndex }
        if let slot = streams.first(where: { hub.sockets.streams[$0] == nil }) {
            return "slot \(slot) has lost its stream"
        }
        if let slot = hub.sockets.streams.slots.first(where: { !open.contains($0) || !table[$0].getsEvents }) {
            return "slot \(slot) has a stream and gets no events"
        }
        if let slot = hub.sockets.slow.slots.first(where: { !open.contains($0) || !table[$0].flags.contains(.slow) }) {
            return "slow state of slot \(slot), which has none"
        }
        for (serial, slot) in hub.sockets.allSerials where table[slot].serial != serial || table[slot].descriptor < 0 {
            return "serial \(serial) is at slot \(slot), which is another's"
        }
        return nil
    }

    private func users() -> String? {
        var seen: Set<UInt32> = []
        for (id, user) in hub.users.indexes {
            if hub.users[user].id != id { return "user \(user) is another" }
            var (slot, length) = (hub.users.firstConnection(user), 0)
            while slot != noIndex {
                guard seen.insert(slot).inserted else { return "slot \(slot) is in two lists, or a list is a ring" }
                let row = hub.sockets.connections[slot]
                if row.descriptor < 0 || row.user != user { return "slot \(slot) is not user \(user)'s" }
                if row.flags.contains(.closing) { return "slot \(slot) is closing and still its user's" }
                (slot, length) = (row.nextOfUser, length + 1)
            }
            if length != Int(hub.users[user].connections) {
                return "user \(user) has \(length) sockets, not as counted"
            }
            if length == 0 { return "user \(user) has no socket" }
        }
        let owned = open.filter { hub.sockets.connections[$0].user != noIndex }
        return owned.count == seen.count ? nil : "a socket has a user, whose list does not have it"
    }

    /// The kernel's own list.
    private func epoll() -> String? {
        guard
            let text = try? String(contentsOfFile: "/proc/self/fdinfo/\(hub.sockets.epoll.descriptor)", encoding: .utf8)
        else {
            return "epoll's list cannot be read"
        }
        var watched: [Int32: UInt64] = [:]
        for line in text.split(separator: "\n") where line.hasPrefix("tfd:") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard words.count >= 6, let number = Int32(words[1]), let data = UInt64(words[5], radix: 16) else {
                continue
            }
            watched[number] = data
        }
        let wanted = Dictionary(
            uniqueKeysWithValues: open.map {
                (hub.sockets.connections[$0].descriptor, hub.sockets.connections.handle($0))
            })
        return watched == wanted ? nil : "epoll watches \(watched), open are \(wanted)"
    }

    private func rooms() -> String? {
        var resumes: [UInt64: Int] = [:]
        for room in hub.table.all {
            if Set(room.members).count != room.members.count { return "a room has a member twice" }
            let known = Set(hub.users.indexes.values)
            if let user = room.members.first(where: { !known.contains($0) }) {
                return "user \(user) is gone and a member"
            }
            if let user = room.waiters.first(where: { !known.contains($0) }) { return "user \(user) is gone and waits" }
            for resume in room.resumes { resumes[resume.handle, default: 0] += 1 }
        }
        for slot in open
        where Int(hub.sockets.connections[slot].resumes) != resumes[hub.sockets.connections.handle(slot)] ?? 0 {
            return "slot \(slot) has \(hub.sockets.connections[slot].resumes) resumes, not as counted"
        }
        return nil
    }

    private func writes() -> String? {
        if !hub.sockets.writes.dirty.isEmpty { return "lists of writes are left over" }
        return open.contains { hub.sockets.connections[$0].flags.contains(.dirty) } ? "a socket is dirty" : nil
    }
}
