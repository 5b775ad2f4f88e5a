import ChatCore
import Logging

/// A pool's workers, and the rules for them. `MasterState` decides when a rule applies.
///
/// A pool is in one of these phases:
///
///     serving ──reload──▶ reloading ──every new worker is ready──▶ serving
///                         reloading ──one of them cannot start──▶ refused ──reload──▶ reloading
///     any phase ──the settings no longer name it──▶ leaving ──its last worker has ended──▶ (removed)
///
/// A slot goes through these:
///
///     empty ──hire──▶ current, starting ──ready──▶ current, ready
///     current, ready ──a reload or a renewal──▶ with a next, starting ──ready──▶ the next is the current one
///     the current one dies ──▶ its next is the current one, or the slot is empty again and waits for `retryAt`
struct Pool {
    enum Phase { case serving, reloading, refused, leaving }

    var spec: PoolSpec
    var wanted: Int
    var slots: [Slot] = []
    /// Workers that were asked to stop and still run.
    private(set) var retired: [Worker] = []
    private(set) var phase = Phase.serving
    /// Workers of an older generation are replaced, except after a refused reload.
    private(set) var generation: Int
    /// The old workers have sockets that the new workers do not have.
    private var hasOldSockets = false
    /// Addresses of the workers in service, during a reload with other addresses.
    private var oldListen: [ListenAddress] = []
    /// Variables of the workers in service, during a reload.
    private var oldEnvironment: [String: String] = [:]
    private var load = PoolLoad()

    init(spec: PoolSpec, generation: Int) {
        self.spec = spec
        self.wanted = spec.workers
        self.generation = generation
    }

    private enum Position: Equatable {
        case current(Int)
        case next(Int)
        case retired
    }

    var isLeaving: Bool { phase == .leaving }

    /// The addresses at which clients may connect.
    var addresses: [ListenAddress] { isLeaving ? [] : spec.listen + oldListen }

    var workers: [Worker] { slots.flatMap { [$0.current, $0.next].compactMap { $0 } } + retired }

    private var isComplete: Bool { slots.count == wanted && slots.allSatisfy { $0.current?.phase == .ready } }

    /// No reload is in progress. A refused one is over too: the running workers stay.
    var isInService: Bool { phase != .reloading && isComplete }

    /// Sockets or files are on their way from one worker to another.
    var isHandingOver: Bool { spec.handover && slots.contains { $0.next != nil || $0.orphanedFiles != nil } }

    func needsReplacement(_ slot: Slot) -> Bool {
        guard let current = slot.current, current.phase == .ready else { return false }
        return current.renewal != nil || phase != .refused && current.generation < generation
    }

    // MARK: Workers

    mutating func update(_ id: Int, _ change: (inout Worker) -> Void) {
        for index in slots.indices {
            if slots[index].current?.id == id { change(&slots[index].current!) }
            if slots[index].next?.id == id { change(&slots[index].next!) }
        }
        for index in retired.indices where retired[index].id == id { change(&retired[index]) }
    }

    mutating func ready(_ id: Int, _ turn: inout Turn) {
        update(id) { if $0.phase == .starting { ($0.phase, $0.deadline) = (.ready, nil) } }
        for index in slots.indices where slots[index].current?.id == id { slots[index].releaseOrphanedFiles(&turn) }
    }

    private mutating func remove(where matches: (Worker) -> Bool) -> (Worker, Position)? {
        for index in slots.indices {
            if let worker = slots[index].current, matches(worker) {
                slots[index].current = nil
                return (worker, .current(index))
            }
            if let worker = slots[index].next, matches(worker) {
                slots[index].next = nil
                return (worker, .next(index))
            }
        }
        guard let index = retired.firstIndex(where: matches) else { return nil }
        return (retired.remove(at: index), .retired)
    }

    private mutating func retire(_ worker: Worker?, drain: Bool = false, _ turn: inout Turn) {
        guard var worker else { return }
        worker.phase = .stopping
        worker.deadline = turn.now + spec.stopLimit.nanoseconds
        retired.append(worker)
        turn.add(drain ? .askToDrain(worker: worker.id) : .askToStop(worker: worker.id))
    }

    private mutating func retire(_ slot: Slot, drain: Bool = false, _ turn: inout Turn) {
        var slot = slot
        slot.releaseOrphanedFiles(&turn)
        retire(slot.next, drain: drain, &turn)
        retire(slot.current, drain: drain, &turn)
    }

    mutating func retireAll(drain: Bool = false, _ turn: inout Turn) {
        for slot in slots { retire(slot, drain: drain, &turn) }
        slots = []
    }

    // MARK: Ends

    /// - Returns: whether the worker was one of this pool.
    mutating func ended(where matches: (Worker) -> Bool, _ how: String, isStopping: Bool, _ turn: inout Turn) -> Bool {
        guard let (worker, position) = remove(where: matches) else { return false }
        turn.add(.forget(worker))
        let event = "\(worker.name) \(how)"
        switch position {
        case .next(let slot): replacementEnded(slot, worker, event, &turn)
        case .current(let slot) where !isStopping: currentEnded(slot, worker, event, &turn)
        case .current, .retired:
            turn.add(.release(worker: worker.id))
            turn.log(.info, event)
        }
        return true
    }

    private mutating func currentEnded(_ slot: Int, _ worker: Worker, _ event: String, _ turn: inout Turn) {
        slots[slot].keepFiles(of: worker, handover: spec.handover, &turn)
        // The replacement continues alone: during a hand-over it sees the end of its socketpair.
        slots[slot].current = slots[slot].next
        slots[slot].next = nil
        let milliseconds = slots[slot].recordEnd(of: worker, now: turn.now) / 1_000_000
        turn.log(.warning, milliseconds == 0 ? event : "\(event); the next is started in \(milliseconds) ms")
        if phase == .reloading, worker.phase == .starting, worker.generation == generation,
            slots.contains(where: { $0.next != nil })
        {
            refuseReload(event, &turn)
        }
    }

    private mutating func replacementEnded(_ slot: Int, _ worker: Worker, _ event: String, _ turn: inout Turn) {
        if spec.handover, let current = slots[slot].current {
            slots[slot].releaseOrphanedFiles(&turn)
            slots[slot].orphanedFiles = OrphanedFiles(worker: worker.id, since: turn.now)
            turn.add(.cancelHandover(worker: current.id))
        } else {
            turn.add(.release(worker: worker.id))
        }
        // The end of a worker of an earlier generation does not count against this one.
        if phase == .reloading, worker.generation == generation {
            refuseReload(event, &turn)
        } else {
            _ = slots[slot].recordEnd(of: worker, now: turn.now)
            turn.log(.warning, "\(event) before it was ready; the old one stays in service")
        }
    }

    // MARK: Reload

    /// A count set by `scale` survives a reload unless the settings' own count has changed.
    mutating func reload(_ new: PoolSpec, _ turn: inout Turn) {
        let countChanged = spec.workers != new.workers || spec.maxWorkers != new.maxWorkers
        if countChanged || spec.isOnDemand != new.isOnDemand { wanted = new.workers }
        if spec.listen.map(\.description) != new.listen.map(\.description) {
            if oldListen.isEmpty, !isLeaving { oldListen = spec.listen }
            hasOldSockets = true
        }
        if phase != .reloading { oldEnvironment = spec.environment }
        spec = new
        generation = turn.generation
        phase = .reloading
        dropReplacements(&turn)
        for index in slots.indices {
            slots[index].forgetFailures()
            // A worker that adopts a dead one's files may have its sockets already: it is replaced once it is ready.
            guard let current = slots[index].current, current.phase == .starting, slots[index].orphanedFiles == nil
            else { continue }
            slots[index].current = nil
            retire(current, &turn)
        }
    }

    /// The settings no longer name the pool.
    mutating func leave(_ turn: inout Turn) {
        phase = .leaving
        retireAll(drain: true, &turn)
    }

    /// The workers have a socket that clients can no longer reach.
    mutating func expectOldSockets() { hasOldSockets = true }

    private mutating func refuseReload(_ reason: String, _ turn: inout Turn) {
        phase = .refused
        dropReplacements(&turn)
        // A worker that dies later gets a successor of the same kind.
        if !oldEnvironment.isEmpty { spec.environment = oldEnvironment }
        if !oldListen.isEmpty {
            spec.listen = oldListen
            leaveOldListen(&turn)
            hasOldSockets = false
        }
        turn.log(.error, "reload of pool \(spec.name) failed, its old workers stay in service: \(reason)")
    }

    /// Stops the replacements in progress; the workers in service stay. With `handover` the replacements continue: one
    /// may already hold the sockets without having reported it, and would close them all. It gets ready, or ends,
    /// within its time limit.
    private mutating func dropReplacements(_ turn: inout Turn) {
        guard !spec.handover else { return }
        for index in slots.indices {
            retire(slots[index].next, &turn)
            slots[index].next = nil
        }
    }

    /// From now on clients can connect only to the new sockets.
    private mutating func leaveOldListen(_ turn: inout Turn) {
        guard !oldListen.isEmpty else { return }
        oldListen = []
        turn.add(.dropListeners)
    }

    // MARK: Settling

    /// - Parameter replaces: replacements may start; they wait while an upgrade is being checked.
    mutating func settle(replaces: Bool, _ turn: inout Turn) {
        resize(&turn)
        promote(&turn)
        closeUncertainFiles(&turn)
        for slot in slots.indices { fill(slot, replaces: replaces, &turn) }
        endReload(&turn)
    }

    private mutating func resize(_ turn: inout Turn) {
        guard slots.count != wanted else { return }
        while slots.count < wanted { slots.append(Slot()) }
        while slots.count > wanted { retire(slots.removeLast(), &turn) }
        for worker in workers where worker.phase != .stopping {
            turn.add(.tellPoolSize(worker: worker.id, wanted))
        }
    }

    /// A reload switches when every new worker is ready, so a generation that cannot start replaces no worker. With
    /// `handover` each slot switches by itself, because its sockets have already moved.
    private mutating func promote(_ turn: inout Turn) {
        let allReady = slots.filter(needsReplacement).allSatisfy { $0.next?.phase == .ready }
        for index in slots.indices {
            guard let next = slots[index].next, next.phase == .ready else { continue }
            guard allReady || spec.handover || phase != .reloading else { continue }
            let old = slots[index].current
            leaveOldListen(&turn)
            slots[index].current = next
            slots[index].next = nil
            slots[index].releaseOrphanedFiles(&turn)
            slots[index].forgetFailures()
            retire(old, drain: hasOldSockets, &turn)
        }
    }

    private mutating func closeUncertainFiles(_ turn: inout Turn) {
        for index in slots.indices where slots[index].current?.phase == .ready {
            guard let files = slots[index].orphanedFiles, turn.now - files.since >= Slot.adoptionUncertainFor
            else { continue }
            slots[index].releaseOrphanedFiles(&turn)
        }
    }

    private mutating func fill(_ index: Int, replaces: Bool, _ turn: inout Turn) {
        let slot = slots[index]
        guard slot.retryAt <= turn.now else { return }
        if slot.current == nil {
            slots[index].orphanedFiles?.attempts += 1
            slots[index].current = hire(index, replaces: nil, &turn)
        } else if slot.next == nil, needsReplacement(slot), replaces {
            slots[index].next = hire(index, replaces: spec.handover ? slot.current?.id : nil, &turn)
        }
    }

    private mutating func hire(_ index: Int, replaces: Int?, _ turn: inout Turn) -> Worker? {
        guard var worker = turn.newWorker(pool: spec.name, slot: index) else {
            slots[index].retryAt = turn.now + Slot.longestDelay
            turn.log(.error, "the scoreboard has room for \(turn.rows) workers and is full")
            return nil
        }
        worker.deadline = turn.now + spec.startLimit.nanoseconds
        let adopts = replaces == nil ? slots[index].orphanedFiles?.worker : nil
        turn.add(.spawn(worker, replaces: replaces, adopts: adopts, poolSize: wanted))
        return worker
    }

    private mutating func endReload(_ turn: inout Turn) {
        guard phase == .reloading, isComplete, !slots.contains(where: needsReplacement) else { return }
        phase = .serving
        hasOldSockets = false
        leaveOldListen(&turn)
        turn.log(.notice, "pool \(spec.name): generation \(turn.generation) is in service")
    }

    /// Kills the workers past their time.
    mutating func enforceDeadlines(_ turn: inout Turn) {
        for worker in workers {
            guard let deadline = worker.deadline, deadline <= turn.now else { continue }
            update(worker.id) { $0.deadline = nil }
            let why =
                worker.phase == .starting
                ? "not ready after \(spec.startLimit)"
                : "still running \(spec.stopLimit) after it was asked to stop"
            turn.log(.warning, "\(worker.name) killed: \(why)")
            turn.add(.kill(worker: worker.id))
        }
    }

    // MARK: Size

    mutating func scale(_ scale: Scale, _ turn: inout Turn) {
        let asked =
            switch scale {
            // An operator may write any number.
            case .by(let change): wanted + min(max(-spec.workerLimit, change), spec.workerLimit)
            case .to(let count): count
            }
        wanted = min(max(spec.isOnDemand ? 0 : 1, asked), spec.workerLimit)
        turn.log(.notice, "pool \(spec.name): \(wantedText)")
    }

    /// The first client of a pool on demand. More workers come as in any dynamic pool.
    mutating func demand(_ turn: inout Turn) {
        guard wanted == 0, !isLeaving else { return }
        wanted = 1
        turn.log(.info, "pool \(spec.name): \(wantedText) (a request waits)")
    }

    var wantedText: String { "\(wanted) \(wanted == 1 ? "worker" : "workers") wanted" }

    /// - Parameter observations: by the row of the scoreboard.
    mutating func observe(_ observations: [Int: Observation], isStopping: Bool, _ turn: inout Turn) {
        let serving = slots.compactMap(\.current).filter { $0.phase == .ready }
        let busy = serving.filter { observations[$0.row]?.busySince != nil }
        for worker in workers {
            if let seen = observations[worker.row] { watch(worker, seen, &turn) }
        }
        guard !isStopping, phase != .reloading else { return }
        let change = load.change(
            spec: spec, wanted: wanted, ready: serving.count, busy: busy.count, now: turn.now)
        guard change != 0 else { return }
        wanted += change
        turn.log(.info, "pool \(spec.name): \(wantedText) (\(busy.count) busy)")
    }

    // MARK: Adoption after an execve

    /// Adopts a worker in its old slot. The reload that follows asks workers that are not ready to stop.
    mutating func adopt(_ worker: Worker) {
        while slots.count <= worker.slot { slots.append(Slot()) }
        if worker.phase == .stopping {
            retired.append(worker)
        } else if slots[worker.slot].current == nil {
            slots[worker.slot].current = worker
        } else {
            slots[worker.slot].next = worker
        }
    }

    /// Keeps the files of another master's worker for the first worker of the slot.
    ///
    /// - Returns: false when the pool has no such slot, or the slot has some already.
    mutating func reserve(_ files: OrphanedFiles, slot: Int) -> Bool {
        guard slot < wanted else { return false }
        while slots.count < wanted { slots.append(Slot()) }
        guard slots[slot].orphanedFiles == nil else { return false }
        slots[slot].orphanedFiles = files
        return true
    }
}
