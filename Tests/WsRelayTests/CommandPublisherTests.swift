import ChatAdapters
import ChatCore
import Logging
import TestSupport
import Testing

@testable import ChatProcess
@testable import ws_relay

/// Commands of sockets on their way to two queues of a broker in memory. The sending thread's rounds are made by hand.
private final class Scene {
    static let settings = Settings.test(["RABBITMQ_TOTAL_QUEUE": "2"]).rabbitMQ
    let broker = MemoryBroker()
    let answers = BoundedInbox<Found>(limit: 1000)
    private let inbox = BoundedInbox<CommandPublisher.Batch>(limit: 1000)
    private let layout = CommandPublisher.SharedLayout(Scene.settings.firstLayout)
    private let outstanding = CommandPublisher.Outstanding()
    private(set) var sending: CommandPublisher.Sending!
    var newest: QueueLayout?
    /// Monotonic milliseconds.
    var now: Int64 = 1_000_000
    private var sockets: UInt64 = 0

    init() throws {
        let folder = "/tmp/publisher-\(UUID128.v7(at: systemClock()))"
        let board = try Scoreboard.create(at: folder, pools: ["x"], counters: [], histograms: ["seconds"])
        let queues = RabbitMQQueues(Self.settings, broker)
        try queues.bind(Self.settings.firstLayout, on: broker.open("test"))
        nonisolated(unsafe) let scene = self
        sending = CommandPublisher.Sending(
            Self.settings, broker, name: "test", layout: layout, newestLayout: { scene.newest }, answers: answers,
            confirms: board.row(0).histogram(0), inbox: inbox, outstanding: outstanding, arrival: EventCounter(),
            clock: { [unowned self] in now * 1_000_000 }, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    /// A command for the first queue: its room is one of those that belong there.
    func command(_ number: UInt64) -> Command {
        let rooms = (1...).lazy.map { id($0) }.filter { queueIndex(of: $0, queues: 2) == 0 }
        return Command(
            id: id(1000 + number), room: rooms.first { _ in true }!, actor: id(5), sign: "\(number)", acceptedAt: 0,
            action: .seen(seq: Int64(number)))
    }

    /// One tick's commands, from a socket each.
    func put(_ numbers: ClosedRange<UInt64>) {
        var parcel = CommandPublisher.Parcel()
        for number in numbers {
            parcel.append(command(number).encode(), of: UnsentCommand(socket: number, sign: "\(number)"))
        }
        #expect(
            inbox.put(
                CommandPublisher.Batch(
                    layout: layout.value, queue: layout.value.index(command(1)), parcel: parcel,
                    deadline: now + CommandPublisher.timeout.milliseconds)))
    }

    func put(_ number: UInt64) { put(number...number) }
    func close() { inbox.close() }

    @discardableResult
    func rounds(_ count: Int) -> Bool {
        var goesOn = true
        for _ in 0..<count { goesOn = sending.sendSome() }
        return goesOn
    }

    /// The numbers of the commands in each message of a queue.
    func messages(of layout: QueueLayout = Scene.settings.firstLayout) throws -> [[UInt64]] {
        let queue = Self.settings.queueName(layout, layout.index(command(1)))
        return try broker.messages(of: queue).map { message in
            try Command.decodeAll(message.body).map { UInt64($0.sign!)! }
        }
    }

    /// The senders that were refused, with the code, in order.
    func refused() -> [String] {
        answers.drain().flatMap { found -> [String] in
            guard case .refused(let senders, let refusal) = found else { return ["?"] }
            return senders.map { "\($0.socket) \(refusal.code.rawValue)" }
        }
    }

    var isIdle: Bool { outstanding.count.load(ordering: .acquiring) == 0 }
}

@Suite struct CommandPublisherTests {
    @Test func commandsOfATickAreOneMessageInOrder() throws {
        let scene = try Scene()
        scene.put(1...3)
        scene.rounds(1)
        #expect(try scene.messages() == [[1, 2, 3]])
        #expect(!scene.isIdle)
        scene.rounds(1)
        #expect(scene.isIdle)
        #expect(scene.refused().isEmpty)
    }

    /// A busy broker gets fewer and larger messages.
    @Test func whatComesBeforeTheConfirmIsJoined() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        for number in 1...4 {
            scene.put(UInt64(number))
            scene.rounds(1)
        }
        #expect(try scene.messages() == [[1]])
        scene.broker.isSilent = false
        scene.rounds(1)
        #expect(try scene.messages() == [[1], [2, 3, 4]])
    }

    @Test func aMessageHasABound() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        scene.put(0)
        scene.rounds(1)
        for number in 0..<3 { scene.put(UInt64(number) * 100 + 1...UInt64(number) * 100 + 100) }
        scene.rounds(1)
        scene.broker.isSilent = false
        scene.rounds(3)
        #expect(try scene.messages().map(\.count) == [1, 200, 100])
        #expect(try scene.messages().flatMap { $0 } == Array(0...300))
    }

    @Test func whatIsUnconfirmedIsSentAgainBeforeTheRest() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        scene.put(1)
        scene.rounds(1)
        scene.put(2)
        scene.broker.cut()
        scene.broker.isSilent = false
        scene.rounds(1)
        // It tries again a moment later.
        #expect(try scene.messages() == [[1]])
        scene.now += 500
        scene.rounds(3)
        // A repeat has no effect: commands have ids.
        #expect(try scene.messages() == [[1], [1], [2]])
        #expect(scene.refused().isEmpty && scene.isIdle)
    }

    @Test func sendersAreToldOnceABrokerIsAwayForLong() throws {
        let scene = try Scene()
        scene.broker.isAway = true
        scene.put(1...2)
        scene.rounds(1)
        scene.now += CommandPublisher.blip.milliseconds
        scene.rounds(1)
        #expect(scene.refused().isEmpty)
        scene.now += 1
        scene.rounds(1)
        #expect(scene.refused() == ["1 unavailable", "2 unavailable"])
        // From then on at once.
        scene.put(3)
        scene.rounds(1)
        #expect(scene.refused() == ["3 unavailable"])
        scene.broker.isAway = false
        scene.now += 500
        scene.rounds(1)
        scene.put(4)
        scene.rounds(2)
        #expect(try scene.messages() == [[4]])
        #expect(scene.refused().isEmpty && scene.isIdle)
    }

    @Test func aSilentBrokerIsLeftAndInTheEndTheSendersAreTold() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        scene.put(1)
        scene.rounds(1)
        let connections = scene.broker.opened.count
        scene.now += CommandPublisher.confirmTimeout.milliseconds
        scene.rounds(1)
        #expect(scene.broker.opened.count == connections)
        scene.now += 1
        scene.rounds(2)
        #expect(scene.broker.opened.count == connections + 1)
        #expect(try scene.messages() == [[1], [1]])
        scene.now += CommandPublisher.timeout.milliseconds
        scene.rounds(1)
        #expect(scene.refused() == ["1 unavailable"])
        #expect(scene.isIdle)
    }

    @Test func aRefusedMessageIsTriedOnOtherConnectionsAndThenGivenUp() throws {
        let scene = try Scene()
        let connections = scene.broker.opened.count
        scene.broker.refusing = ["chat.queue.0"]
        scene.put(1)
        var refusals: [String] = []
        for _ in 0..<40 {
            scene.rounds(1)
            refusals += scene.refused()
            scene.now += 250
        }
        #expect(refusals == ["1 busy"])
        #expect(scene.broker.opened.count - connections == CommandPublisher.tries)
        #expect(try scene.messages().isEmpty)
    }

    @Test func aFullQueueRefusesAtOnceUntilItTakesAgain() throws {
        let scene = try Scene()
        scene.broker.refusing = ["chat.queue.0"]
        scene.put(1)
        while scene.refused().isEmpty {
            scene.rounds(1)
            scene.now += 250
        }
        scene.put(2)
        scene.rounds(3)
        #expect(scene.refused() == ["2 busy"])
        scene.broker.refusing = []
        scene.put(3)
        scene.rounds(3)
        #expect(try scene.messages() == [[3]])
        #expect(scene.refused().isEmpty)
    }

    /// The queues were turned: a sender that missed it gets its messages back.
    @Test func commandsOfAnUnboundQueueGoToTheNextGeneration() throws {
        let scene = try Scene()
        let next = QueueLayout(generation: 2, total: 3, byUser: false)
        let queues = RabbitMQQueues(Scene.settings, scene.broker)
        let connection = try scene.broker.open("test")
        scene.put(0)
        scene.rounds(2)
        try queues.bind(next, on: connection)
        try queues.unbind(Scene.settings.firstLayout, on: connection)
        scene.newest = next
        scene.put(1...2)
        for _ in 0..<8 {
            scene.rounds(1)
            scene.now += 250
        }
        #expect(try scene.messages(of: next).flatMap { $0 } == [1, 2])
        #expect(try scene.messages() == [[0]])
        // Later ones that were sorted by the old layout, too.
        scene.put(3)
        scene.rounds(2)
        #expect(try scene.messages(of: next).flatMap { $0 } == [1, 2, 3])
        #expect(scene.refused().isEmpty && scene.isIdle)
    }

    @Test func theThreadEndsOnceEverythingIsConfirmed() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        scene.put(1)
        #expect(scene.rounds(1))
        scene.close()
        #expect(scene.rounds(1))
        scene.broker.isSilent = false
        #expect(!scene.rounds(1))
    }
}
