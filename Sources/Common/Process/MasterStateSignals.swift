import Logging

extension MasterState {
    mutating func receive(_ signal: MasterSignal, _ now: Nanoseconds, _ out: inout [MasterAction]) {
        switch signal {
        case .hangup where !stopping: out.append(.readConfiguration)
        case .terminate where !stopping: stop(now, &out)
        case .quit:
            stopping = true
            out += [.log(.notice, "stopping at once"), .closeListeners]
            out += workers.map { .kill(worker: $0.id) }
        case .upgrade where !stopping && upgrade == .none:
            upgrade = .checking
            out += [.log(.notice, "upgrade: checking the binary on disk"), .checkBinary]
        case .more: scale(signalPool ?? pools.first?.spec.name ?? "", .by(1), &out)
        case .fewer: scale(signalPool ?? pools.first?.spec.name ?? "", .by(-1), &out)
        case .hangup, .terminate, .upgrade: break
        }
    }

    mutating func stop(_ now: Nanoseconds, _ out: inout [MasterAction]) {
        stopping = true
        out += [
            .log(.notice, "stopping: \(workers.count) workers finish their current work"),
            .notify("STOPPING=1"),
        ]
        out.append(.closeListeners)
        for index in pools.indices { pools[index].retireAll(now: now, &out) }
    }

    /// The first client of a pool on demand. More workers come as in any dynamic pool.
    mutating func demand(_ name: String, _ out: inout [MasterAction]) {
        guard !stopping, let index = pools.firstIndex(where: { $0.spec.name == name && !$0.removed }),
            pools[index].wanted == 0
        else { return }
        pools[index].wanted = 1
        out.append(.log(.info, "pool \(name): 1 worker wanted (a request waits)"))
    }

    mutating func scale(_ name: String, _ scale: Scale, _ out: inout [MasterAction]) {
        guard !stopping, let index = pools.firstIndex(where: { $0.spec.name == name }) else { return }
        signalPool = name
        let asked =
            switch scale {
            case .by(let change): pools[index].wanted + change
            case .to(let count): count
            }
        pools[index].wanted = min(max(pools[index].spec.isOnDemand ? 0 : 1, asked), pools[index].spec.mostWorkers)
        out.append(.log(.notice, "pool \(name): \(workersWanted(pools[index].wanted))"))
    }

    mutating func binaryChecked(_ problem: String?, _ out: inout [MasterAction]) {
        upgrade = problem == nil ? .waiting : .none
        guard let problem else { return }
        out.append(.log(.error, "upgrade refused, the running program continues: \(problem)"))
    }
}

func workersWanted(_ count: Int) -> String { "\(count) \(count == 1 ? "worker" : "workers") wanted" }
