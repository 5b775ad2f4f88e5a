import ChatCore
import Glibc
import TestSupport
import Testing

@testable import queue_worker

@Suite struct PushConsumerTests {
    // MARK: The way of a job

    @Test func aJobIsAcknowledgedOnlyAfterItsPush() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(3)
        #expect(scene.world.sent.isEmpty && scene.broker.unacknowledged == 1)
        var inHand: [Int] = []
        scene.world.whileSending = { [unowned scene] in inHand.append(scene.broker.unacknowledged) }
        scene.passDelay()
        #expect(scene.world.sent == ["2-0 message 1 badge 9"])
        #expect(inHand == [1])
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    @Test func socketsAreProbedWhenTheMessageComesAndThePushIsDueAfterTheDelay() {
        let scene = PushScene()
        scene.rounds(1)
        let came = scene.world.now
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        #expect(scene.world.probed == [[scene.bob]])
        var sentAt: Int64?
        scene.world.whileSending = { [unowned scene] in sentAt = sentAt ?? scene.world.now }
        scene.passDelay()
        #expect(sentAt == came + 20_000)
        #expect(scene.world.probed.count == 1)
    }

    /// Seen marks and deletions remove what is on a screen: they wait for nobody's message.
    @Test func aSeenMarkOvertakesTheMessagesThatWait() throws {
        let scene = PushScene()
        try scene.world.note(pushed: 1, in: scene.otherRoom, to: scene.bob)
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.put(scene.seen(scene.otherRoom))
        scene.rounds(2)
        #expect(scene.world.sent == ["2-0 seen 1"])
        #expect(scene.broker.unacknowledged == 1)
        scene.passDelay()
        #expect(scene.world.sent == ["2-0 seen 1", "2-0 message 1 badge 9"])
        #expect(scene.broker.unacknowledged == 0)
    }

    /// A worker that is asked for many removals goes on with its pushes.
    @Test func removalsTakeTurnsWithPushes() throws {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.world.now += 19_900
        let rooms = (0..<9).map { UUID128(high: 4, low: $0) }
        for room in rooms { try scene.world.note(pushed: 1, in: room, to: scene.bob) }
        for room in rooms { scene.put(scene.seen(room)) }
        scene.world.slow = ["2": 400]
        // A service of users' choice would rest after that.
        scene.world.recipients = [scene.recipient(scene.bob, .fcm)]
        for _ in 0..<6 where scene.broker.unacknowledged + scene.waiting.count > 0 { scene.rounds(1) }
        let order = scene.world.sent.map { $0.contains("message") }
        #expect(order.count == 10)
        #expect(try #require(order.firstIndex(of: true)) < 9)
    }

    @Test func messagesOfARoomBecomeOnePush() {
        let scene = PushScene()
        let first = scene.world.messages[0]
        for seq in 2...3 as ClosedRange<Int64> {
            scene.world.messages.insert(first, at: 0)
            scene.world.messages[0].seq = seq
        }
        for seq in 1...3 { scene.put(scene.message(in: scene.room, seq: Int64(seq))) }
        scene.put(scene.message(in: scene.otherRoom))
        scene.passDelay()
        #expect(scene.world.sent.sorted() == ["2-0 message 1 badge 9", "2-0 message 3 badge 9"])
        #expect(scene.broker.unacknowledged == 0)
    }

    // MARK: Deaths and stops

    @Test func aWorkerThatDiesBeforeThePushLosesNothing() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.crash()
        #expect(scene.waiting.count == 1)
        scene.start()
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    /// The marks say so.
    @Test func aWorkerThatDiesBeforeTheAcknowledgementPushesNothingTwice() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.world.whileSending = { [unowned scene] in scene.broker.cut() }
        scene.passDelay()
        scene.world.whileSending = {}
        scene.crash()
        scene.start()
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    @Test func aStopReturnsTheJobsThatAreNotDue() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.duringWait = { [unowned scene] in scene.place.mustQuit = true }
        scene.consumer.serve()
        #expect(scene.world.sent.isEmpty && scene.waiting.count == 1)
        #expect(scene.broker.unacknowledged == 0)
    }

    @Test func aStopInTheMiddleOfARequestReturnsItsJob() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.world.stopsInside = true
        scene.consumer.serve()
        #expect(scene.world.sent.isEmpty && scene.waiting.count == 1)
    }

    @Test func aStopHandsOnWhatWaitsForAnotherTry() throws {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.world.answers = ["2-0": [.failed("500")]]
        scene.world.whileSending = { [unowned scene] in scene.place.mustQuit = true }
        scene.consumer.serve()
        #expect(scene.waiting.count == 1)
        let job = try PushJob.decode(try #require(scene.waiting.first).body)
        #expect(job == [.again(room: scene.room, user: scene.bob, device: "2-0", first: 1, seq: 1)])

        scene.place.mustQuit = false
        scene.world.whileSending = {}
        scene.world.sent = []
        scene.start()
        scene.rounds(2)
        #expect(scene.world.sent == ["2-0 message 1 badge 9"])
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    @Test func aStopWithoutABrokerEndsAllTheSame() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.world.answers = ["2-0": [.failed("500")]]
        scene.world.whileSending = { [unowned scene] in scene.place.mustQuit = true }
        scene.broker.beforePublish = { [unowned scene] _ in scene.broker.isAway = true }
        scene.consumer.serve()
        #expect(scene.broker.isAway && scene.waiting.isEmpty)
    }

    // MARK: Servers that are away

    @Test func aLostBrokerIsTriedAgainWithGrowingPauses() {
        let scene = PushScene()
        scene.broker.isAway = true
        scene.rounds(4)
        #expect(scene.waits == [50, 100, 200, 400])
        #expect(scene.place.timesReady == 0)
        scene.broker.isAway = false
        scene.put(scene.message(in: scene.room))
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        scene.broker.cut()
        scene.waits = []
        scene.rounds(1)
        #expect(scene.waits == [50])
        scene.put(scene.message(in: scene.room, seq: 2))
        scene.rounds(2)
        #expect(scene.broker.unacknowledged == 1)
        #expect(scene.place.timesReady == 1)
    }

    @Test func aCancelledConsumerConnectsAnew() {
        let scene = PushScene()
        scene.rounds(1)
        scene.broker.cancelConsumers(of: scene.queue)
        scene.put(scene.message(in: scene.room))
        scene.passDelay()
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
    }

    @Test func aStoreThatIsAwayLosesNoJob() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.world.isAway = true
        scene.passDelay()
        #expect(scene.broker.unacknowledged + scene.waiting.count == 1)
        scene.world.isAway = false
        scene.passDelay()
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
        #expect(scene.place.scoreboard.counter(Counter.pushJobsDropped) == 0)
    }

    // MARK: Jobs at fault

    @Test func aBodyThatCannotBeReadIsDroppedOnceAndTheRestGoesOn() {
        let scene = PushScene()
        scene.broker.put([0xc1, 1, 2], into: scene.queue)
        scene.put(scene.message(in: scene.room))
        scene.broker.put([], into: scene.queue)
        scene.rounds(1)
        #expect(scene.broker.unacknowledged == 1)
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        #expect(scene.place.scoreboard.counter(Counter.pushJobsDropped) == 2)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    @Test func aJobThatTheStoreRefusesForGoodIsDroppedOnceAndTheRestGoesOn() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.put(.deleted(room: scene.room, message: UUID128(high: 3, low: 1), seq: 1))
        scene.put(scene.message(in: scene.otherRoom))
        scene.rounds(1)
        scene.world.refusedRooms = [scene.room]
        scene.passDelay()
        scene.passDelay()
        #expect(scene.world.sent.count == 1)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
        #expect(scene.broker.opened == ["queue-worker push"])
    }

    @Test func aJobThatCrashedThreeWorkersIsDroppedAlone() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.put(scene.message(in: scene.otherRoom))
        scene.rounds(1)
        scene.crash()
        scene.leaveDeath("push-jobs-0")
        scene.leaveDeath(scene.key(of: scene.message(in: scene.room)))
        var tried: [Bool] = []
        scene.world.whileSending = { [unowned scene] in
            // Each is tried under its own name.
            let path = "\(scene.folder)/queue-worker.attempts/\(scene.key(of: scene.message(in: scene.otherRoom)))"
            tried.append(access(path, F_OK) == 0)
        }
        scene.start()
        scene.passDelay()
        #expect(scene.world.sent.count == 1 && tried == [true])
        #expect(scene.place.scoreboard.counter(Counter.pushJobsDropped) == 1)
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
        // The next worker suspects nobody.
        #expect(access("\(scene.folder)/queue-worker.attempts/push-jobs-0", F_OK) != 0)
    }

    /// FCM's wait is a wait inside the work.
    @Test func aWaitThatAServiceAsksForIsNobodysDeath() {
        let scene = PushScene()
        scene.world.recipients = [scene.recipient(scene.bob, .fcm)]
        scene.world.answers = ["2-0": [.later(seconds: 5)]]
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.crash()
        scene.start()
        let path = "\(scene.folder)/queue-worker.attempts/push-jobs-0"
        var (waiting, sending): ([Bool], [Bool]) = ([], [])
        scene.world.whileSending = { sending.append(access(path, F_OK) == 0) }
        scene.duringWait = { if !sending.isEmpty { waiting.append(access(path, F_OK) == 0) } }
        scene.passDelay()
        #expect(sending == [true, true] && waiting.contains(false) && !waiting.contains(true))
        #expect(scene.broker.unacknowledged == 0 && scene.waiting.isEmpty)
    }

    @Test func anOutageIsNobodysDeath() {
        let scene = PushScene()
        scene.put(scene.message(in: scene.room))
        scene.rounds(1)
        scene.crash()
        scene.start()
        scene.world.isAway = true
        let path = "\(scene.folder)/queue-worker.attempts/push-jobs-0"
        var left: [Bool] = []
        scene.duringWait = { left.append(access(path, F_OK) == 0) }
        scene.passDelay()
        #expect(!left.isEmpty && !left.contains(true))
    }
}
