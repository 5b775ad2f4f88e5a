import ChatAdapters
import ChatCore
import Logging
import TestSupport
import Testing

@testable import queue_worker

/// Old queues: chat.queue.0 and 1. New ones: chat.g2.queue.0 to 2.
@Suite struct QueueTurnTests {
    private final class Time {
        var now: Int64 = 1_000_000
    }

    private let time = Time()
    private let broker = MemoryBroker()
    private let old = QueueLayout(generation: 1, total: 2, byUser: false)
    private let new = QueueLayout(generation: 2, total: 3, byUser: false)
    private let oldQueues: Set = ["chat.queue.0", "chat.queue.1"]
    private let newQueues: Set = ["chat.g2.queue.0", "chat.g2.queue.1", "chat.g2.queue.2"]

    private func settings(_ queues: Int) -> RabbitMQSettings {
        Settings.test(["RABBITMQ_TOTAL_QUEUE": "\(queues)"]).rabbitMQ
    }

    private func turn(
        _ generations: MemoryGenerations, queues: Int, isFirst: Bool = true, others: Set<String> = []
    ) -> QueueTurn {
        let time = time
        return QueueTurn(
            settings(queues), broker, generations, clock: WorkerClock(now: { time.now }, wait: { _, _ in }),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, isFirst: isFirst, others: { others })
    }

    private var bound: Set<String> { broker.bound(to: "chat.commands") }

    /// The old generation's queues with their bindings, as its workers left them.
    private func runOld() throws -> MemoryGenerations {
        let generations = MemoryGenerations()
        _ = try turn(generations, queues: 2).prepare(broker.open("test"))
        return generations
    }

    /// The old generation is drained, and old enough to be deleted.
    private func endAndForget(_ generations: MemoryGenerations) throws {
        for queue in 0..<2 { try generations.end(queue: queue, of: 1) }
        generations.forget(1)
    }

    private func command(_ room: UUID128) -> Command {
        Command(
            id: .v7(at: time.now), room: room, actor: UUID128(high: 1, low: 1), acceptedAt: time.now,
            action: .seen(seq: 1))
    }

    /// The end mark at the end of a queue.
    private func mark(of queue: String) -> EndMark? {
        broker.messages(of: queue).last.flatMap { EndMark($0.correlation) }
    }

    @Test func theFirstWorkerMakesTheFirstQueues() throws {
        let generations = try runOld()
        #expect(generations.known.map(\.layout) == [old])
        #expect(bound == oldQueues)
    }

    @Test func aNewGenerationIsRecordedOnlyOnceItsQueuesTakeMessages() throws {
        let generations = try runOld()
        let broker = broker
        var boundAtBegin: Set<String> = []
        generations.beforeBegin = { boundAtBegin = broker.bound(to: "chat.commands") }
        let layout = try turn(generations, queues: 3).prepare(broker.open("test"))
        #expect(boundAtBegin == oldQueues.union(newQueues))
        #expect(generations.known.map(\.layout) == [old, new])
        // Messages in the old ones come first.
        #expect(layout == old)
    }

    @Test func equalSettingsMakeNothingNew() throws {
        let generations = try runOld()
        _ = try turn(generations, queues: 2).prepare(broker.open("test"))
        #expect(generations.known.map(\.layout) == [old])
    }

    /// Otherwise two hosts would turn the queues back and forth with each start.
    @Test func aHostWhoseSettingsDifferFollowsTheOtherHosts() throws {
        let generations = try runOld()
        let layout = try turn(generations, queues: 3, others: ["2 by room"]).prepare(broker.open("test"))
        #expect(layout == old && generations.known.map(\.layout) == [old])
    }

    @Test func theLastHostWhoseSettingsChangeStartsTheNextGeneration() throws {
        let generations = try runOld()
        _ = try turn(generations, queues: 3, others: ["3 by room", "4 by room"]).prepare(broker.open("test"))
        #expect(generations.known.map(\.layout) == [old, new])
    }

    @Test func settingsThatFollowAResizeMakeNothingNewAndCanBeTakenBack() throws {
        let generations = try runOld()
        try generations.begin(new, setting: "2 by room")
        _ = try turn(generations, queues: 2).prepare(broker.open("test"))
        _ = try turn(generations, queues: 3).prepare(broker.open("test"))
        #expect(generations.known.map(\.layout) == [old, new])
        _ = try turn(generations, queues: 2).prepare(broker.open("test"))
        #expect(generations.known.map(\.layout.total) == [2, 3, 2])
    }

    @Test func theNewQueuesAreConsumedOnceEveryOldOneIsEmpty() throws {
        let generations = try runOld()
        let turn = turn(generations, queues: 3)
        let connection = try broker.open("test")
        _ = try turn.prepare(connection)
        broker.put([1], into: "chat.queue.0")

        #expect(try !turn.look(connection))
        #expect(bound == newQueues)
        // A message that the broker had routed may still arrive. An end mark of earlier queues makes it look at once.
        time.now += 999
        #expect(turn.end(try #require(EndMark("end of generation 0 0")), connection) == nil)
        #expect(try !turn.look(connection))
        #expect(mark(of: "chat.queue.0") == nil)
        broker.put([2], into: "chat.queue.0")
        time.now += 1000
        #expect(try !turn.look(connection))
        #expect(generations.known.first?.isClosed == true)
        #expect(broker.messages(of: "chat.queue.0").map(\.body) == [[1], [2], []])
        let marks = try oldQueues.map { try #require(mark(of: $0)) }
        #expect(Set(marks.map(\.queue)) == [0, 1] && marks.allSatisfy { $0.generation == 1 })

        #expect(turn.end(marks[0], connection) == nil)
        #expect(try !turn.look(connection))
        #expect(turn.end(marks[1], connection) == nil)
        // At once: an end that is recorded is looked at.
        #expect(try turn.look(connection))
        #expect(try turn.prepare(broker.open("test")) == new)
    }

    /// Its worker ended between unbinding and marking; another one repeats every step.
    @Test func everyStepMayRunTwice() throws {
        let generations = try runOld()
        let connection = try broker.open("test")
        let workers = [turn(generations, queues: 3), turn(generations, queues: 3)]
        for worker in workers { _ = try worker.prepare(connection) }
        #expect(generations.known.map(\.layout) == [old, new])
        for _ in 0..<2 {
            for worker in workers { _ = try worker.look(connection) }
            time.now += 1000
        }
        for queue in oldQueues {
            for message in broker.messages(of: queue) {
                let mark = try #require(EndMark(message.correlation))
                for worker in workers { #expect(worker.end(mark, connection) == nil) }
            }
        }
        for worker in workers { #expect(try worker.look(connection)) }
        #expect(bound == newQueues)
    }

    @Test func postgresIsAskedOnceASecond() throws {
        let generations = try runOld()
        let turn = turn(generations, queues: 2)
        let connection = try broker.open("test")
        _ = try turn.prepare(connection)
        let before = generations.readings
        for _ in 0..<10 { _ = try turn.look(connection) }
        time.now += 999
        _ = try turn.look(connection)
        #expect(generations.readings == before + 1)
        time.now += 1
        _ = try turn.look(connection)
        #expect(generations.readings == before + 2)
    }

    @Test func withoutPostgresTheLastKnownQueuesAreConsumed() throws {
        let generations = try runOld()
        let turn = turn(generations, queues: 2)
        let connection = try broker.open("test")
        generations.failure = StoreError("away", isTransient: true)
        // It knows of none yet.
        #expect { try turn.prepare(connection) } throws: { ($0 as? RabbitMQError)?.server == "PostgreSQL" }
        generations.failure = nil
        _ = try turn.prepare(connection)
        generations.failure = StoreError("away", isTransient: true)
        #expect(try turn.prepare(connection) == old)
        #expect(try !turn.look(connection))
        #expect(turn.end(try #require(EndMark("end of generation 1 0")), connection) != nil)
    }

    @Test func aBrokerThatLostItsDataGetsTheQueuesAgain() throws {
        let generations = try runOld()
        let empty = MemoryBroker()
        let time = time
        let turn = QueueTurn(
            settings(2), empty, generations, clock: WorkerClock(now: { time.now }, wait: { _, _ in }),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        _ = try turn.prepare(empty.open("test"))
        #expect(empty.bound(to: "chat.commands") == oldQueues)
    }

    /// It would send commands to queues behind their end marks.
    @Test func aWorkerThatWasSuspendedDoesNotBindAClosedGeneration() throws {
        let generations = try runOld()
        let new = new
        let broker = broker
        let turn = turn(generations, queues: 2)
        // While it stands still, the others turn to the next generation.
        generations.afterReading = {
            generations.afterReading = {}
            generations.known.append(
                QueueGeneration(layout: new, setting: "x", isClosed: false, isDrained: false, isForgotten: false))
            for queue in ["chat.queue.0", "chat.queue.1"] {
                try? broker.open("test").unbind(queue, from: "chat.commands")
            }
        }
        _ = try turn.prepare(broker.open("test"))
        #expect(bound.isEmpty)
    }

    @Test func forgottenQueuesAreDeletedAndLateMessagesMove() throws {
        let generations = try runOld()
        let connection = try broker.open("test")
        let turn = turn(generations, queues: 3)
        _ = try turn.prepare(connection)
        let late = [command(UUID128(high: 5, low: 1)), command(UUID128(high: 5, low: 2))]
        broker.put(Command.joined(late.map { $0.encode() }), into: "chat.queue.1")
        broker.put([], into: "chat.queue.0", correlation: "end of generation 1 0")
        try endAndForget(generations)
        // One at a time: its rooms wait meanwhile.
        _ = try turn.look(connection)
        #expect(broker.queueNames.intersection(oldQueues) == ["chat.queue.1"] && generations.known.count == 2)
        time.now += 1000
        _ = try turn.look(connection)
        #expect(generations.known.map(\.layout) == [new])
        #expect(broker.queueNames.isDisjoint(with: oldQueues))
        for command in late {
            let bodies = broker.messages(of: settings(3).queueName(new, new.index(command))).map(\.body)
            #expect(bodies.contains(command.joinedAlone))
        }
        #expect(newQueues.reduce(0) { $0 + broker.messages(of: $1).count } == 2)
    }

    /// Several would disturb one another.
    @Test func onlyTheFirstWorkerOfAHostDeletesQueues() throws {
        let generations = try runOld()
        let connection = try broker.open("test")
        let turn = turn(generations, queues: 3, isFirst: false)
        _ = try turn.prepare(connection)
        try endAndForget(generations)
        for _ in 0..<5 {
            _ = try turn.look(connection)
            time.now += 1000
        }
        #expect(broker.queueNames.isSuperset(of: oldQueues) && generations.known.count == 2)
    }

    /// Another worker had deleted some of them before it ended.
    @Test func theDeletionBeginsAnewAfterACrash() throws {
        let generations = try runOld()
        let connection = try broker.open("test")
        let crashed = turn(generations, queues: 3)
        _ = try crashed.prepare(connection)
        try endAndForget(generations)
        _ = try crashed.look(connection)
        let next = turn(generations, queues: 3)
        for _ in 0..<2 {
            _ = try next.look(connection)
            time.now += 1000
        }
        #expect(broker.queueNames.isDisjoint(with: oldQueues) && generations.known.map(\.layout) == [new])
    }

    /// The worker goes on with its rooms.
    @Test func aDeletionThatFailsIsTriedAgain() throws {
        let generations = try runOld()
        let connection = try broker.open("test")
        let turn = turn(generations, queues: 3)
        _ = try turn.prepare(connection)
        try endAndForget(generations)
        broker.isAway = true
        _ = try turn.look(connection)
        broker.isAway = false
        for _ in 0..<2 {
            time.now += 1000
            _ = try turn.look(connection)
        }
        #expect(broker.queueNames.isDisjoint(with: oldQueues) && generations.known.map(\.layout) == [new])
    }
}
