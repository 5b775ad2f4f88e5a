import ChatCore
import Logging
import TestSupport
import Testing

@testable import ChatAdapters

/// A REST worker's commands and a broker in memory, with their own time.
@Suite struct CommandQueueTests {
    private final class Scene {
        let settings: RabbitMQSettings = {
            var settings = Settings.test().rabbitMQ
            settings.totalQueues = 1
            return settings
        }()
        let broker = MemoryBroker()
        /// Monotonic milliseconds.
        var now: Int64 = 1_000_000
        var pauses: [Duration] = []
        var newest: QueueLayout?
        /// Of everything published, in order: the moment and the queue.
        var published: [(at: Int64, queue: String)] = []
        private(set) var commands: RabbitMQCommandQueue!
        /// The connection of the worker, and of this test.
        private let own: any BrokerConnection

        init() throws {
            own = try broker.open("worker")
            try bind(settings.firstLayout)
            commands = RabbitMQCommandQueue(
                settings, broker: broker, name: "api", newestLayout: { [unowned self] in newest },
                now: { [unowned self] in now },
                pause: { [unowned self] in
                    pauses.append($0)
                    now += $0.milliseconds
                }, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            broker.duringWait = { [unowned self] in now += $0.milliseconds }
            broker.beforePublish = { [unowned self] in published.append((now, $0)) }
        }

        func bind(_ layout: QueueLayout) throws {
            for index in 0..<layout.total {
                let name = settings.queueName(layout, index)
                try own.declareCommandQueue(name, quorum: false, maxLength: 100)
                try own.bind(name, to: settings.exchangeName)
            }
        }

        func unbind(_ layout: QueueLayout) throws {
            try own.unbind(settings.queueName(layout, 0), from: settings.exchangeName)
        }

        var queue: String { settings.queueName(settings.firstLayout, 0) }
        var waiting: [MemoryBroker.Message] { broker.messages(of: queue) }
        /// Connections of the queue of commands.
        var opened: Int { broker.opened.count { $0 == "api" } }

        func submit(_ number: UInt64 = 1, timeout: Duration = .seconds(10)) throws(Refusal) -> CommandAnswer {
            try commands.submit(
                Command(
                    id: UUID128(high: 7, low: number), room: UUID128(high: 8, low: 1), actor: UUID128(high: 9, low: 1),
                    acceptedAt: 1, action: .send(MessageDraft(content: "hello"), receiver: nil)), timeout: timeout)
        }

        func answer(_ message: MemoryBroker.Message, _ text: String) throws {
            try own.answer(
                [0xa0 | UInt8(text.utf8.count)] + text.utf8, to: message.replyTo, correlation: message.correlation)
        }

        func consume() throws { try own.consume(queue, prefetch: 0, noAcknowledge: true) }
    }

    @Test func anExecutedCommandIsAnswered() throws {
        let scene = try Scene()
        scene.broker.duringWait = { [unowned scene] _ in try? scene.answer(scene.waiting[0], "done") }
        #expect(try scene.submit() == .answered(.string("done")))
        #expect(scene.waiting.count == 1)
    }

    @Test func aConfirmedCommandWithoutAnAnswerIsQueued() throws {
        let scene = try Scene()
        var confirms = 0
        scene.commands.onConfirm = { _ in confirms += 1 }
        #expect(try scene.submit(timeout: .seconds(2)) == .queued)
        #expect(scene.now == 1_002_000 && confirms == 1 && scene.waiting.count == 1)
    }

    /// The answer of the first command comes while the second one waits.
    @Test func aLateAnswerIsNotTheNextOnes() throws {
        let scene = try Scene()
        #expect(try scene.submit(1) == .queued)
        scene.broker.duringWait = { [unowned scene] _ in
            try? scene.answer(scene.waiting[0], "first")
            try? scene.answer(scene.waiting[1], "second")
        }
        #expect(try scene.submit(2) == .answered(.string("second")))
    }

    @Test func aBrokerThatDoesNotConfirmIsReplaced() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        scene.broker.beforePublish = { [unowned scene] _ in
            scene.published.append((scene.now, ""))
            // The second broker works.
            if scene.opened == 2 { scene.broker.isSilent = false }
        }
        #expect(try scene.submit() == .queued)
        #expect(scene.opened == 2)
        #expect(scene.published.map(\.at) == [1_000_000, 1_003_000])
        // The command has kept its id, by which workers know it again.
        #expect(Set(scene.waiting.map(\.correlation)).count == 1)
    }

    @Test func whenNoBrokerConfirmsTheQueueIsUnavailable() throws {
        let scene = try Scene()
        scene.broker.isSilent = true
        let refusal = #expect(throws: Refusal.self) { try scene.submit() }
        #expect(refusal?.code == .unavailable)
        #expect(scene.now <= 1_010_000)
    }

    /// Not even when the settings' timeout is far: a broker that knows nothing of its leader's death is left at once, and
    /// a full queue is full on each.
    @Test func aFullQueueIsBusyAfterAFewBrokers() throws {
        let scene = try Scene()
        scene.broker.refusing = [scene.queue]
        let refusal = #expect(throws: Refusal.self) { try scene.submit(timeout: .seconds(600)) }
        #expect(refusal?.code == .busy)
        #expect(scene.published.count == 4 && scene.opened == 4)
        // No more than one new connection a second.
        #expect(scene.pauses == [.seconds(1), .seconds(1)])
    }

    @Test func aQueueThatWasFullIsNotDoubtedForAWhile() throws {
        let scene = try Scene()
        scene.broker.refusing = [scene.queue]
        #expect(throws: Refusal.self) { try scene.submit(1) }
        let (opened, now) = (scene.opened, scene.now)
        #expect(throws: Refusal.self) { try scene.submit(2) }
        #expect(scene.opened == opened && scene.now == now)
        scene.now += 5000
        #expect(throws: Refusal.self) { try scene.submit(3) }
        #expect(scene.opened > opened)
        // Accepted once, it is not full any more.
        scene.broker.refusing = []
        #expect(try scene.submit(4) == .queued)
    }

    @Test func aLostConnectionIsReplacedWithinARequest() throws {
        let scene = try Scene()
        #expect(try scene.submit(1) == .queued)
        scene.broker.cut()
        #expect(try scene.submit(2) == .queued)
        #expect(scene.opened == 2 && scene.waiting.count == 2)
    }

    @Test func withoutABrokerItEndsAfterAFewTries() throws {
        let scene = try Scene()
        scene.broker.isAway = true
        let refusal = #expect(throws: Refusal.self) { try scene.submit(timeout: .seconds(600)) }
        #expect(refusal?.code == .unavailable)
        scene.broker.isAway = false
        #expect(try scene.submit() == .queued)
    }

    @Test func aCommandFollowsToTheNewestGeneration() throws {
        let scene = try Scene()
        #expect(try scene.submit(1) == .queued)
        let second = QueueLayout(generation: 2, total: 1, byUser: false)
        try scene.bind(second)
        try scene.unbind(scene.settings.firstLayout)
        scene.newest = second
        #expect(try scene.submit(2) == .queued)
        #expect(scene.broker.messages(of: scene.settings.queueName(second, 0)).count == 1)
        #expect(scene.waiting.count == 1)
    }

    @Test func idleItKeepsItsConnectionAndMakesNone() throws {
        let scene = try Scene()
        scene.commands.keepAlive()
        #expect(scene.opened == 0)
        #expect(try scene.submit(1) == .queued)
        scene.broker.cut()
        scene.commands.keepAlive()
        #expect(scene.opened == 1)
        #expect(try scene.submit(2) == .queued)
        #expect(scene.opened == 2)
    }

    @Test func workersAreSeenInTheNewestGenerationToo() throws {
        let scene = try Scene()
        #expect(try !scene.commands.hasWorkers())
        try scene.consume()
        #expect(try scene.commands.hasWorkers())
        let (second, other) = (QueueLayout(generation: 2, total: 1, byUser: false), try scene.broker.open("other"))
        try scene.bind(second)
        try other.consume(scene.settings.queueName(second, 0), prefetch: 0, noAcknowledge: false)
        scene.broker.cancelConsumers(of: scene.queue)
        scene.newest = second
        #expect(try scene.commands.hasWorkers())
    }

    /// A missing queue ends the connection: the next command has another.
    @Test func aMissingQueueIsAnErrorAndNoMore() throws {
        let scene = try Scene()
        scene.newest = QueueLayout(generation: 9, total: 1, byUser: false)
        #expect(throws: RabbitMQError.self) { try scene.commands.hasWorkers() }
        scene.newest = scene.settings.firstLayout
        #expect(try scene.submit() == .queued)
    }

    @Test func waitingCommandsOfAllQueuesAreCounted() throws {
        let scene = try Scene()
        let layout = QueueLayout(generation: 2, total: 3, byUser: false)
        try scene.bind(layout)
        scene.newest = layout
        for index in 0..<3 {
            for _ in 0...index { scene.broker.put([1], into: scene.settings.queueName(layout, index)) }
        }
        #expect(scene.commands.waitingMessages() == 6)
    }

    @Test func aBrokerThatIsAwayIsNotAskedForNumbersAgainAtOnce() throws {
        let scene = try Scene()
        scene.broker.isAway = true
        #expect(scene.commands.waitingMessages() == nil)
        scene.broker.isAway = false
        scene.now += 9999
        #expect(scene.commands.waitingMessages() == nil)
        #expect(scene.opened == 0)
        scene.now += 1
        #expect(scene.commands.waitingMessages() == 0)
    }
}
