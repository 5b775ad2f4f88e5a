import ChatAdapters
import ChatCore
import TestSupport
import Testing

@testable import queue_worker

@Suite struct ReachTests {
    private let patience = Reach.patience.milliseconds

    @Test func itLetsGoOnceAServerAnsweredNothingForItsPatience() {
        var reach = Reach()
        #expect(reach.letsGo(knowsOthers: true) == nil)
        reach.unanswered(.redis, since: 1000)
        reach.unanswered(.redis, since: 3000)
        reach.unanswered(.postgres, since: 2000)
        #expect(reach.letsGo(knowsOthers: true)! == (1000 + patience, .redis))
        reach.answered(.redis)
        #expect(reach.letsGo(knowsOthers: true)! == (2000 + patience, .postgres))
        #expect(reach.letsGo(knowsOthers: false)!.at == 2000 + Reach.patienceAlone.milliseconds)
        reach.answered(.postgres)
        #expect(reach.letsGo(knowsOthers: true) == nil)
        // One that was silent already counts from then.
        reach.unanswered(.postgres, since: 5000)
        reach.unanswered(.postgres, since: 4000)
        #expect(reach.letsGo(knowsOthers: true)!.at == 4000 + patience)
    }

    /// A server that answers a question and then nothing more does not move the queues without an end.
    @Test func whoLetsGoAgainAndAgainStandsAsideForLonger() {
        var reach = Reach()
        var (now, rests): (Int64, [Int]) = (0, [])
        for _ in 0..<8 {
            reach.unanswered(.postgres, since: now)
            now = reach.letsGo(knowsOthers: true)!.at
            reach.letGo(of: .postgres, now: now)
            #expect(reach.isAside && reach.letsGo(knowsOthers: true) == nil)
            rests.append(reach.rest(now: now))
            now += Int64(reach.rest(now: now))
            #expect(reach.rest(now: now) == 0)
            reach.joined(now: now)
            #expect(!reach.isAside)
        }
        #expect(rests == [0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000])
        now += Reach.calm.milliseconds
        reach.unanswered(.postgres, since: now - patience)
        reach.letGo(of: .postgres, now: now)
        #expect(reach.rest(now: now) == 0)
    }
}

/// Two hosts on one broker; one of them, or both, lose PostgreSQL.
@Suite struct CutOffTests {
    private let scene = ConsumerScene()
    private let other: ConsumerScene

    init() {
        other = ConsumerScene(beside: scene)
        scene.rounds(1)
        other.rounds(1)
    }

    /// Both work for this time, in turns.
    private func pass(_ duration: Duration, _ each: () -> Void = {}) {
        let end = scene.now + duration.milliseconds
        while scene.now < end {
            each()
            let before = scene.now
            scene.rounds(1)
            scene.now = max(scene.now, before + 50)
            // It waited inside its round as long as the first one did.
            other.now = max(other.now, scene.now - 50)
            other.rounds(1)
            (scene.now, other.now) = (max(scene.now, other.now), max(scene.now, other.now))
        }
    }

    private var consumers: Int { scene.broker.opened.count { $0 == "queue-worker" } }

    @Test func aWorkerThatDoesNotReachPostgresLeavesItsQueuesToOneThatDoes() {
        let rooms = [scene.newRoom(), scene.newRoom()]
        for queue in 0..<2 { scene.put(rooms[queue], queue: queue) }
        var sent = rooms.map { [$0.id] }
        func send() {
            for queue in 0..<2 {
                let command = scene.message(in: rooms[queue])
                scene.put(command, queue: queue)
                sent[queue].append(command.id)
            }
        }
        pass(.seconds(20), send)
        #expect(scene.workers.known.values.map(\.working.count) == [1, 1])
        scene.way.isCut = true
        pass(.seconds(6), send)
        let late = (0..<2).map { scene.message(in: rooms[$0]) }
        for queue in 0..<2 {
            scene.put(late[queue], queue: queue)
            sent[queue].append(late[queue].id)
        }
        pass(.seconds(3))
        // While it is still cut off.
        #expect(late.allSatisfy { scene.store.stored.contains($0.id) })
        scene.way.isCut = false
        pass(.seconds(20), send)
        pass(.seconds(2))
        for queue in 0..<2 {
            var seen: Set<UUID128> = []
            let mine = Set(sent[queue])
            #expect(scene.store.stored.filter { mine.contains($0) && seen.insert($0).inserted } == sent[queue])
        }
        // It has its share again.
        #expect(scene.workers.known.values.map(\.working.count) == [1, 1])
    }

    @Test func aWorkerThatDoesNotReachRedisLeavesItsQueuesToOneThatDoes() {
        let rooms = [scene.newRoom(), scene.newRoom()]
        for queue in 0..<2 { scene.put(rooms[queue], queue: queue) }
        func send() { for queue in 0..<2 { scene.put(scene.message(in: rooms[queue]), queue: queue) } }
        pass(.seconds(20), send)
        #expect(scene.workers.known.values.map(\.working.count) == [1, 1])
        scene.bus.isCut = true
        let late = (0..<2).map { scene.message(in: rooms[$0]) }
        for queue in 0..<2 { scene.put(late[queue], queue: queue) }
        pass(.seconds(8))
        #expect(late.allSatisfy { scene.store.stored.contains($0.id) } && scene.broker.unacknowledged == 0)
        for room in rooms {
            // Each frame was published, by either.
            let frames = Set(scene.frames(of: room) + other.frames(of: room))
            #expect(frames == Set(1...frames.max()!))
        }
        let before = consumers
        scene.bus.isCut = false
        pass(.seconds(20), send)
        #expect(consumers == before + 1)
        #expect(scene.workers.known.values.map(\.working.count) == [1, 1])
    }

    /// A standby of the same host would only lose time.
    @Test func anIdleWorkerLeavesToo() {
        pass(.seconds(5))
        scene.way.isCut = true
        pass(.seconds(8))
        let message = scene.newRoom()
        for queue in 0..<2 { scene.put(queue == 0 ? message : scene.newRoom(), queue: queue) }
        let before = scene.waits.count
        other.rounds(3)
        #expect(scene.store.stored.count == 2 && scene.waits.count == before)
    }

    @Test func whenNobodyReachesPostgresEachLeavesOnceAndAsksTwiceASecond() {
        let room = scene.newRoom()
        scene.put(room)
        pass(.seconds(5))
        let before = consumers
        (scene.way.isCut, other.way.isCut) = (true, true)
        scene.put(scene.message(in: room))
        pass(.seconds(10))
        let asked = (scene.way.questions, other.way.questions)
        pass(.seconds(60))
        #expect(consumers == before)
        #expect(scene.way.questions - asked.0 <= 122 && other.way.questions - asked.1 <= 122)
        let last = scene.message(in: room)
        scene.put(last)
        (scene.way.isCut, other.way.isCut) = (false, false)
        pass(.seconds(3))
        #expect(scene.store.stored.contains(last.id))
        #expect(consumers == before + 2)
        pass(.seconds(10))
        #expect(consumers == before + 2)
    }

    @Test func theOnlyHostKeepsItsBatchAndGoesOnAtOnce() {
        let alone = ConsumerScene()
        alone.rounds(1)
        let room = alone.newRoom()
        alone.put(room)
        var waited: Int64 = 0
        alone.way.isCut = true
        alone.duringWait = {
            waited = alone.now
            if waited > 1_030_000 { alone.way.isCut = false }
        }
        alone.rounds(1)
        #expect(alone.store.stored == [room.id])
        #expect(alone.broker.opened.count { $0 == "queue-worker" } == 1)
        #expect(alone.waits.max()! <= 1000)
    }

    /// A statement at its limit, a lock, a conflict: others would fare no better.
    @Test func aServerThatAnswersIsNoReasonToLeave() {
        let room = scene.newRoom()
        scene.put(room, queue: 0)
        scene.put(scene.newRoom(), queue: 1)
        pass(.seconds(5))
        let before = consumers
        var failures = 30
        scene.store.beforeStore = { _ throws(StoreError) in
            failures -= 1
            if failures >= 0 { throw StoreError("57014", isTransient: true) }
        }
        scene.put(scene.message(in: room), queue: 0)
        scene.put(scene.message(in: room), queue: 0)
        pass(.seconds(40))
        #expect(failures < 0 && consumers == before)
    }
}
