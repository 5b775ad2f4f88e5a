import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport
import Testing

@testable import ChatProcess
@testable import queue_worker

/// One queue worker between a broker, a store and a bus in memory, with a clock of its own. Two queues, one worker unless
/// a test says otherwise.
final class ConsumerScene {
    final class Place: WorkerPlace {
        var slot = 0
        var poolSize = 1
        var mustQuit = false
        var timesReady = 0
        let scoreboard: ScoreboardRow
        let fileDescriptor: Int32 = -2

        init(folder: String) {
            let board = try! Scoreboard.create(
                at: folder + "/board", pools: ["queues"], counters: Counter.names, histograms: Timing.names)
            scoreboard = board.row(0)
        }

        func ready() { timesReady += 1 }
    }

    /// Rooms in memory; remembers which commands are stored, in order.
    final class Store: RoomBatchStore {
        private var kept = RoomBatch(limits: ConsumerScene.settings.rooms, now: 0)
        private var loaded: [UUID128] = []
        var stored: [UUID128] = []
        /// Called before a batch is stored.
        var beforeStore: ([UUID128]) throws(StoreError) -> Void = { _ in }
        var batches: [Int] = []

        func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch {
            loaded = commands.map(\.id)
            var batch = RoomBatch(limits: ConsumerScene.settings.rooms, now: now)
            (batch.rooms, batch.members, batch.messages) = (kept.rooms, kept.members, kept.messages)
            batch.begin()
            return batch
        }

        func store(_ batch: RoomBatch) throws(StoreError) {
            try beforeStore(loaded)
            kept = batch
            stored += loaded
            batches.append(loaded.count)
        }

        func abandon() {}
    }

    /// The broker as one worker reaches it: knows the worker's connection.
    final class Line: Broker {
        private let broker: MemoryBroker
        private weak var connection: (any BrokerConnection)?

        init(_ broker: MemoryBroker) { self.broker = broker }

        func open(_ name: String) throws(RabbitMQError) -> any BrokerConnection {
            let opened = try broker.open(name)
            if name == "queue-worker" { connection = opened }
            return opened
        }

        /// Another server may be silent for as long as its time limit: the broker would take the worker for dead.
        func expectHeartbeats(during question: String) {
            if let connection { #expect(!broker.missesHeartbeats(connection), "\(question) without heartbeats") }
        }
    }

    /// The worker's way to PostgreSQL, which can be cut while others reach it.
    final class Way: RoomBatchStore, QueueGenerations, QueueWorkers {
        var isCut = false
        var questions = 0
        private let line: Line
        private let rooms: Store
        private let generations: MemoryGenerations
        private let workers: MemoryWorkers

        init(_ line: Line, _ rooms: Store, _ generations: MemoryGenerations, _ workers: MemoryWorkers) {
            (self.line, self.rooms, self.generations, self.workers) = (line, rooms, generations, workers)
        }

        private func check(_ question: String = #function) throws(StoreError) {
            line.expectHeartbeats(during: question)
            try ask()
        }

        private func ask() throws(StoreError) {
            questions += 1
            if isCut { throw StoreError("PostgreSQL: refused", isTransient: true, isAway: true) }
        }

        func load(for commands: [Command], now: Int64) throws(StoreError) -> RoomBatch {
            try check()
            return try rooms.load(for: commands, now: now)
        }
        func store(_ batch: RoomBatch) throws(StoreError) {
            try check()
            try rooms.store(batch)
        }
        func abandon() {}

        func newest() throws(StoreError) -> QueueLayout? {
            try check()
            return try generations.newest()
        }
        func all() throws(StoreError) -> [QueueGeneration] {
            try check()
            return try generations.all()
        }
        func begin(_ layout: QueueLayout, setting: String) throws(StoreError) {
            try check()
            try generations.begin(layout, setting: setting)
        }
        func adopt(_ setting: String, for generation: Int) throws(StoreError) {
            try check()
            try generations.adopt(setting, for: generation)
        }
        func close(_ generation: Int) throws(StoreError) {
            try check()
            try generations.close(generation)
        }
        func end(queue: Int, of generation: Int) throws(StoreError) {
            try check()
            try generations.end(queue: queue, of: generation)
        }
        func remove(_ generation: Int) throws(StoreError) {
            try check()
            try generations.remove(generation)
        }

        func report(_ own: QueueWorkerReport) throws(StoreError) -> (all: [QueueWorkerReport], ticket: Int64) {
            try check()
            return try workers.report(own)
        }
        func all() throws(StoreError) -> [QueueWorkerReport] {
            try check()
            return try workers.all()
        }
        func end(_ own: QueueWorkerReport) throws(StoreError) {
            // The worker has closed its connection.
            try ask()
            try workers.end(own)
        }
    }

    final class Bus: FrameBus {
        var notices: [Notice] = []
        /// Called before a notice is published.
        var beforePublish: () throws(BusError) -> Void = {}
        var isCut = false
        private let line: Line

        init(_ line: Line) { self.line = line }

        func check() throws(BusError) {
            line.expectHeartbeats(during: "Redis")
            if isCut { throw BusError("Redis: no answer in time") }
        }

        func publish(_ notice: Notice) throws(BusError) {
            try check()
            try beforePublish()
            notices.append(notice)
        }
    }

    static let settings = Settings.test(["RABBITMQ_TOTAL_QUEUE": "2"])
    let folder: String
    let broker: MemoryBroker
    private let line: Line
    let place: Place
    let store: Store
    let bus: Bus
    let generations: MemoryGenerations
    let workers: MemoryWorkers
    let way: Way
    let host: String
    /// Monotonic milliseconds.
    var now: Int64 = 1_000_000
    /// Of every wait, in milliseconds.
    var waits: [Int] = []
    var duringWait: () -> Void = {}
    private(set) var consumer: Consumer!
    private var ids: UInt64 = 0

    /// - Parameter other: a scene whose broker, store and records this worker shares, from another host.
    init(slot: Int = 0, of poolSize: Int = 1, beside other: ConsumerScene? = nil) {
        broker = other?.broker ?? MemoryBroker()
        line = Line(broker)
        store = other?.store ?? Store()
        bus = Bus(line)
        generations = other?.generations ?? MemoryGenerations()
        workers = other?.workers ?? MemoryWorkers()
        way = Way(line, store, generations, workers)
        host = other == nil ? "here" : "there"
        folder = "/tmp/consumer-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
        place = Place(folder: folder)
        (place.slot, place.poolSize) = (slot, poolSize)
        start()
    }

    /// Another worker, as after a crash of the one before.
    func start() {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        var settings = Self.settings
        settings.runDirectory = folder
        consumer = Consumer(
            settings: settings, channel: place, broker: line,
            run: ExecuteBatch(store: way, limits: settings.rooms, clock: { 1_700_000_000_000 }, log: log),
            bus: bus, generations: way, workers: way, host: host,
            clock: WorkerClock(
                now: { [unowned self] in now },
                wait: { [unowned self] milliseconds, descriptors in
                    guard !descriptors.contains(MemoryBroker.descriptor) || !broker.hasNews else { return }
                    waits.append(milliseconds)
                    now += Int64(milliseconds)
                    duringWait()
                }), log: log)
    }

    /// The worker's process ends without a word: what it has in hand goes back.
    func crash() {
        consumer = nil
        broker.cut()
    }

    func rounds(_ count: Int) { for _ in 0..<count { consumer.serveOnce() } }

    // MARK: Commands

    func id() -> UUID128 {
        ids += 1
        return UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0000 | ids)
    }

    let ann = UUID128(high: 1, low: 1)

    func newRoom() -> Command {
        let id = id()
        let draft = RoomDraft(type: .group, name: "room", members: [])
        return Command(id: id, room: id, actor: ann, acceptedAt: 0, action: .createRoom(draft))
    }

    func message(in room: Command) -> Command {
        Command(
            id: id(), room: room.room, actor: ann, acceptedAt: 0,
            action: .send(MessageDraft(content: "hello"), receiver: nil))
    }

    /// Puts them into the first queue as one AMQP message.
    func put(_ commands: Command..., replyTo: String = "", correlation: String = "", queue: Int = 0) {
        broker.put(
            Command.joined(commands.map { $0.encode() }), into: name(queue), replyTo: replyTo,
            correlation: correlation)
    }

    func name(_ queue: Int, generation: Int = 1) -> String {
        Self.settings.rabbitMQ.queueName(QueueLayout(generation: generation, total: 2, byUser: false), queue)
    }

    var deadLetters: [DeadLetter] {
        broker.messages(of: "chat.dead").compactMap { try? DeadLetter.decode($0.body) }
    }

    /// The Seqs of all published frames of a room, in order.
    func frames(of room: Command) -> [UInt64] {
        bus.notices.flatMap(\.frames).filter { $0.room == room.room }.flatMap(\.frames).map(\.seq)
    }
}
