import CLinux
import ChatCore
import Glibc
import Testing

@testable import ChatProcess

/// The doing of a master: processes, channels, sockets, signals. Its rules alone are in `MasterStateTests`. One after
/// the other, because an upgrade leaves its state in the environment.
@Suite(.serialized) struct MasterTests {
    // MARK: Workers

    @Test func workersStartWithTheirPlacesAndTheirPoolsSockets() throws {
        let scene = try MasterScene(pool("quiet", 1), pool("rooms", 2), listens: true).serving()
        #expect(scene.processes.map { $0.place["pool"] } == ["quiet", "rooms", "rooms"])
        #expect(scene.processes.map { $0.place["slot"] } == ["0", "0", "1"])
        #expect(scene.processes.map { $0.place["of"] } == ["1", "2", "2"])
        #expect(scene.processes.map { $0.place["listen"] } == ["0", "1", "1"])
        #expect(scene.processes.map(\.descriptors) == [[3, 4], [3, 4, 5], [3, 4, 5]])
        #expect(Set(scene.processes.map { $0.place["board"] }).count == 3)
        #expect(scene.processes.allSatisfy { $0.arguments.last == "worker" })
    }

    @Test func aWorkerThatServedIsReplacedAtOnce() throws {
        let scene = try MasterScene(pool("rooms", 2)).serving()
        scene.pass(.seconds(5))
        let before = scene.kernel.now
        scene.end(scene.processes[0], .killed(SIGSEGV))
        #expect(scene.processes.count == 3 && scene.processes[2].place["slot"] == "0")
        #expect(scene.kernel.now - before < 5_000_000_000)
        #expect(scene.processes[1].heard().isEmpty && scene.processes[1].signals.isEmpty)
    }

    @Test func workersThatDieAtOnceAreNotRestartedInAStorm() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        scene.kernel.onStart = { [unowned scene] in scene.kernel.end($0, .exited(1)) }
        scene.end(scene.processes[0], .exited(1))
        scene.pass(.seconds(60))
        // 0.1 s, doubling, at most 5 s.
        #expect((14...19).contains(scene.processes.count))
        // One that comes up serves.
        scene.kernel.onStart = { $0.say("ready") }
        scene.pass(.seconds(6))
        #expect(scene.kernel.living.count == 1)
        #expect(scene.master.state.workers.map(\.phase) == [.ready])
    }

    @Test func aProcessThatCannotBeStartedIsTriedAgain() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        scene.kernel.startError = SystemError("start it", code: EAGAIN)
        scene.end(scene.processes[0])
        scene.pass(.seconds(10))
        #expect(scene.processes.count == 1 && scene.master.exitCode == nil)
        scene.kernel.startError = nil
        scene.pass(.seconds(6))
        #expect(scene.processes.count == 2)
    }

    @Test func oneThatIsNotReadyInTimeIsKilled() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        scene.end(scene.processes[0])
        scene.pass(.seconds(29))
        let second = scene.processes[1]
        #expect(second.signals.isEmpty)
        scene.pass(.seconds(2))
        #expect(second.signals == [SIGKILL])
    }

    @Test func aSilentWorkerIsAskedForItsStackAndThenKilled() throws {
        var spec = pool("rooms", 2)
        spec.hangLimit = .seconds(5)
        let scene = try MasterScene(spec).serving()
        let (silent, live) = (scene.processes[0], scene.takeRow(scene.processes[1]))
        _ = scene.takeRow(silent)
        scene.kernel.onWait = { [unowned scene] in live.heartbeat(at: scene.kernel.now) }
        scene.pass(.seconds(4))
        #expect(silent.signals.isEmpty)
        scene.pass(.seconds(4))
        #expect(silent.signals == [CrashReport.hangSignal, SIGKILL])
        #expect(scene.processes[1].signals.isEmpty)
    }

    @Test func aRequestOverItsTimeEndsItsWorker() throws {
        var spec = pool("rooms", 1)
        spec.timeLimit = .seconds(3)
        let scene = try MasterScene(spec).serving()
        let row = scene.takeRow(scene.processes[0])
        scene.kernel.onWait = { [unowned scene] in row.heartbeat(at: scene.kernel.now) }
        scene.pass(.seconds(5))
        #expect(scene.processes[0].signals.isEmpty)
        row.beginRequest("GET", "/", at: scene.kernel.now)
        scene.pass(.seconds(5))
        #expect(scene.processes[0].signals == [SIGKILL])
    }

    @Test func theTotalsOfADeadWorkerStay() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        let row = scene.takeRow(scene.processes[0])
        row[.requests] = 5
        row.add(to: 0)
        scene.end(scene.processes[0])
        scene.pass(.seconds(1))
        let ended = scene.master.board.ended(pool: 0)
        #expect(ended[.requests] == 5 && ended.counter(0) == 1)
        #expect(scene.processes.count == 2 && scene.row(of: scene.processes[1])[.requests] == 0)
    }

    @Test func aPoolOnDemandStartsWithItsFirstClient() throws {
        let spec = PoolSpec(name: "rooms", workers: 0, maxWorkers: 2, isOnDemand: true)
        let scene = try MasterScene(spec, listens: true).serving()
        scene.pass(.seconds(3))
        #expect(scene.processes.isEmpty)
        let client = Descriptor(Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        #expect(withUnixAddress(scene.socket) { connect(client.number, $0, $1) } == 0)
        scene.turns(2)
        #expect(scene.processes.count == 1)
        // The client still waits, for this worker.
        scene.turns(3)
        #expect(scene.processes.count == 1)
    }

    // MARK: Reload

    @Test func aReloadEndsTheOldWorkersOnceEveryNewOneIsReady() throws {
        let scene = try MasterScene(pool("rooms", 2)).serving()
        scene.send(.hangup)
        #expect(scene.processes.map { $0.place["generation"] } == ["1", "1", "2", "2"])
        scene.processes[2].say("ready")
        scene.settle()
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard().isEmpty })
        scene.processes[3].say("ready")
        scene.settle()
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard() == ["quit"] })
        #expect(scene.processes.suffix(2).allSatisfy { $0.heard().isEmpty })
    }

    @Test func aReloadWhoseWorkersDoNotComeUpKeepsTheOldOnes() throws {
        let scene = try MasterScene(pool("rooms", 2)).serving()
        scene.kernel.onStart = { [unowned scene] in scene.kernel.end($0, .exited(1)) }
        scene.send(.hangup)
        scene.pass(.seconds(120))
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard().isEmpty && $0.signals.isEmpty })
        // It gives up: nothing is tried until the next reload.
        #expect(scene.processes.count <= 4)
        scene.kernel.onStart = { $0.say("ready") }
        scene.send(.hangup)
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard() == ["quit"] })
    }

    @Test func aReloadWhoseWorkersHangKeepsTheOldOnes() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        scene.send(.hangup)
        scene.pass(.seconds(60))
        #expect(scene.processes[1].signals == [SIGKILL])
        #expect(scene.processes[0].heard().isEmpty && scene.processes.count == 2)
    }

    @Test func aConfigurationThatIsRefusedChangesNothing() throws {
        let scene = try MasterScene(pool(), listens: true).serving()
        scene.refusal = OperatorError("no")
        scene.send(.hangup)
        scene.refusal = nil
        // A socket that cannot be bound, after one that can.
        scene.specs[0].listen += ["/other", "/no/folder"].map { MasterScene.unix(scene.path + $0) }
        scene.send(.hangup)
        #expect(scene.processes.count == 2 && scene.processes.allSatisfy { $0.heard().isEmpty })
        #expect(scene.hasSocket && access(scene.path + "/other", F_OK) != 0)
        #expect(scene.master.listeners.count == 1)
    }

    @Test func aSocketThatNobodyNamesAnyMoreIsRemovedWithItsOldWorkers() throws {
        let scene = try MasterScene(pool(), listens: true).serving()
        scene.specs = [pool("rooms", 1)]
        scene.send(.hangup)
        #expect(scene.hasSocket)
        scene.allReady()
        #expect(!scene.hasSocket && scene.master.listeners.isEmpty)
    }

    // MARK: The end

    @Test func aStopAsksKillsAtTheLimitAndEndsWithTheLastWorker() throws {
        let scene = try MasterScene(pool(), listens: true).serving()
        scene.send(.terminate)
        #expect(scene.processes.allSatisfy { $0.heard() == ["quit"] && $0.signals.isEmpty })
        #expect(!scene.hasSocket)
        scene.end(scene.processes[0])
        scene.pass(.seconds(29))
        #expect(scene.master.exitCode == nil && scene.processes[1].signals.isEmpty)
        scene.pass(.seconds(3))
        #expect(scene.processes[1].signals == [SIGKILL])
        #expect(scene.master.exitCode == 0 && scene.processes.count == 2)
    }

    @Test func aStopAtOnceKills() throws {
        let scene = try MasterScene(pool("rooms", 2)).serving()
        let before = scene.kernel.now
        scene.send(.quit)
        #expect(scene.processes.allSatisfy { $0.signals == [SIGKILL] })
        #expect(scene.master.exitCode == 0 && scene.kernel.now == before)
    }

    @Test func aWorkerThatCannotHearIsToldBySIGTERM() throws {
        let scene = try MasterScene(pool("rooms", 2)).serving()
        scene.processes[0].closeChannel()
        scene.kernel.send(.terminate)
        scene.turns(1)
        #expect(scene.processes[0].signals == [SIGTERM])
        #expect(scene.processes[1].signals.isEmpty && scene.processes[1].heard() == ["quit"])
    }

    @Test func aRunLeavesNothingInItsFolderThatAnotherCannotUse() throws {
        let scene = MasterScene(pool("rooms", 1))
        var turns = 0
        scene.kernel.onStart = { $0.say("ready") }
        scene.kernel.onWait = { [unowned scene] in
            turns += 1
            if turns == 5 {
                #expect(access(scene.master.folder.control, F_OK) == 0)
                scene.kernel.send(.terminate)
            }
            if turns == 7 { scene.kernel.living.forEach { scene.kernel.end($0) } }
        }
        #expect(scene.master.run() == 0)
        #expect(access(scene.master.folder.control, F_OK) != 0)
    }

    @Test func aSecondMasterOfAFolderIsRefused() throws {
        let first = try MasterScene(pool("rooms", 1)).serving()
        let second = Master(
            program: "p", runFolder: first.path, pools: [pool()], kernel: MemoryKernel(), log: first.master.log
        ) { [] }
        #expect(second.run() == 1)
        #expect(first.master.exitCode == nil)
    }

    // MARK: Upgrade

    @Test func aBinaryThatRefusesTheConfigurationIsNotRun() throws {
        let scene = try MasterScene(pool("rooms", 1)).serving()
        scene.kernel.onExecute = { Issue.record("it ran") }
        scene.send(.upgrade)
        let check = try #require(scene.processes.last)
        #expect(!check.isWorker && check.arguments.suffix(2) == ["serve", "--check"])
        check.print("RUN_DIR is not good\n")
        scene.end(check, .exited(1))
        // One that hangs is killed in time.
        scene.send(.upgrade)
        scene.pass(.seconds(32))
        #expect(scene.processes.last?.signals == [SIGKILL])
        #expect(scene.processes[0].heard().isEmpty && scene.master.exitCode == nil)
        #expect(scene.processes.count == 3)
    }

    @Test func aBinaryThatCannotRunLeavesThisMasterInService() throws {
        let scene = try MasterScene(pool(), listens: true).serving()
        var kept: [Bool] = []
        scene.kernel.onExecute = { [unowned scene] in
            kept = scene.master.ownDescriptors.map { chat_fcntl_get($0.number, F_GETFD) & FD_CLOEXEC == 0 }
            #expect(environment(Inheritance.variable) != nil)
        }
        scene.send(.upgrade)
        scene.end(try #require(scene.processes.last))
        #expect(kept.count == 6 && !kept.contains(false))
        #expect(environment(Inheritance.variable) == nil)
        #expect(scene.master.ownDescriptors.allSatisfy { chat_fcntl_get($0.number, F_GETFD) & FD_CLOEXEC != 0 })
        scene.send(.hangup)
        scene.allReady()
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard() == ["quit"] })
    }

    @Test func theNextImageHasTheWorkersAndTheSockets() throws {
        let scene = try MasterScene(pool(), listens: true).serving()
        // Both own the same descriptors: the image of before never closes its own.
        _ = Unmanaged.passRetained(scene.master)
        var next: Master?
        scene.kernel.onExecute = { [unowned scene] in
            let new = Master(
                program: "p", runFolder: scene.path, pools: scene.specs, counters: ["things_total"],
                kernel: scene.kernel, log: scene.master.log
            ) { [] }
            do {
                try new.begin()
                next = new
            } catch { Issue.record(error) }
        }
        scene.send(.upgrade)
        scene.kernel.end(try #require(scene.processes.last))
        scene.turns(1)
        let master = try #require(next)
        _ = Unmanaged.passRetained(master)
        #expect(scene.processes.map { $0.place["generation"] ?? "check" } == ["1", "1", "check", "2", "2"])
        #expect(scene.hasSocket && master.listeners.map(\.name) == scene.master.listeners.map(\.name))
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard().isEmpty })
        scene.processes.suffix(2).forEach { $0.say("ready") }
        for _ in 0..<5 { master.turn() }
        #expect(scene.processes.prefix(2).allSatisfy { $0.heard() == ["quit"] })
    }

    // MARK: Any order

    /// Signals, deaths and readiness in any order: a stop always ends, and nobody is left.
    @Test(arguments: 0..<40) func anyOrderOfSignalsEndsInAStop(seed: UInt64) throws {
        var dice = Dice(seed: seed)
        let scene = try MasterScene(pool("rooms", 2), pool("files", 1, max: 3)).serving()
        for _ in 0..<60 where scene.master.exitCode == nil {
            switch dice.roll(10) {
            case 0: scene.kernel.send(.hangup)
            case 1: scene.kernel.send(.upgrade)
            case 2: scene.kernel.send(.more)
            case 3: scene.kernel.send(.fewer)
            case 4: if dice.roll(8) == 0 { scene.kernel.send(.terminate) }
            case 5, 6:
                if let one = scene.kernel.living.randomElement(using: &dice) {
                    scene.kernel.end(one, dice.roll(2) == 0 ? .exited(0) : .killed(SIGSEGV))
                }
            case 7: scene.kernel.startError = dice.roll(2) == 0 ? SystemError("start it", code: EAGAIN) : nil
            default: scene.kernel.living.filter { $0.isWorker && dice.roll(3) > 0 }.forEach { $0.say("ready") }
            }
            scene.turns(1 + dice.roll(4))
            let known = Set(scene.master.state.workers.map(\.pid)).union([scene.master.check?.pid ?? 0])
            #expect(scene.kernel.living.allSatisfy { known.contains($0.id) })
            #expect(scene.kernel.living.count <= 64)
        }
        scene.kernel.send(.terminate)
        scene.pass(.seconds(120))
        #expect(scene.master.exitCode == 0)
        #expect(scene.kernel.living.filter(\.isWorker).isEmpty)
    }

    private struct Dice: RandomNumberGenerator {
        var seed: UInt64

        /// SplitMix64.
        mutating func next() -> UInt64 {
            seed &+= 0x9e37_79b9_7f4a_7c15
            var z = seed
            z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
            return z ^ z >> 31
        }

        mutating func roll(_ sides: Int) -> Int { Int(next() % UInt64(sides)) }
    }
}
