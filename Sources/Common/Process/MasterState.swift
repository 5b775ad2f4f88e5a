import Logging

/// The master's rules, without a clock and without a system call: events go in, actions come out.
///
/// `handle` records the event and then calls `settle`: it fills empty slots, switches to replacements that are ready,
/// and kills workers past their deadline. Settling looks at the whole state, so a lost or late event is corrected by
/// the next one.
struct MasterState {
    enum Upgrade { case none, checking, waiting }

    var pools: [PoolState]
    var generation: Int
    var nextID = 1
    var stopping = false
    var upgrade = Upgrade.none
    /// The pool that TTIN and TTOU change: the one of the last `scale`.
    var signalPool: String?
    var announcedReady = false
    let boards: Int

    /// `boards`: the number of workers that fit into the scoreboard.
    init(pools: [PoolSpec], boards: Int, generation: Int = 1) {
        self.pools = pools.map { PoolState(spec: $0, target: generation) }
        self.boards = boards
        self.generation = generation
    }

    var workers: [Worker] { pools.flatMap(\.workers) }

    mutating func handle(_ event: MasterEvent, at now: Nanoseconds) -> [MasterAction] {
        var out: [MasterAction] = []
        apply(event, now, &out)
        settle(now, &out)
        return out
    }

    /// The time of the next retry or deadline, when no event happens before.
    var nextDue: Nanoseconds? {
        let deadlines = workers.compactMap(\.deadline)
        let retries = pools.flatMap { pool in
            pool.slots.filter {
                // Replacements wait while an upgrade is being checked.
                $0.current == nil || ($0.next == nil && upgrade == .none && pool.needsReplacement($0))
            }.map(\.retryAt)
        }
        return (deadlines + (stopping ? [] : retries)).min()
    }

    private mutating func apply(_ event: MasterEvent, _ now: Nanoseconds, _ out: inout [MasterAction]) {
        switch event {
        case .start: break
        case .spawned(let id, let pid): update(id) { $0.pid = pid }
        case .spawnFailed(let id, let reason):
            ended(where: { $0.id == id }, "could not be started: \(reason)", now, &out)
        case .ready(let id): ready(id, &out)
        case .wantsRenewal(let id, let reason): update(id) { $0.renewal = $0.renewal ?? reason }
        case .exited(let pid, let status):
            ended(where: { $0.pid == pid }, status.description, now, &out)
        case .tick(let observations): observe(observations, now, &out)
        case .signal(let signal): receive(signal, now, &out)
        case .scale(let pool, let scale): self.scale(pool, scale, &out)
        case .reload(let specs): reload(specs, now, &out)
        case .demand(let pool): demand(pool, &out)
        case .reloadRefused(let reason):
            out.append(.log(.error, "reload refused, nothing changes: \(reason)"))
            out.append(.notify("READY=1"))
        case .binaryChecked(let problem): binaryChecked(problem, &out)
        case .execFailed(let reason):
            out.append(.log(.error, "upgrade failed, the running program continues: \(reason)"))
        }
    }

    private mutating func ready(_ id: Int, _ out: inout [MasterAction]) {
        update(id) { if $0.phase == .starting { ($0.phase, $0.deadline) = (.ready, nil) } }
        for pool in pools.indices {
            for slot in pools[pool].slots.indices where pools[pool].slots[slot].current?.id == id {
                pools[pool].slots[slot].releaseWreck(&out)
            }
        }
    }

    mutating func update(_ id: Int, _ change: (inout Worker) -> Void) {
        for index in pools.indices { pools[index].update(id, change) }
    }
}
