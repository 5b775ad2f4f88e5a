import Logging

/// The master's rules, without a clock and without a system call: events go in, actions come out. The rules for one
/// pool are in ``Pool``.
///
/// `handle` records the event and then calls `settle`: it fills empty slots, switches to replacements that are ready,
/// and kills workers past their deadline. Settling looks at the whole state, so a lost or late event is corrected by
/// the next one.
struct MasterState {
    enum Upgrade { case none, checking, waiting }

    private(set) var pools: [Pool]
    private(set) var generation: Int
    private var nextID = 1
    private(set) var stopping = false
    private var upgrade = Upgrade.none
    /// The pool that TTIN and TTOU change: the one of the last `scale`.
    private var signalPool: String?
    private var announcedReady = false
    private let rows: Int

    /// `rows`: the number of workers that fit into the scoreboard.
    init(pools: [PoolSpec], rows: Int, generation: Int = 1) {
        self.pools = pools.map { Pool(spec: $0, generation: generation) }
        self.rows = rows
        self.generation = generation
    }

    var workers: [Worker] { pools.flatMap(\.workers) }

    mutating func handle(_ event: MasterEvent, at now: Nanoseconds) -> [MasterAction] {
        var turn = Turn(now: now, rows: rows, generation: generation, nextID: nextID)
        apply(event, &turn)
        settle(&turn)
        (generation, nextID) = (turn.generation, turn.nextID)
        return turn.actions
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

    private mutating func apply(_ event: MasterEvent, _ turn: inout Turn) {
        switch event {
        case .start: break
        case .spawned(let id, let pid): update(id) { $0.pid = pid }
        case .spawnFailed(let id, let reason): ended(where: { $0.id == id }, "could not be started: \(reason)", &turn)
        case .ready(let id): for index in pools.indices { pools[index].ready(id, &turn) }
        case .wantsRenewal(let id, let reason): update(id) { $0.renewal = $0.renewal ?? reason }
        case .exited(let pid, let status): ended(where: { $0.pid == pid }, status.description, &turn)
        case .tick(let observations):
            for index in pools.indices { pools[index].observe(observations, isStopping: stopping, &turn) }
        case .signal(let signal): receive(signal, &turn)
        case .scale(let pool, let scale): self.scale(pool, scale, &turn)
        case .reload(let specs): reload(specs, &turn)
        case .demand(let name):
            // A name may occur twice: for a pool that leaves, and for the new one with its name.
            for index in pools.indices where !stopping && pools[index].spec.name == name { pools[index].demand(&turn) }
        case .reloadRefused(let reason):
            turn.log(.error, "reload refused, nothing changes: \(reason)")
            turn.add(.notify("READY=1"))
        case .binaryChecked(let problem): binaryChecked(problem, &turn)
        case .execFailed(let reason): turn.log(.error, "upgrade failed, the running program continues: \(reason)")
        }
    }

    private mutating func update(_ id: Int, _ change: (inout Worker) -> Void) {
        for index in pools.indices { pools[index].update(id, change) }
    }

    private mutating func ended(where matches: (Worker) -> Bool, _ how: String, _ turn: inout Turn) {
        for index in pools.indices where pools[index].ended(where: matches, how, isStopping: stopping, &turn) { return }
    }

    // MARK: Signals

    private mutating func receive(_ signal: MasterSignal, _ turn: inout Turn) {
        switch signal {
        case .hangup where !stopping: turn.add(.readConfiguration)
        case .terminate where !stopping: stop(&turn)
        case .quit:
            stopping = true
            turn.log(.notice, "stopping at once")
            turn.add(.closeListeners)
            for worker in workers { turn.add(.kill(worker: worker.id)) }
        case .upgrade where !stopping && upgrade == .none:
            upgrade = .checking
            turn.log(.notice, "upgrade: checking the binary on disk")
            turn.add(.checkBinary)
        case .more: scale(signalPool ?? pools.first?.spec.name ?? "", .by(1), &turn)
        case .fewer: scale(signalPool ?? pools.first?.spec.name ?? "", .by(-1), &turn)
        case .hangup, .terminate, .upgrade: break
        }
    }

    private mutating func stop(_ turn: inout Turn) {
        stopping = true
        turn.log(.notice, "stopping: \(workers.count) workers finish their current work")
        turn.add(.notify("STOPPING=1"))
        turn.add(.closeListeners)
        for index in pools.indices { pools[index].retireAll(&turn) }
    }

    private mutating func scale(_ name: String, _ scale: Scale, _ turn: inout Turn) {
        guard !stopping, let index = pools.firstIndex(where: { $0.spec.name == name }) else { return }
        signalPool = name
        pools[index].scale(scale, &turn)
    }

    private mutating func binaryChecked(_ problem: String?, _ turn: inout Turn) {
        upgrade = problem == nil ? .waiting : .none
        guard let problem else { return }
        turn.log(.error, "upgrade refused, the running program continues: \(problem)")
    }

    // MARK: Reload

    private mutating func reload(_ specs: [PoolSpec], _ turn: inout Turn) {
        guard !stopping else { return }
        turn.generation += 1
        announcedReady = false
        turn.log(.notice, "reload: starting generation \(turn.generation)")
        // No client may connect to a socket after its last worker has looked for clients.
        turn.add(.dropListeners)
        for index in pools.indices {
            if let spec = specs.first(where: { $0.name == pools[index].spec.name }) {
                pools[index].reload(spec, &turn)
            } else {
                pools[index].leave(&turn)
            }
        }
        for spec in specs where !pools.contains(where: { $0.spec.name == spec.name && !$0.isLeaving }) {
            pools.append(Pool(spec: spec, generation: turn.generation))
        }
    }

    /// Marks the pools whose workers have a socket that clients can no longer reach.
    mutating func expectOldSockets(_ isUnreachable: (String) -> Bool) {
        for index in pools.indices where pools[index].spec.listen.contains(where: { isUnreachable($0.description) }) {
            pools[index].expectOldSockets()
        }
    }

    // MARK: Settling

    private mutating func settle(_ turn: inout Turn) {
        turn.usedRows = Set(workers.map(\.row))
        for index in pools.indices {
            pools[index].enforceDeadlines(&turn)
            guard !stopping, !pools[index].isLeaving else { continue }
            pools[index].settle(replaces: upgrade == .none, &turn)
        }
        pools.removeAll { $0.isLeaving && $0.workers.isEmpty }
        announce(&turn)
    }

    private mutating func announce(_ turn: inout Turn) {
        if stopping, workers.isEmpty { turn.add(.exit(0)) }
        // A hand-over of sockets in progress must finish first. Other starting workers are replaced at once: they may
        // wait for a server for any length of time.
        if upgrade == .waiting, !stopping, !pools.contains(where: \.isHandingOver) {
            upgrade = .none
            turn.add(.exec)
        }
        if !announcedReady, !stopping, pools.allSatisfy(\.isInService) {
            announcedReady = true
            turn.add(.notify("READY=1"))
        }
    }
}

// MARK: - Adoption

extension MasterState {
    /// Adopts a pool of the earlier image, after an execve; the `reload` that follows compares it with the settings.
    mutating func adopt(
        pool name: String, workers: Int, maxWorkers: Int, wanted: Int, listen: [ListenAddress] = []
    ) {
        let spec = PoolSpec(
            name: name, workers: workers, maxWorkers: maxWorkers, listen: listen, isOnDemand: workers == 0)
        var pool = Pool(spec: spec, generation: generation)
        pool.wanted = wanted
        pools.append(pool)
    }

    /// Adopts a worker that the earlier image started.
    mutating func adopt(_ worker: Worker) {
        nextID = max(nextID, worker.id + 1)
        guard let index = pools.firstIndex(where: { $0.spec.name == worker.pool }) else { return }
        pools[index].adopt(worker)
    }

    /// Keeps the descriptors of another master's worker for the first worker of this slot.
    ///
    /// - Returns: the id of these descriptors; nil when the pool has no such slot, or the slot has some already.
    mutating func reserveFiles(in pool: String, slot: Int, at now: Nanoseconds) -> Int? {
        guard let index = pools.firstIndex(where: { $0.spec.name == pool }),
            pools[index].reserve(OrphanedFiles(worker: nextID, since: now), slot: slot)
        else { return nil }
        defer { nextID += 1 }
        return nextID
    }
}
