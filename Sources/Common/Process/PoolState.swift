/// The position of one worker: the one in service, and its replacement that is starting.
struct Slot {
    var current: Worker?
    var next: Worker?
    /// The worker that died here; its descriptors wait for a successor.
    var wreck: Wreck?
    /// Consecutive ends of workers that had not served; each doubles the wait before the next try.
    var failures = 0
    var retryAt: Nanoseconds = .min

    static let firstDelay: Nanoseconds = 100_000_000
    static let longestDelay: Nanoseconds = 5_000_000_000
    static let steadyAfter: Nanoseconds = 1_000_000_000

    /// Counts the end of a worker and returns the wait before the next. A worker that was ready and lived for a second
    /// is replaced at once, however often: clients wait, and one restart a second is no storm.
    mutating func recordEnd(of worker: Worker, now: Nanoseconds) -> Nanoseconds {
        let served = worker.phase == .ready && now - worker.startedAt >= Slot.steadyAfter
        failures = served ? 0 : failures + 1
        let delay = failures == 0 ? 0 : min(Slot.firstDelay << min(failures - 1, 20), Slot.longestDelay)
        retryAt = now + delay
        return delay
    }

    /// Workers that may crash while adopting a dead worker's descriptors. After that the descriptors are closed, since
    /// they may be the cause.
    static let salvageAttempts = 3
    /// A successor that died before it was ready may already have taken over the descriptors. Then the worker in
    /// service has none and ends within this time, and the next one adopts those of the successor. After this time they
    /// are closed.
    static let doubtfulFor: Nanoseconds = 3_000_000_000

    /// The adoption is settled: the kept descriptors may be closed.
    mutating func releaseWreck(_ out: inout [MasterAction]) {
        if let wreck { out.append(.release(worker: wreck.worker)) }
        wreck = nil
    }

    mutating func forgetFailures() {
        failures = 0
        retryAt = .min
    }
}

/// A dead worker's descriptors, kept until a successor has adopted them.
struct Wreck: Equatable {
    let worker: Int
    let since: Nanoseconds
    /// Successors started so far.
    var attempts = 0
}

/// A pool's workers. Its methods change the wanted workers; `MasterState` decides when.
struct PoolState {
    var spec: PoolSpec
    var wanted: Int
    var slots: [Slot] = []
    /// Workers that were asked to stop and still run.
    var leaving: [Worker] = []
    /// Workers of an older generation are replaced. 0 after a refused reload: running workers stay.
    var target: Int
    var reloading = false
    /// Removed from the configuration: the pool ends with its last worker.
    var removed = false
    /// Its workers of before have sockets that those of now have not.
    var hasOldSockets = false
    /// Addresses of the workers in service, while those of a reload that has others are not ready.
    var oldListen: [ListenAddress] = []
    /// Variables of the workers in service, during a reload.
    var oldEnvironment: [String: String] = [:]
    var load = PoolLoad()

    init(spec: PoolSpec, target: Int) {
        self.spec = spec
        self.wanted = spec.workers
        self.target = target
    }

    enum Seat: Equatable {
        case current(Int)
        case next(Int)
        case leaving
    }

    /// Where clients may come.
    var addresses: [ListenAddress] { removed ? [] : spec.listen + oldListen }

    var workers: [Worker] { slots.flatMap { [$0.current, $0.next].compactMap { $0 } } + leaving }

    var isServing: Bool { slots.count == wanted && slots.allSatisfy { $0.current?.phase == .ready } }

    mutating func update(_ id: Int, _ change: (inout Worker) -> Void) {
        for index in slots.indices {
            if slots[index].current?.id == id { change(&slots[index].current!) }
            if slots[index].next?.id == id { change(&slots[index].next!) }
        }
        for index in leaving.indices where leaving[index].id == id { change(&leaving[index]) }
    }

    mutating func remove(where matches: (Worker) -> Bool) -> (Worker, Seat)? {
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
        guard let index = leaving.firstIndex(where: matches) else { return nil }
        return (leaving.remove(at: index), .leaving)
    }

    mutating func retire(
        _ worker: Worker?, now: Nanoseconds, _ out: inout [MasterAction], drain: Bool = false
    ) {
        guard var worker else { return }
        worker.phase = .stopping
        worker.deadline = now + spec.stopLimit.nanoseconds
        leaving.append(worker)
        out.append(drain ? .askToDrain(worker: worker.id) : .askToStop(worker: worker.id))
    }

    mutating func retireAll(now: Nanoseconds, _ out: inout [MasterAction], drain: Bool = false) {
        for index in slots.indices {
            slots[index].releaseWreck(&out)
            retire(slots[index].next, now: now, &out, drain: drain)
            retire(slots[index].current, now: now, &out, drain: drain)
        }
        slots = []
    }

    /// Stops the replacements in progress; the workers in service stay. With `handover` the replacements continue: one
    /// may already hold the sockets without having reported it, and would close them all. It gets ready, or ends,
    /// within its time limit.
    mutating func dropReplacements(now: Nanoseconds, _ out: inout [MasterAction]) {
        guard !spec.handover else { return }
        for index in slots.indices {
            retire(slots[index].next, now: now, &out)
            slots[index].next = nil
        }
    }

    mutating func resize(now: Nanoseconds, _ out: inout [MasterAction]) {
        guard slots.count != wanted else { return }
        while slots.count < wanted { slots.append(Slot()) }
        while slots.count > wanted {
            var slot = slots.removeLast()
            slot.releaseWreck(&out)
            retire(slot.next, now: now, &out)
            retire(slot.current, now: now, &out)
        }
        for worker in workers where worker.phase != .stopping {
            out.append(.tellPoolSize(worker: worker.id, wanted))
        }
    }

    mutating func forgetDoubtfulWrecks(now: Nanoseconds, _ out: inout [MasterAction]) {
        for index in slots.indices where slots[index].current?.phase == .ready {
            guard let wreck = slots[index].wreck, now - wreck.since >= Slot.doubtfulFor else { continue }
            slots[index].releaseWreck(&out)
        }
    }

    func needsReplacement(_ slot: Slot) -> Bool {
        guard let current = slot.current, current.phase == .ready else { return false }
        return current.generation < target || current.renewal != nil
    }

    /// From here on clients come to the new sockets alone.
    mutating func leaveOldListen(_ out: inout [MasterAction]) {
        guard !oldListen.isEmpty else { return }
        oldListen = []
        out.append(.dropListeners)
    }

    /// A reload switches when every new worker is ready: a generation that cannot start replaces nobody. With
    /// `handover` each slot switches by itself, because its sockets have already moved.
    mutating func promote(now: Nanoseconds, _ out: inout [MasterAction]) {
        let allReady = slots.filter(needsReplacement).allSatisfy { $0.next?.phase == .ready }
        for index in slots.indices {
            guard let next = slots[index].next, next.phase == .ready else { continue }
            guard allReady || spec.handover || !reloading else { continue }
            let old = slots[index].current
            leaveOldListen(&out)
            slots[index].current = next
            slots[index].next = nil
            slots[index].releaseWreck(&out)
            slots[index].forgetFailures()
            retire(old, now: now, &out, drain: hasOldSockets)
        }
    }
}
