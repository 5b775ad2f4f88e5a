import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport

@testable import ChatProcess
@testable import ws_relay

/// A relay's whole loop between clients with real sockets, a master, a Redis in memory, and answers of other threads.
/// The clock stands still unless a test moves it, and the loop waits for nothing.
final class LoopScene {
    final class Place: RelayPlace {
        let listener: Descriptor
        let scoreboard: ScoreboardRow
        private let news = EventCounter()
        private var messages: [WorkerMessage] = []
        var timesReady = 0
        let poolSize = 1

        init(folder: String) {
            let board = try! Scoreboard.create(
                at: folder + "/board", pools: ["sockets"], counters: Hub.counterNames, histograms: RelayTimings.names)
            scoreboard = board.row(0)
            listener = try! bindUnix(folder + "/socket", mode: 0o600).0
            listener.setNonBlocking()
        }

        var fileDescriptor: Int32 { news.descriptor }
        var listeners: [Int32] { [listener.number] }

        func say(_ message: WorkerMessage) {
            messages.append(message)
            news.wake()
        }

        func next() -> WorkerMessage? {
            if messages.isEmpty { news.clear() }
            return messages.isEmpty ? nil : messages.removeFirst()
        }

        func ready() { timesReady += 1 }
    }

    /// The broker's side, and the relay's own channel in Redis.
    final class Outlets: DrainedOutlet, MarkerOutlet {
        let redis: MemoryRedis
        var isIdle = true
        var published: [RelayAnswer] = []

        init(_ redis: MemoryRedis) { self.redis = redis }

        func waitABit() {}

        func publish(_ answer: RelayAnswer, to relay: UInt64) {
            published.append(answer)
            redis.arriving.append(.message(channel: BusChannel.relay(relay), payload: answer.encode()))
        }
    }

    let folder: String
    let redis = MemoryRedis()
    let place: Place
    let outlets: Outlets
    let lookups = FakeLookups()
    let ephemerals = FakeEphemerals()
    let arrival = EventCounter()
    let answers: BoundedInbox<Found>
    let hub: Hub
    private(set) var loop: RelayLoop!
    /// Both clocks.
    var now: Int64 = 1_000_000
    /// The waits that the loop asked for, in milliseconds.
    var waits: [Int32] = []
    var beforeWait: () -> Void = {}
    /// In place of the kernel's answer to the next accepts.
    var acceptError: Int32?
    var exits: [Int32] = []

    init(_ values: [String: String] = [:]) throws {
        folder = "/tmp/loop-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
        place = Place(folder: folder)
        outlets = Outlets(redis)
        answers = BoundedInbox(limit: 1000, onArrival: { [arrival] in arrival.wake() })
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let feed = RedisFeed(redis, log: log)
        let settings = try Settings(testing: ["WS_RESUME_GRACE_MS": "0"].merging(values) { $1 }).relay
        hub = Hub(
            settings: settings, relayID: 7, tokens: FakeTokens(), feed: feed, commands: FakeCommands(),
            lookups: lookups, ephemerals: ephemerals, memory: RelayMemory(capacity: settings.maxConnections), log: log)
        let system = LoopSystem(
            now: { [unowned self] in now }, unix: { [unowned self] in now },
            wait: { [unowned self] in
                waits.append($0)
                beforeWait()
                return 0
            },
            accept: { [unowned self] in
                guard let acceptError else { return acceptNonBlocking($0) }
                errno = acceptError
                return -1
            }, exit: { [unowned self] in exits.append($0) })
        loop = RelayLoop(
            hub: hub, feed: feed, answers: answers, arrival: arrival, commands: outlets, markers: outlets, place: place,
            system: system, log: log)
        loop.begin()
    }

    func ticks(_ count: Int) { for _ in 0..<count where !loop.isOver { loop.tick() } }

    /// A loop that serves.
    static func serving(_ values: [String: String] = [:]) throws -> LoopScene {
        let scene = try LoopScene(values)
        scene.ticks(3)
        return scene
    }

    /// The clock goes on in steps of half a second.
    func pass(seconds: Int) {
        for _ in 0..<seconds * 2 where !loop.isOver {
            now += 500
            ticks(3)
        }
    }

    // MARK: Clients

    /// The kernel holds it until the loop accepts it.
    func connect() -> TestClient {
        let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let connected = withUnixAddress(folder + "/socket") { Glibc.connect(client, $0, $1) }
        precondition(connected == 0, "connect: errno \(errno)")
        return TestClient(client)
    }

    /// Welcomed, with these rooms and their last Seqs.
    func join(user: UInt64, rooms: [UInt64: UInt64] = [1: 0]) -> TestClient {
        let client = connect()
        ticks(1)
        client.upgrade(token: "\(id(user))%20100000000", subprotocol: nil, early: [])
        for _ in 0..<6 {
            ticks(2)
            answerLookups(rooms)
        }
        ticks(2)
        client.read()
        return client
    }

    /// As the other threads do.
    private func answerLookups(_ rooms: [UInt64: UInt64]) {
        defer { lookups.asked = [] }
        for lookup in lookups.asked {
            switch lookup {
            case .memberships(let user, let epoch):
                let all = rooms.map { Membership(user: user, room: id($0.key), lastSeq: $0.value) }
                _ = answers.put(.memberships(of: user, epoch: epoch, all))
            case .frames(let room, let after, _, _, let purpose):
                let none = FrameRun(frames: [], through: after, newest: after)
                _ = answers.put(.frames(room: room, after: after, none, purpose))
            default: break
            }
        }
    }

    func event(_ frames: RoomFrame..., room: UInt64 = 1) -> RedisSubscription.SubscriptionEvent {
        .message(
            channel: BusChannel.room(id(room)), payload: FrameChunk(room: id(room), frames: frames).encode())
    }

    // MARK: Hand-over

    /// The master starts a successor. Its end of the line.
    func beginHandover() -> HandoffChannel {
        let (ours, theirs) = line()
        place.say(.handover(theirs))
        ticks(1)
        return ours
    }

    /// A socket pair as between a worker and its successor.
    func line() -> (HandoffChannel, Int32) {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
        return (HandoffChannel(ends[0]), ends[1])
    }

    /// All that a successor says.
    func takeOver(_ successor: HandoffChannel) throws {
        try successor.send(.init(tag: .prologue, bytes: HandoffChannel.offer))
        try successor.send(.init(tag: .hello, bytes: HandoffChannel.version))
        try successor.send(.init(tag: .subscribed))
        try successor.send(.init(tag: .adopted))
        ticks(6)
    }
}

extension HandoffChannel {
    /// Everything that has arrived.
    func tags() -> [Tag] {
        var found: [Tag] = []
        while let packet = try? receive(within: .zero) {
            found.append(packet.tag)
            packet.descriptors.forEach { Glibc.close($0) }
        }
        return found
    }
}
