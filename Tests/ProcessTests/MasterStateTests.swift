import ChatCore
import Glibc
import Testing

@testable import ChatProcess

@Suite struct MasterStateTests {
    @Test func startsEveryPoolAndSaysReadyOnce() {
        var master = MasterScenario(pool("rooms", 2), pool("messages", 3))
        #expect(master.spawned.count == 5)
        #expect(Set(master.spawned.map(\.row)).count == 5)
        #expect(!master.actions.contains(.notify("READY=1")))
        master.allReady()
        #expect(master.actions.contains(.notify("READY=1")))
        master.pass(.seconds(1))
        #expect(master.actions.isEmpty)
    }

    @Test func deathsOfWorkersThatServedAreMadeGoodAtOnceHoweverMany() {
        var master = MasterScenario(pool())
        master.allReady()
        for _ in 0..<50 {
            master.pass(.seconds(1))
            master.end(master.ready[1], .killed(SIGKILL))
            #expect(master.spawned.map(\.slot) == [1])
            #expect(master.log.contains("was killed by SIGKILL"))
            master.allReady()
        }
    }

    @Test func deathsWithinASecondOrBeforeReadyWait() {
        var master = MasterScenario(pool("rooms", 1))
        master.allReady()
        master.pass(.milliseconds(999))
        master.end(where: { _ in true }, .killed(SIGKILL))
        #expect(master.spawned.isEmpty && master.log.contains("in 100 ms"))
        master.pass(.milliseconds(100))
        master.pass(.seconds(20))
        master.end(where: { _ in true }, .killed(SIGKILL))
        #expect(master.spawned.isEmpty && master.log.contains("in 200 ms"))
        master.pass(.milliseconds(200))
        master.allReady()
        master.pass(.seconds(1))
        master.end(where: { _ in true }, .killed(SIGKILL))
        #expect(master.spawned.count == 1)
    }

    @Test func deathsAtStartDoubleTheWait() {
        var master = MasterScenario(pool("rooms", 1))
        for wait in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            master.end(where: { _ in true }, .exited(1))
            #expect(master.spawned.isEmpty)
            #expect(master.log.contains("in \(wait) ms"))
            master.pass(.milliseconds(wait - 1))
            #expect(master.spawned.isEmpty)
            #expect(master.state.nextDue == master.now + 1_000_000)
            master.pass(.milliseconds(1))
            #expect(master.spawned.count == 1)
        }
        master.allReady()
        master.pass(.seconds(1))
        master.end(where: { _ in true }, .exited(1))
        #expect(master.spawned.count == 1)
    }

    @Test func workerThatNeverGetsReadyIsKilled() {
        var master = MasterScenario(pool("rooms", 1))
        master.pass(.seconds(29))
        #expect(master.killed.isEmpty)
        master.pass(.seconds(1))
        #expect(master.killed.count == 1)
        master.pass(.seconds(1))
        #expect(master.killed.isEmpty)
    }

    @Test func termFinishesWhatIsInHand() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.signal(.terminate))
        #expect(master.stopped.count == 2)
        #expect(master.actions.contains(.closeListeners))
        #expect(!master.actions.contains(.exit(0)))
        master.end(master.state.workers[0])
        #expect(master.spawned.isEmpty)
        master.pass(.seconds(30))
        #expect(master.killed.count == 1)
        master.end(master.state.workers[0], .killed(SIGKILL))
        #expect(master.actions.contains(.exit(0)))
    }

    @Test func quitKillsAtOnce() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.signal(.quit))
        #expect(master.killed.count == 2)
        master.end(where: { _ in true }, .killed(SIGKILL))
        #expect(master.actions.contains(.exit(0)))
    }

    @Test func scaleAndItsSignals() {
        var master = MasterScenario(pool("rooms", 1), pool("messages", 2))
        master.allReady()
        master.send(.scale(pool: "messages", .to(4)))
        #expect(master.spawned.map(\.slot) == [2, 3])
        master.allReady()
        master.send(.signal(.fewer))
        #expect(master.stopped.count == 1)
        #expect(master.state.pools[1].wanted == 3)
        #expect(master.actions.contains { if case .tellPoolSize(_, 3) = $0 { true } else { false } })
        master.send(.scale(pool: "messages", .to(0)))
        #expect(master.state.pools[1].wanted == 1)
        master.send(.scale(pool: "messages", .by(.max)))
        #expect(master.state.pools[1].wanted == master.state.pools[1].spec.workerLimit)
        master.send(.scale(pool: "messages", .by(.min)))
        #expect(master.state.pools[1].wanted == 1)
    }

    @Test func renewalStartsTheNewOneFirst() {
        var master = MasterScenario(pool())
        master.allReady()
        let old = master.ready[0]
        master.send(.wantsRenewal(worker: old.id, reason: "1000 requests"))
        #expect(master.spawned.map(\.slot) == [0])
        #expect(master.stopped.isEmpty)
        master.allReady()
        #expect(master.stopped == [old.id])
        master.end(old)
        #expect(master.spawned.isEmpty)
        #expect(master.ready.count == 2)
    }

    @Test func renewalThatDiesLeavesTheOldOneAndIsTriedAgain() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.wantsRenewal(worker: master.ready[0].id, reason: "1000 requests"))
        master.end(where: { $0.phase == .starting }, .exited(1))
        #expect(master.ready.count == 2)
        #expect(master.stopped.isEmpty)
        master.pass(.milliseconds(100))
        #expect(master.spawned.count == 1)
    }

    @Test func aWorkerThatASignalStoppedIsKilledWhereOthersWaitForIt() {
        for limit in [Duration.seconds(5), nil] {
            var spec = pool("queues", 1)
            spec.frozenLimit = limit
            var master = MasterScenario(spec)
            master.allReady()
            let frozen = [master.ready[0].row: Observation(frozenSince: master.now)]
            master.now += 5_000_000_000
            master.send(.tick(frozen))
            #expect(master.killed.isEmpty)
            master.now += 1
            master.send(.tick(frozen))
            #expect(master.killed.count == (limit == nil ? 0 : 1))
        }
    }

    @Test func aWorkerThatHangsSaysWhereAndIsKilled() {
        var spec = pool("sockets", 1)
        spec.hangLimit = .seconds(5)
        var master = MasterScenario(spec)
        master.allReady()
        let (worker, begun) = (master.ready[0], master.now)
        func tick(after seconds: Int64, silent: Bool = true) {
            master.now = begun + seconds * 1_000_000_000
            master.send(.tick([worker.row: Observation(silentSince: silent ? begun : nil)]))
        }
        tick(after: 5)
        #expect(master.actions.isEmpty)
        tick(after: 6)
        #expect(master.actions.contains(.askWhere(worker: worker.id)) && master.killed.isEmpty)
        #expect(master.log.contains("hangs: no sign of life for 6 s"))
        tick(after: 7)
        #expect(master.killed == [worker.id])
        // A worker that continues meanwhile is left alone, and asked again the next time.
        tick(after: 8, silent: false)
        tick(after: 20)
        #expect(master.killed.isEmpty && master.actions.contains(.askWhere(worker: worker.id)))
    }

    @Test func whoWaitsForAServerDoesNotHang() {
        var spec = pool("queues", 1)
        (spec.hangLimit, spec.waits) = (.seconds(5), true)
        var master = MasterScenario(spec)
        master.allReady()
        let (worker, begun) = (master.ready[0], master.now)
        func asks(after seconds: Int64, burnt: Int64) -> Bool {
            master.now = begun + seconds * 1_000_000_000
            master.send(.tick([worker.row: Observation(silentSince: begun, burnt: burnt * 1_000_000_000)]))
            return master.actions.contains(.askWhere(worker: worker.id))
        }
        #expect(!asks(after: 6, burnt: 0) && !asks(after: 40, burnt: 2))
        #expect(asks(after: 41, burnt: 3))
        var other = MasterScenario(spec)
        other.allReady()
        let row = other.ready[0].row
        let silent = Observation(silentSince: other.now)
        other.now += 51_000_000_000
        other.send(.tick([row: silent]))
        #expect(other.actions.contains(.askWhere(worker: other.ready[0].id)))
    }

    @Test func aMainThreadsTimeIsRead() {
        let before = mainThreadTime(getpid())
        #expect(before >= 0 && mainThreadTime(-1) == 0)
    }

    @Test func limitsOfTimeAndMemory() {
        var spec = pool("rooms", 2)
        spec.timeLimit = .seconds(5)
        spec.memoryLimit = 64 << 20
        var master = MasterScenario(spec)
        master.allReady()
        let (slow, fat) = (master.ready[0], master.ready[1])
        let busy = Observation(busySince: master.now, request: "GET /slow")
        master.now += 6_000_000_000
        master.send(.tick([slow.row: busy, fat.row: Observation(residentBytes: 65 << 20)]))
        #expect(master.killed == [slow.id])
        #expect(master.log.contains("GET /slow"))
        #expect(master.spawned.map(\.slot) == [1])
        master.allReady()
        #expect(master.stopped == [fat.id])
    }
}

@Suite struct PoolKindTests {
    private func onDemand() -> PoolSpec {
        PoolSpec(name: "idle", workers: 0, maxWorkers: 3, isOnDemand: true, shrinkAfter: .seconds(5))
    }

    @Test func aPoolOnDemandStartsWithItsFirstClientAndEndsWhenIdle() {
        var master = MasterScenario(onDemand())
        #expect(master.spawned.isEmpty && master.actions.contains(.notify("READY=1")))
        master.send(.demand(pool: "idle"))
        #expect(master.spawned.count == 1)
        master.send(.demand(pool: "idle"))
        #expect(master.spawned.isEmpty)
        master.allReady()
        master.pass(.seconds(1))
        master.pass(.seconds(5))
        #expect(master.stopped.count == 1 && master.state.pools[0].wanted == 0)
        master.end(where: { _ in true })
        #expect(master.spawned.isEmpty)
        master.send(.demand(pool: "idle"))
        #expect(master.spawned.count == 1)
    }

    @Test func spareWorkersAreKept() {
        var load = PoolLoad()
        let spec = PoolSpec(name: "a", workers: 1, maxWorkers: 9, minSpare: 2, maxSpare: 4, shrinkAfter: .seconds(1))
        #expect(load.change(spec: spec, wanted: 3, ready: 3, busy: 2, now: 0) == 0)
        #expect(load.change(spec: spec, wanted: 3, ready: 3, busy: 2, now: 100_000_000) == 1)
        #expect(load.change(spec: spec, wanted: 4, ready: 4, busy: 2, now: 200_000_000) == 0)
        #expect(load.change(spec: spec, wanted: 6, ready: 6, busy: 1, now: 300_000_000) == 0)
        #expect(load.change(spec: spec, wanted: 6, ready: 6, busy: 1, now: 1_300_000_000) == -1)
        #expect(load.change(spec: spec, wanted: 5, ready: 5, busy: 1, now: 9_300_000_000) == 0)
    }

    @Test func theLastWorkersOfARemovedPoolAnswerThoseWhoAreConnected() {
        var master = MasterScenario(pool("rooms", 1), pool("extra", 1))
        master.allReady()
        let extra = master.state.workers.first { $0.pool == "extra" }!.id
        master.send(.reload([pool("rooms", 1)]))
        #expect(master.actions.contains(.askToDrain(worker: extra)))
    }

    @Test func aSlowWorkerIsAskedForItsStackOnceForEachRequest() {
        var master = MasterScenario(PoolSpec(name: "a", workers: 1, slowAfter: .seconds(1)))
        master.allReady()
        let worker = master.state.workers[0]
        func seen(_ since: Nanoseconds) -> [Int: Observation] {
            [worker.row: Observation(busySince: since, frozenSince: nil, residentBytes: 0, request: "GET /x")]
        }
        let start = master.now
        master.now += 900_000_000
        master.send(.tick(seen(start)))
        #expect(!master.actions.contains(.askStack(worker: worker.id)))
        master.now += 200_000_000
        master.send(.tick(seen(start)))
        #expect(master.actions.contains(.askStack(worker: worker.id)))
        master.send(.tick(seen(start)))
        #expect(!master.actions.contains(.askStack(worker: worker.id)))
        let next = master.now
        master.now += 1_100_000_000
        master.send(.tick(seen(next)))
        #expect(master.actions.contains(.askStack(worker: worker.id)))
    }
}
