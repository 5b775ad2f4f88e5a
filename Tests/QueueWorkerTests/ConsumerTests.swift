import ChatAdapters
import ChatCore
import ChatProcess
import Glibc
import TestSupport
import Testing

@testable import queue_worker

private let away = StoreError("away", isTransient: true)
private let broken = StoreError("a value that the table refuses", isTransient: false)

@Suite struct ConsumerTests {
    // MARK: The way of a command

    @Test func itIsStoredThenToldThenAnsweredThenAcknowledged() throws {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room, replyTo: "api", correlation: "7")
        var order: [String] = []
        scene.store.beforeStore = { _ in order.append("store") }
        scene.bus.beforePublish = { [unowned scene] in
            order.append("tell, \(scene.broker.answers.count) answers, \(scene.broker.unacknowledged) in hand")
        }
        scene.rounds(1)
        #expect(order.first == "store")
        #expect(order.dropFirst().first == "tell, 0 answers, 1 in hand")
        #expect(scene.broker.answers.map(\.correlation) == ["7"] && scene.broker.answers.first?.queue == "api")
        // Acknowledgements gather for a moment, also when nothing else comes.
        #expect(scene.broker.unacknowledged == 1)
        scene.rounds(1)
        #expect(scene.waits.last == 20)
        #expect(scene.broker.unacknowledged == 0)
    }

    @Test func whatArrivedTogetherIsOneBatchAndKeepsItsOrder() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        let messages = (0..<5).map { _ in scene.message(in: room) }
        scene.put(room, messages[0])
        for message in messages.dropFirst() { scene.put(message) }
        scene.rounds(1)
        #expect(scene.store.batches == [6])
        #expect(scene.store.stored == [room.id] + messages.map(\.id))
        #expect(scene.frames(of: room) == [1, 2, 3, 4, 5])
    }

    @Test func aWorkerThatCrashesBeforeTheAcknowledgementLosesNothing() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room)
        // Stored and told, but not acknowledged.
        scene.rounds(1)
        scene.crash()
        let repeated = scene.message(in: room)
        scene.put(repeated)
        scene.start()
        scene.rounds(3)
        #expect(scene.store.stored == [room.id, room.id, repeated.id])
        #expect(scene.broker.messages(of: scene.name(0)).isEmpty)
    }

    @Test func whatCannotBeReadIsPutAsideAndTheRestGoesOn() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.broker.put([0xc1, 1, 2], into: scene.name(0))
        scene.put(room)
        scene.rounds(2)
        #expect(scene.store.stored == [room.id])
        #expect(scene.deadLetters.map(\.body) == [[0xc1, 1, 2]])
        #expect(scene.deadLetters.first?.queue == scene.name(0))
        #expect(scene.broker.unacknowledged == 0)
        #expect(scene.place.scoreboard.counter(Counter.dead) == 1)
    }

    /// Its letter is confirmed by the broker first.
    @Test func whatCannotBePutAsideStaysInItsQueue() {
        let scene = ConsumerScene()
        scene.rounds(1)
        scene.broker.isSilent = true
        scene.broker.put([0xc1], into: scene.name(0))
        scene.rounds(1)
        #expect(scene.broker.messages(of: scene.name(0)).count == 1)
    }

    @Test func answersOfThePreviousReleaseHaveAConnectionOfTheirOwn() {
        let scene = ConsumerScene()
        scene.rounds(1)
        scene.put(scene.newRoom(), replyTo: "amq.rabbitmq.reply-to.x", correlation: "1")
        scene.put(scene.newRoom(), replyTo: "api", correlation: "2")
        scene.rounds(1)
        #expect(scene.broker.answers.map(\.correlation) == ["1", "2"])
        #expect(scene.broker.opened.filter { $0 == "queue-worker answers" }.count == 1)
    }

    // MARK: Servers that are away

    @Test func aBatchWaitsForPostgresWithEverythingBehindIt() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        let message = scene.message(in: room)
        scene.put(room)
        var failures = 4
        scene.store.beforeStore = { [unowned scene] _ throws(StoreError) in
            if failures == 4 { scene.put(message) }
            failures -= 1
            if failures >= 0 { throw away }
        }
        scene.waits = []
        scene.rounds(1)
        #expect(scene.waits == [50, 100, 200, 400])
        #expect(scene.store.stored == [room.id])
        scene.rounds(1)
        #expect(scene.store.stored == [room.id, message.id])
        #expect(scene.frames(of: room) == [1])
    }

    @Test func aBatchThatIsStoredWaitsForRedisUnacknowledged() {
        let scene = ConsumerScene()
        scene.rounds(1)
        scene.put(scene.newRoom(), replyTo: "api")
        var failures = 3
        scene.bus.beforePublish = { [unowned scene] () throws(BusError) in
            #expect(scene.broker.unacknowledged == 1 && scene.broker.answers.isEmpty)
            failures -= 1
            if failures >= 0 { throw BusError("away") }
        }
        scene.rounds(1)
        #expect(scene.store.batches == [1])
        #expect(scene.bus.notices.contains { !$0.isEmpty })
        #expect(scene.broker.answers.count == 1)
    }

    @Test func aQuitDuringAnOutageReturnsTheBatch() {
        let scene = ConsumerScene()
        scene.rounds(1)
        scene.put(scene.newRoom())
        scene.store.beforeStore = { _ throws(StoreError) in throw away }
        scene.duringWait = { [unowned scene] in scene.place.mustQuit = true }
        scene.consumer.serve()
        #expect(scene.store.stored.isEmpty)
        #expect(scene.broker.messages(of: scene.name(0)).count == 1)
    }

    /// The queue-worker's own crashes are not the fault of what waits.
    @Test func anOutageDuringARedeliveryIsNoDeath() {
        let scene = ConsumerScene()
        let room = scene.newRoom()
        scene.rounds(1)
        scene.put(room)
        scene.rounds(1)
        scene.crash()
        scene.start()
        scene.store.beforeStore = { _ throws(StoreError) in throw away }
        var files: [Int] = []
        scene.duringWait = { [unowned scene] in
            files.append(filesOfAttempts(scene))
            if files.count == 2 { scene.store.beforeStore = { _ in } }
        }
        scene.rounds(1)
        #expect(files == [0, 0])
        #expect(scene.store.stored.last == room.id)
    }

    @Test func aLostBrokerIsTriedAgainWithGrowingPauses() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room)
        scene.broker.isAway = true
        scene.waits = []
        scene.rounds(4)
        #expect(scene.waits == [50, 100, 200, 400])
        scene.broker.isAway = false
        scene.rounds(2)
        #expect(scene.store.stored == [room.id])
        scene.broker.isAway = true
        scene.waits = []
        scene.rounds(1)
        #expect(scene.waits.last == 50)
        #expect(scene.place.timesReady == 1)
    }

    @Test func aCancelledConsumerConnectsAnew() {
        let scene = ConsumerScene()
        scene.rounds(1)
        scene.broker.cancelConsumers(of: scene.name(1))
        scene.rounds(2)
        #expect(scene.broker.consumed.contains(scene.name(1)))
    }

    @Test func aConsumerThatIsCancelledWhileABatchWaitsConnectsAnew() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room)
        var failures = 3
        scene.store.beforeStore = { _ throws(StoreError) in
            failures -= 1
            if failures >= 0 { throw away }
        }
        scene.duringWait = { [unowned scene] in
            scene.duringWait = {}
            scene.broker.cancelConsumers(of: scene.name(1))
        }
        scene.rounds(4)
        #expect(scene.broker.consumed.contains(scene.name(1)))
        #expect(scene.store.stored == [room.id])
    }

    /// The end stands behind what the broker had sent before it.
    @Test func aBatchThatAnotherWorkerHasIsNotStoredByTheOneThatWaited() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room)
        var (failures, opened) = (2, [Int]())
        scene.store.beforeStore = { [unowned scene] _ throws(StoreError) in
            failures -= 1
            if failures >= 0 { throw away }
            opened.append(scene.broker.opened.count)
        }
        let before = scene.broker.opened.count
        scene.duringWait = { [unowned scene] in
            scene.duringWait = {}
            for _ in 0..<20 { scene.put(scene.message(in: room), queue: 1) }
            scene.broker.cancelConsumers(of: scene.name(1))
        }
        scene.rounds(6)
        #expect(opened.first.map { $0 > before } == true)
        #expect(scene.store.stored.first == room.id)
    }

    // MARK: Several hosts

    /// Commands arrive all the time; some are in the first host's hands when it leaves a queue.
    @Test func aQueueIsHandedOverInItsOrderAndEachCommandIsStoredInOrder() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let rooms = [scene.newRoom(), scene.newRoom()]
        var sent = rooms.map { [$0.id] }
        for queue in 0..<2 { scene.put(rooms[queue], queue: queue) }
        let other = ConsumerScene(beside: scene)
        for round in 0..<400 {
            if round == 20 { other.rounds(1) }
            for queue in 0..<2 {
                for _ in 0..<3 {
                    let command = scene.message(in: rooms[queue])
                    scene.put(command, queue: queue)
                    sent[queue].append(command.id)
                }
            }
            // Each takes whatever it gets; time passes in both.
            scene.rounds(1)
            if round > 20 { other.rounds(1) }
            scene.now += 50
            other.now += 50
        }
        for _ in 0..<200 {
            scene.rounds(1)
            other.rounds(1)
        }
        for queue in 0..<2 {
            var seen: Set<UUID128> = []
            let mine = Set(sent[queue])
            let order = scene.store.stored.filter { mine.contains($0) && seen.insert($0).inserted }
            #expect(order == sent[queue])
        }
        #expect(other.bus.notices.count > 100)
        let working = scene.workers.known.values.map(\.working)
        #expect(working.reduce(0) { $0 + $1.count } == 2 && working.allSatisfy { $0.count == 1 })
        // It ends: the first host takes over at once, and soon knows that nobody else is there.
        other.crash()
        let last = scene.message(in: rooms[1])
        scene.put(last, queue: 1)
        scene.put(scene.message(in: rooms[0]), queue: 0)
        scene.rounds(5)
        #expect(scene.store.stored.contains(last.id))
    }

    @Test func aWorkerThatEndsLeavesItsSharesToTheOthersUnlessASuccessorHasItsPlace() {
        let scene = ConsumerScene()
        scene.rounds(1)
        #expect(scene.workers.known.count == 1)
        scene.consumer.end()
        #expect(scene.workers.known.isEmpty)
        let old = scene.consumer!
        scene.start()
        scene.rounds(1)
        old.end()
        #expect(scene.workers.known.count == 1)
    }

    /// The lines of the broker do not need PostgreSQL.
    @Test func withoutTheListOfWorkersQueuesAreConsumed() {
        let scene = ConsumerScene(slot: 1, of: 2)
        scene.workers.failure = away
        scene.rounds(10)
        #expect(scene.broker.consumed == [scene.name(0), scene.name(1)])
        let room = scene.newRoom()
        scene.put(room)
        scene.rounds(2)
        #expect(scene.store.stored == [room.id])
    }

    @Test func aWorkerIsReadyOnceItConsumes() {
        let scene = ConsumerScene()
        scene.broker.isAway = true
        scene.rounds(2)
        #expect(scene.place.timesReady == 0)
        scene.broker.isAway = false
        scene.rounds(2)
        #expect(scene.place.timesReady == 1)
        #expect(scene.broker.consumed == [scene.name(0), scene.name(1)])
    }

    // MARK: Commands at fault

    @Test func aBatchThatTheStoreRefusesIsTriedOneByOne() throws {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        let messages = (0..<3).map { _ in scene.message(in: room) }
        scene.put(room)
        for (number, message) in messages.enumerated() {
            scene.put(message, replyTo: "api", correlation: "\(number)")
        }
        scene.store.beforeStore = { commands throws(StoreError) in
            if commands.contains(messages[1].id) { throw broken }
        }
        scene.rounds(1)
        #expect(scene.store.stored == [room.id, messages[0].id, messages[2].id])
        let answers = scene.broker.answers.map { String(decoding: $0.body, as: UTF8.self) }
        #expect(answers.map { $0.contains("internal") } == [false, true, false])
        scene.rounds(1)
        #expect(scene.broker.unacknowledged == 0)
    }

    /// A redelivered message may be the one that crashed its worker: nothing else is lost by it.
    @Test func redeliveredMessagesAreTriedAloneAfterWhatArrivedEarlier() {
        let scene = ConsumerScene()
        scene.rounds(1)
        let rooms = (0..<3).map { _ in scene.newRoom() }
        scene.put(rooms[0])
        scene.put(rooms[1])
        // Both are in its hands.
        scene.store.beforeStore = { [unowned scene] _ throws(StoreError) in
            scene.broker.cut()
            throw away
        }
        scene.rounds(1)
        scene.store.beforeStore = { _ in }
        scene.store.batches = []
        scene.put(rooms[2])
        scene.rounds(5)
        #expect(scene.store.stored == rooms.map(\.id))
        #expect(scene.store.batches == [1, 1, 1])
        #expect(filesOfAttempts(scene) == 0)
    }

    @Test func aCommandThatCrashedThreeWorkersIsPutAsideAlone() throws {
        let scene = ConsumerScene()
        scene.rounds(1)
        let rooms = (0..<3).map { _ in scene.newRoom() }
        let body = Command.joined(rooms.map { $0.encode() })
        scene.broker.put(body, into: scene.name(0), replyTo: "api", correlation: "1")
        scene.store.beforeStore = { [unowned scene] _ throws(StoreError) in
            scene.broker.cut()
            throw away
        }
        scene.rounds(1)
        // As a second worker and a third one leave it: the message's file, then the command's.
        died("message-" + String(fnv1a64(body), radix: 16), scene)
        died("command-\(rooms[1].id)", scene)
        scene.store.beforeStore = { _ in }
        scene.rounds(2)
        #expect(scene.store.stored == [rooms[0].id, rooms[2].id])
        let letter = try #require(scene.deadLetters.first)
        #expect(scene.deadLetters.count == 1)
        #expect(letter.body == rooms[1].joinedAlone)
        #expect(letter.reason == "it crashed three workers" && letter.stack.contains("frame 0"))
        let refused = scene.broker.answers.filter { String(decoding: $0.body, as: UTF8.self).contains("internal") }
        #expect(refused.count == 1 && scene.broker.answers.count == 3)
        #expect(filesOfAttempts(scene) == 0)
        #expect(scene.broker.unacknowledged == 0)
    }

    private func died(_ key: String, _ scene: ConsumerScene) {
        let file = open("\(scene.folder)/queue-worker.attempts/\(key)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(file) }
        let text = "tried by process 1\n\(CrashReport.mark)11 (Segmentation fault)\nframe 0\n"
        #expect(write(file, text, text.utf8.count) == text.utf8.count)
    }

    // MARK: The queues of a pool

    @Test func aWorkerConsumesItsOwnQueuesAndLaterStandsByForTheOthers() {
        let scene = ConsumerScene(slot: 1, of: 2)
        let seats = (0..<2).map { QueueSeat(host: scene.host, slot: $0) }
        let owners = QueueShares.owners(of: 2, among: Set(seats))
        let own = owners.indices.filter { owners[$0] == seats[1] }
        #expect(own.count == 1)
        scene.rounds(1)
        #expect(scene.broker.consumed == [scene.name(own[0])])
        scene.now += QueueLines.standbyDelay.milliseconds - 1001
        scene.rounds(1)
        #expect(scene.broker.consumed == [scene.name(own[0])])
        scene.now += 1000
        scene.rounds(2)
        #expect(scene.broker.consumed == [scene.name(0), scene.name(1)])
    }

    @Test func anEndMarkIsRecordedAfterEverythingBeforeItIsStored() throws {
        let scene = ConsumerScene()
        scene.rounds(1)
        let room = scene.newRoom()
        scene.put(room)
        scene.broker.put([], into: scene.name(0), correlation: "end of generation 1 0")
        scene.broker.put([], into: scene.name(1), correlation: "end of generation 1 1")
        scene.store.beforeStore = { [unowned scene] _ in #expect(scene.generations.known[0].isDrained == false) }
        scene.rounds(1)
        #expect(scene.store.stored == [room.id])
        // PostgreSQL is away for a moment: the mark waits, too.
        scene.generations.failure = away
        scene.waits = []
        scene.duringWait = { [unowned scene] in if scene.waits.count == 3 { scene.generations.failure = nil } }
        scene.rounds(2)
        #expect(scene.waits == [50, 100, 200])
        #expect(scene.generations.known[0].isDrained)
        #expect(scene.broker.unacknowledged == 0)
    }

    @Test func theNextGenerationIsConsumedOnceTheOldOneIsDrained() throws {
        let scene = ConsumerScene()
        scene.rounds(1)
        let next = QueueLayout(generation: 2, total: 2, byUser: false)
        try scene.generations.begin(next, setting: ConsumerScene.settings.rabbitMQ.layoutSetting)
        let room = scene.newRoom()
        scene.put(room)
        for _ in 0..<20 where !scene.broker.consumed.contains(scene.name(0, generation: 2)) { scene.rounds(1) }
        #expect(scene.store.stored == [room.id])
        #expect(
            scene.broker.consumed == [scene.name(0, generation: 2), scene.name(1, generation: 2)])
        #expect(scene.generations.known[0].isDrained)
    }
}

/// Messages whose workers died, as the next worker sees them.
private func filesOfAttempts(_ scene: ConsumerScene) -> Int {
    var found = glob_t()
    defer { globfree(&found) }
    return glob("\(scene.folder)/queue-worker.attempts/*", 0, nil, &found) == 0 ? Int(found.gl_pathc) : 0
}
