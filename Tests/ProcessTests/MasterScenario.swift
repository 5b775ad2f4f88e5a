import ChatCore
import Glibc

@testable import ChatProcess

/// Drives a `MasterState` with its own clock and records the actions.
struct MasterScenario {
    var state: MasterState
    var now: Nanoseconds = 1_000_000_000
    var actions: [MasterAction] = []
    private var nextPid: pid_t = 100

    init(_ pools: PoolSpec...) {
        state = MasterState(pools: pools, rows: 64)
        send(.start)
    }

    mutating func send(_ event: MasterEvent) {
        actions = []
        perform(state.handle(event, at: now))
    }

    private mutating func perform(_ new: [MasterAction]) {
        for action in new {
            actions.append(action)
            guard case .spawn(let worker, _, _, _) = action else { continue }
            nextPid += 1
            perform(state.handle(.spawned(worker: worker.id, pid: nextPid), at: now))
        }
    }

    mutating func pass(_ time: Duration) {
        now += time.nanoseconds
        send(.tick([:]))
    }

    /// Every worker that is starting says ready.
    mutating func allReady() {
        for worker in state.workers where worker.phase == .starting { send(.ready(worker: worker.id)) }
    }

    mutating func end(_ worker: Worker, _ status: ExitStatus = .exited(0)) {
        send(.exited(pid: worker.pid, status))
    }

    mutating func end(where matches: (Worker) -> Bool, _ status: ExitStatus = .exited(0)) {
        for worker in state.workers.filter(matches) { end(worker, status) }
    }

    var spawned: [Worker] {
        actions.compactMap { if case .spawn(let worker, _, _, _) = $0 { worker } else { nil } }
    }
    var stopped: [Int] {
        actions.compactMap {
            switch $0 {
            case .askToStop(let worker), .askToDrain(let worker): worker
            default: nil
            }
        }
    }
    var killed: [Int] {
        actions.compactMap { if case .kill(let worker) = $0 { worker } else { nil } }
    }
    var log: String {
        actions.compactMap { if case .log(_, let text) = $0 { text } else { nil } }.joined(
            separator: "\n")
    }
    var ready: [Worker] { state.workers.filter { $0.phase == .ready } }
}

func pool(_ name: String = "rooms", _ workers: Int = 2, max: Int? = nil, handover: Bool = false)
    -> PoolSpec
{
    PoolSpec(name: name, workers: workers, maxWorkers: max, handover: handover)
}
