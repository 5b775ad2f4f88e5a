import Glibc
import Testing

@testable import ChatProcess

@Suite struct ReloadTests {
    @Test func oldOnesLeaveWhenAllNewOnesAreReady() {
        var master = MasterScenario(pool())
        master.allReady()
        let old = master.ready.map(\.id)
        master.send(.reload([pool()]))
        #expect(master.spawned.map(\.generation) == [2, 2])
        #expect(master.stopped.isEmpty)
        let new = master.spawned
        master.send(.ready(worker: new[0].id))
        #expect(master.stopped.isEmpty)
        master.send(.ready(worker: new[1].id))
        #expect(Set(master.stopped) == Set(old))
        #expect(master.log.contains("generation 2 is in service"))
        #expect(master.actions.contains(.notify("READY=1")))
        master.end(where: { old.contains($0.id) })
        #expect(master.spawned.isEmpty)
        #expect(master.ready.map(\.id) == new.map(\.id))
    }

    @Test func newOnesThatDieAtStartReplaceNobody() {
        var master = MasterScenario(pool())
        master.allReady()
        let old = master.ready
        master.send(.reload([pool()]))
        let new = master.spawned
        master.send(.ready(worker: new[0].id))
        master.end(new.map { id in master.state.workers.first { $0.id == id.id }! }[1], .exited(1))
        #expect(master.stopped == [new[0].id])
        #expect(master.log.contains("its old workers stay in service"))
        master.end(where: { $0.id == new[0].id })
        master.pass(.seconds(60))
        #expect(master.spawned.isEmpty)
        #expect(master.ready == old)
        // The failed reload does not delay the next one.
        master.send(.reload([pool()]))
        #expect(master.spawned.map(\.generation) == [3, 3])
    }

    @Test func refusedConfigurationChangesNothing() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.signal(.hangup))
        #expect(master.actions == [.readConfiguration])
        master.send(.reloadRefused("FCGI_ROOMS_WORKERS is \"x\", a number from 1 to 128 is needed"))
        #expect(master.log.contains("FCGI_ROOMS_WORKERS"))
        #expect(master.spawned.isEmpty)
    }

    @Test func poolsComeAndGo() {
        var master = MasterScenario(pool("rooms", 1), pool("uploads", 1))
        master.allReady()
        let uploads = master.ready[1].id
        master.send(.reload([pool("rooms", 3), pool("account", 1)]))
        #expect(master.stopped == [uploads])
        #expect(master.spawned.count == 4)
        master.allReady()
        master.end(where: { $0.phase == .stopping })
        #expect(master.state.pools.map(\.spec.name) == ["rooms", "account"])
        #expect(master.ready.count == 4)
    }

    @Test func scaleOutlivesAReloadUnlessTheSettingChanged() {
        var master = MasterScenario(pool("rooms", 1))
        master.allReady()
        master.send(.scale(pool: "rooms", .to(3)))
        master.allReady()
        master.send(.reload([pool("rooms", 1)]))
        #expect(master.state.pools[0].wanted == 3)
        master.send(.reload([pool("rooms", 2)]))
        #expect(master.state.pools[0].wanted == 2)
    }

    @Test func reloadDuringAReloadStartsOver() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.reload([pool()]))
        let second = master.spawned.map(\.id)
        master.send(.reload([pool()]))
        #expect(Set(master.stopped) == Set(second))
        #expect(master.spawned.map(\.generation) == [3, 3])
        master.allReady()
        master.end(where: { $0.phase == .stopping })
        #expect(master.ready.map(\.generation) == [3, 3])
    }

    @Test func reloadHealsAPoolInBackOff() {
        var master = MasterScenario(pool("rooms", 1))
        for _ in 0..<5 {
            master.end(where: { _ in true }, .exited(1))
            master.pass(.seconds(30))
        }
        master.end(where: { _ in true }, .exited(1))
        master.send(.reload([pool("rooms", 1)]))
        #expect(master.spawned.map(\.generation) == [2])
    }
}

@Suite struct HandoverTests {
    @Test func eachSlotChangesByItself() {
        var master = MasterScenario(pool(handover: true))
        master.allReady()
        let old = master.ready
        master.send(.reload([pool(handover: true)]))
        let replaced = master.actions.compactMap {
            if case .spawn(_, let id, _, _) = $0 { id } else { nil }
        }
        #expect(replaced == old.map(\.id))
        let new = master.spawned
        master.send(.ready(worker: new[1].id))
        #expect(master.stopped == [old[1].id])
    }

    @Test func deadSuccessorIsTakenBack() {
        var master = MasterScenario(pool(handover: true))
        master.allReady()
        let old = master.ready
        master.send(.reload([pool(handover: true)]))
        master.end(where: { $0.phase == .starting && $0.slot == 0 }, .exited(1))
        #expect(master.actions.contains(.cancelHandover(worker: old[0].id)))
        #expect(master.log.contains("its old workers stay in service"))
        #expect(master.ready == old)
    }

    /// It may already hold its slot's sockets without having reported it: a stop would close them all.
    @Test func theOtherSuccessorsOfARefusedGenerationFinish() {
        var master = MasterScenario(pool(handover: true))
        master.allReady()
        let old = master.ready
        master.send(.reload([pool(handover: true)]))
        let other = master.spawned[1]
        master.end(where: { $0.phase == .starting && $0.slot == 0 }, .exited(1))
        #expect(master.stopped.isEmpty && !master.actions.contains(.cancelHandover(worker: old[1].id)))
        master.send(.ready(worker: other.id))
        #expect(master.stopped == [old[1].id])
        master.pass(.seconds(10))
        #expect(master.spawned.isEmpty && master.ready.map(\.id) == [old[0].id, other.id])
    }

    /// The same moment, with the next reload in it.
    @Test func aReloadDuringAHandoverComesBehindIt() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        let old = master.ready[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        let second = master.spawned[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        #expect(master.stopped.isEmpty && master.spawned.isEmpty)
        #expect(!master.actions.contains(.cancelHandover(worker: old.id)))
        master.send(.ready(worker: second.id))
        #expect(master.stopped == [old.id])
        #expect(master.spawned.map(\.generation) == [3])
        #expect(!master.log.contains("in service"))
        let third = master.spawned[0]
        master.send(.ready(worker: third.id))
        #expect(master.stopped == [second.id] && master.log.contains("generation 3 is in service"))
    }

    @Test func theEndOfAnEarlierGenerationRefusesNoLaterOne() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        let old = master.ready[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        let second = master.spawned[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        master.end(where: { $0.id == second.id }, .killed(SIGKILL))
        #expect(master.actions.contains(.cancelHandover(worker: old.id)))
        #expect(!master.log.contains("failed"))
        master.pass(.seconds(1))
        #expect(master.spawned.map(\.generation) == [3])
        master.allReady()
        #expect(master.stopped == [old.id] && master.log.contains("generation 3 is in service"))
    }

    @Test func aReloadLeavesASuccessorWhosePredecessorDied() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        master.send(.reload([pool("relays", 1, handover: true)]))
        let second = master.spawned[0]
        master.end(master.ready[0], .killed(SIGKILL))
        master.send(.reload([pool("relays", 1, handover: true)]))
        #expect(master.stopped.isEmpty && master.spawned.isEmpty)
        master.send(.ready(worker: second.id))
        #expect(master.spawned.map(\.generation) == [3])
    }

    /// It has no sockets, so it may end at once; and it may be waiting for an unavailable server.
    @Test func aReloadReplacesAFirstStart() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        let first = master.state.workers[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        #expect(master.stopped == [first.id] && master.spawned.map(\.generation) == [2])
    }

    @Test func deadPredecessorLeavesTheSlotToTheSuccessor() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        let old = master.ready[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        let new = master.spawned[0]
        master.end(old, .killed(SIGKILL))
        #expect(master.spawned.isEmpty)
        master.send(.ready(worker: new.id))
        #expect(master.ready.map(\.id) == [new.id])
        #expect(master.log.contains("in service"))
    }
}

@Suite struct OrphanedFilesTests {
    private static func adopted(_ master: MasterScenario) -> [Int?] {
        master.actions.compactMap { if case .spawn(_, _, let id, _) = $0 { .some(id) } else { nil } }
    }

    private static func relays() -> MasterScenario {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        master.pass(.seconds(60))
        return master
    }

    @Test func theNextOneGetsTheFilesAndThenTheyMayGo() {
        var master = Self.relays()
        let dead = master.ready[0]
        master.end(dead, .killed(SIGKILL))
        #expect(Self.adopted(master) == [dead.id])
        #expect(!master.actions.contains(.release(worker: dead.id)))
        master.allReady()
        #expect(master.actions.contains(.release(worker: dead.id)))
        // The successor leaves descriptors of its own.
        let second = master.ready[0]
        master.pass(.seconds(60))
        master.end(second, .killed(SIGKILL))
        #expect(Self.adopted(master) == [second.id])
    }

    @Test func successorsThatDieOverItGiveItUp() {
        var master = Self.relays()
        let dead = master.ready[0]
        master.end(dead, .killed(SIGSEGV))
        for _ in 1..<Slot.adoptionAttempts {
            master.end(where: { $0.phase == .starting }, .killed(SIGSEGV))
            master.pass(.seconds(30))
            #expect(Self.adopted(master) == [dead.id])
        }
        master.end(where: { $0.phase == .starting }, .killed(SIGSEGV))
        #expect(master.actions.contains(.release(worker: dead.id)))
        master.pass(.seconds(30))
        #expect(Self.adopted(master) == [nil])
    }

    /// It may already hold the sockets without having reported it: then the old one ends, and the next one adopts its
    /// descriptors.
    @Test func aSuccessorThatDiedMayHaveHadThem() {
        var master = Self.relays()
        let old = master.ready[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        let dead = master.spawned[0]
        master.end(where: { $0.id == dead.id }, .killed(SIGKILL))
        #expect(master.ready == [old] && !master.actions.contains(.release(worker: dead.id)))
        var other = master
        master.end(old, .exited(1))
        #expect(Self.adopted(master) == [dead.id])
        #expect(master.actions.contains(.release(worker: old.id)))
        // The old one still has them: it stays, and the kept descriptors are released.
        other.pass(.seconds(4))
        #expect(other.actions.contains(.release(worker: dead.id)) && other.ready == [old])
    }

    /// It may already hold them without having reported it.
    @Test func aReloadWaitsForIt() {
        var master = Self.relays()
        let dead = master.ready[0]
        master.end(dead, .killed(SIGKILL))
        let successor = master.spawned[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        #expect(master.stopped.isEmpty && master.spawned.isEmpty)
        master.send(.ready(worker: successor.id))
        #expect(master.actions.contains(.release(worker: dead.id)))
        #expect(master.spawned.map(\.generation) == [2])
        // It dies instead: the next one is of the new generation and adopts the same descriptors.
        var other = Self.relays()
        other.end(other.ready[0], .killed(SIGKILL))
        other.send(.reload([pool("relays", 1, handover: true)]))
        other.end(where: { $0.phase == .starting }, .exited(1))
        other.pass(.seconds(1))
        #expect(other.spawned.map(\.generation) == [2] && Self.adopted(other) == [dead.id])
        #expect(!other.log.contains("failed"))
    }

    @Test func anUpgradeWaitsForIt() {
        var master = Self.relays()
        master.end(master.ready[0], .killed(SIGKILL))
        master.send(.signal(.upgrade))
        master.send(.binaryChecked(nil))
        #expect(!master.actions.contains(.exec))
        master.allReady()
        #expect(master.actions.contains(.exec))
    }

    @Test func whatAnotherMasterLeftGoesToTheFirstWorker() {
        var state = MasterState(pools: [pool("relays", 2, handover: true)], rows: 64)
        let files = state.reserveFiles(in: "relays", slot: 1, at: 5)
        #expect(files != nil && state.reserveFiles(in: "relays", slot: 1, at: 5) == nil)
        #expect(state.reserveFiles(in: "relays", slot: 2, at: 5) == nil)
        #expect(state.reserveFiles(in: "rooms", slot: 0, at: 5) == nil)
        let adopted = state.handle(.start, at: 10).compactMap {
            if case .spawn(let worker, _, let id, _) = $0 { id == nil ? nil : (worker.slot, id) } else { nil }
        }
        #expect(adopted.map(\.0) == [1] && adopted.map(\.1) == [files])
        #expect(state.handle(.ready(worker: state.workers[1].id), at: 20).contains(.release(worker: files!)))
    }

    @Test func whoEndsInGoodOrderLeavesNone() {
        var master = Self.relays()
        let worker = master.ready[0]
        master.send(.signal(.terminate))
        master.end(worker)
        #expect(master.actions.contains(.release(worker: worker.id)))
        var plain = MasterScenario(pool("rooms", 1))
        plain.allReady()
        let other = plain.ready[0]
        plain.end(other, .killed(SIGKILL))
        #expect(plain.actions.contains(.release(worker: other.id)))
    }
}

@Suite struct UpgradeTests {
    @Test func aReloadDuringTheCheckWaitsAndIsNotDueAlready() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        master.send(.signal(.upgrade))
        master.send(.reload([pool("relays", 1, handover: true)]))
        #expect(master.spawned.isEmpty && master.state.nextDue == nil)
        master.send(.binaryChecked("it does not start"))
        #expect(master.spawned.count == 1)
    }

    @Test func execWaitsForAHandover() {
        var master = MasterScenario(pool(handover: true))
        master.allReady()
        master.send(.reload([pool(handover: true)]))
        master.send(.signal(.upgrade))
        #expect(master.actions.contains(.checkBinary))
        master.send(.signal(.upgrade))
        #expect(!master.actions.contains(.checkBinary))
        master.send(.binaryChecked(nil))
        #expect(!master.actions.contains(.exec))
        master.allReady()
        #expect(master.actions.contains(.exec))
        master.send(.execFailed("no such file"))
        #expect(master.log.contains("no such file"))
        master.send(.signal(.upgrade))
        #expect(master.actions.contains(.checkBinary))
    }

    @Test func execWaitsForAHandoverThatAReloadOvertook() {
        var master = MasterScenario(pool("relays", 1, handover: true))
        master.allReady()
        let old = master.ready[0]
        master.send(.reload([pool("relays", 1, handover: true)]))
        let second = master.spawned[0]
        master.send(.signal(.upgrade))
        master.send(.reload([pool("relays", 1, handover: true)]))
        master.send(.binaryChecked(nil))
        #expect(master.stopped.isEmpty && !master.actions.contains(.exec))
        // The new image replaces the running workers.
        master.send(.ready(worker: second.id))
        #expect(master.stopped == [old.id] && master.spawned.isEmpty && master.actions.contains(.exec))
    }

    /// It may be waiting for an unavailable server; the new binary's workers will wait as well.
    @Test func execDoesNotWaitForAFirstStart() {
        var master = MasterScenario(pool())
        master.send(.signal(.upgrade))
        master.send(.binaryChecked(nil))
        #expect(master.actions.contains(.exec))
    }

    @Test func workersThatWereStartingAreAskedToStopByTheNextImage() {
        var state = MasterState(pools: [], rows: 64)
        state.adopt(pool: "rooms", workers: 1, maxWorkers: 1, wanted: 1)
        state.adopt(Worker(id: 3, pool: "rooms", slot: 0, generation: 1, row: 0, startedAt: 5, pid: 100))
        let actions = state.handle(.reload([pool("rooms", 1)]), at: 10)
        #expect(actions.contains(.askToStop(worker: 3)))
        #expect(actions.contains { if case .spawn = $0 { true } else { false } })
    }

    @Test func refusedBinaryIsNotRun() {
        var master = MasterScenario(pool())
        master.allReady()
        master.send(.signal(.upgrade))
        master.send(.binaryChecked("JWT_SECRET is missing"))
        #expect(!master.actions.contains(.exec))
        #expect(master.log.contains("JWT_SECRET is missing"))
    }

    @Test func nextImageAdoptsAndReplaces() throws {
        var old = Inheritance()
        (old.generation, old.board, old.lock, old.control) = (4, 70, 71, 72)
        let file = SocketFile(path: "/run/a b.sock", device: 5, inode: .max)
        old.listeners = [
            ("unix:/run/a b.sock", 73, false, "/run/a b.sock", file), ("127.0.0.1:9000", 76, false, "", nil),
        ]
        old.pools = [
            .init(
                name: "rooms", workers: 1, maxWorkers: 1, wanted: 2, listen: ["unix:/run/a b.sock", "127.0.0.1:9000"])
        ]
        for slot in 0..<2 {
            var worker = Worker(
                id: 7 + slot, pool: "rooms", slot: slot, generation: 4, row: slot, startedAt: 5, pid: 100)
            worker.phase = .ready
            old.workers.append((worker, 74, slot == 0 ? 75 : -1))
        }
        let read = try Inheritance(parsing: old.text)
        #expect(read.text == old.text && read.pools == old.pools && read.listeners[0].file == file)
        // The format of an image without file keepers.
        let older = try Inheritance(parsing: old.text.replacing("\t74\t75", with: "\t74"))
        #expect(older.workers.map(\.keeper) == [-1, -1])

        var state = MasterState(pools: [], rows: 64, generation: read.generation)
        for pool in read.pools {
            state.adopt(
                pool: pool.name, workers: pool.workers, maxWorkers: pool.maxWorkers, wanted: pool.wanted)
        }
        for entry in read.workers { state.adopt(entry.worker) }
        let actions = state.handle(.reload([pool("rooms", 1)]), at: 10)
        let new = actions.compactMap { if case .spawn(let worker, _, _, _) = $0 { worker } else { nil } }
        #expect(new.map(\.generation) == [5, 5])
        #expect(new.map(\.id) == [9, 10])
        #expect(state.pools[0].wanted == 2)
        #expect(!actions.contains(.askToStop(worker: 7)))
    }

    @Test func stateOfAnotherVersionIsRefused() {
        #expect(throws: OperatorError.self) { try Inheritance(parsing: "chat-master 99\n") }
        #expect(throws: OperatorError.self) {
            try Inheritance(parsing: "chat-master 1\ngeneration\tx\n")
        }
    }
}

@Suite struct PoolLoadTests {
    private let spec = pool("rooms", 2, max: 8)

    @Test func growsWhileEverybodyIsBusyAndShrinksWhenQuiet() {
        var load = PoolLoad()
        var now: Nanoseconds = 0
        func change(_ wanted: Int, busy: Int) -> Int {
            now += 60_000_000
            return load.change(spec: spec, wanted: wanted, ready: wanted, busy: busy, now: now)
        }
        #expect([change(2, busy: 2), change(2, busy: 2), change(2, busy: 2)] == [0, 0, 1])
        #expect([change(3, busy: 3), change(3, busy: 3)] == [0, 2])
        #expect([change(5, busy: 5), change(5, busy: 5)] == [0, 3])
        #expect([change(8, busy: 8), change(8, busy: 8)] == [0, 0])
        #expect(change(8, busy: 1) == 0)
        now += 10_000_000_000
        #expect(change(8, busy: 1) == -1)
        #expect(change(7, busy: 1) == 0)
    }

    @Test func staticPoolsStayAsTheyAre() {
        var load = PoolLoad()
        let spec = pool("rooms", 2)
        for tick in 0..<100 {
            #expect(
                load.change(spec: spec, wanted: 2, ready: 2, busy: 2, now: Nanoseconds(tick) << 30) == 0)
        }
    }
}
