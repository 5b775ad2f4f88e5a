import Logging

extension MasterState {
    mutating func ended(
        where matches: (Worker) -> Bool, _ how: String, _ now: Nanoseconds, _ out: inout [MasterAction]
    ) {
        for index in pools.indices {
            guard let (worker, seat) = pools[index].remove(where: matches) else { continue }
            out.append(.forget(worker))
            let what = "worker \(worker.label) (pid \(worker.pid)) \(how)"
            switch seat {
            case .leaving: out += [.release(worker: worker.id), .log(.info, what)]
            case .next(let slot): replacementEnded(index, slot, worker, what, now, &out)
            case .current(let slot): currentEnded(index, slot, worker, what, now, &out)
            }
            return
        }
    }

    mutating func currentEnded(
        _ index: Int, _ slot: Int, _ worker: Worker, _ what: String, _ now: Nanoseconds,
        _ out: inout [MasterAction]
    ) {
        guard !stopping else {
            out += [.release(worker: worker.id), .log(.info, what)]
            return
        }
        leaveWreck(index, slot, worker, now, &out)
        // The replacement continues alone: during a hand-over it sees the end of its socketpair.
        pools[index].slots[slot].current = pools[index].slots[slot].next
        pools[index].slots[slot].next = nil
        let milliseconds = pools[index].slots[slot].recordEnd(of: worker, now: now) / 1_000_000
        out.append(
            .log(
                .warning, milliseconds == 0 ? what : "\(what); the next is started in \(milliseconds) ms"))
        if pools[index].reloading, worker.phase == .starting, worker.generation == pools[index].target,
            pools[index].slots.contains(where: { $0.next != nil })
        {
            refuseGeneration(of: index, what, now, &out)
        }
    }

    /// Keeps the dead worker's descriptors for the next one, unless an earlier set has crashed too many workers or is
    /// still kept.
    mutating func leaveWreck(
        _ index: Int, _ slot: Int, _ worker: Worker, _ now: Nanoseconds, _ out: inout [MasterAction]
    ) {
        if let old = pools[index].slots[slot].wreck, old.attempts >= Slot.salvageAttempts {
            out.append(
                .log(.error, "the open files of a dead worker are closed: its successors crashed while adopting them"))
            pools[index].slots[slot].releaseWreck(&out)
        }
        if pools[index].spec.handover, worker.phase == .ready, pools[index].slots[slot].wreck == nil {
            pools[index].slots[slot].wreck = Wreck(worker: worker.id, since: now)
        } else {
            out.append(.release(worker: worker.id))
        }
    }

    mutating func replacementEnded(
        _ index: Int, _ slot: Int, _ worker: Worker, _ what: String, _ now: Nanoseconds,
        _ out: inout [MasterAction]
    ) {
        if pools[index].spec.handover, let current = pools[index].slots[slot].current {
            pools[index].slots[slot].releaseWreck(&out)
            pools[index].slots[slot].wreck = Wreck(worker: worker.id, since: now)
            out.append(.cancelHandover(worker: current.id))
        } else {
            out.append(.release(worker: worker.id))
        }
        // One of an earlier generation says nothing about this one.
        if pools[index].reloading, worker.generation == pools[index].target {
            refuseGeneration(of: index, what, now, &out)
        } else {
            _ = pools[index].slots[slot].recordEnd(of: worker, now: now)
            out.append(.log(.warning, "\(what) before it was ready; the old one stays in service"))
        }
    }
}

extension MasterState {
    mutating func observe(
        _ observations: [Int: Observation], _ now: Nanoseconds, _ out: inout [MasterAction]
    ) {
        for index in pools.indices {
            let serving = pools[index].slots.compactMap(\.current).filter { $0.phase == .ready }
            let busy = serving.filter { observations[$0.board]?.busySince != nil }
            for worker in pools[index].workers {
                guard let seen = observations[worker.board] else { continue }
                watch(worker, seen, pools[index].spec, now, &out)
            }
            guard !stopping, !pools[index].reloading else { continue }
            let change = pools[index].load.change(
                spec: pools[index].spec, wanted: pools[index].wanted, ready: serving.count,
                busy: busy.count, now: now)
            guard change != 0 else { continue }
            pools[index].wanted += change
            let name = pools[index].spec.name
            out.append(
                .log(.info, "pool \(name): \(workersWanted(pools[index].wanted)) (\(busy.count) busy)"))
        }
    }

    mutating func watch(
        _ worker: Worker, _ seen: Observation, _ spec: PoolSpec, _ now: Nanoseconds,
        _ out: inout [MasterAction]
    ) {
        if let limit = spec.timeLimit, let since = seen.busySince, now - since > limit.nanoseconds {
            let what =
                "worker \(worker.label) (pid \(worker.pid)) killed: over the time limit of \(limit)"
            out.append(.log(.error, "\(what) in \(seen.request)"))
            out.append(.kill(worker: worker.id))
        }
        if let limit = spec.slowAfter, let since = seen.busySince, now - since > limit.nanoseconds,
            worker.phase == .ready, worker.askedStack != since
        {
            update(worker.id) { $0.askedStack = since }
            out.append(.askStack(worker: worker.id))
        }
        if let limit = spec.frozenLimit, let since = seen.frozenSince, now - since > limit.nanoseconds {
            let what = "worker \(worker.label) (pid \(worker.pid)) killed: stopped by a signal for more than \(limit)"
            out.append(.log(.error, what))
            out.append(.kill(worker: worker.id))
        }
        if let limit = spec.hangLimit?.nanoseconds { watch(worker, seen, spec, hangLimit: limit, now, &out) }
        if let limit = spec.memoryLimit, seen.residentBytes > limit, worker.phase == .ready,
            worker.renewal == nil
        {
            let reason = "\(seen.residentBytes >> 20) MiB are over the memory limit of \(limit >> 20) MiB"
            out.append(
                .log(.notice, "worker \(worker.label) (pid \(worker.pid)) will be replaced: \(reason)"))
            update(worker.id) { $0.renewal = reason }
        }
    }

    /// A hanging worker is asked for its stack (in the log) and killed a second later, unless the stack dump has ended
    /// it.
    private mutating func watch(
        _ worker: Worker, _ seen: Observation, _ spec: PoolSpec, hangLimit limit: Nanoseconds, _ now: Nanoseconds,
        _ out: inout [MasterAction]
    ) {
        guard worker.phase == .ready, let since = seen.silentSince, now - since > limit,
            !spec.waits || seen.burnt > limit / 2 || (now - since) / 10 > limit
        else { return update(worker.id) { $0.askedWhere = nil } }
        let who = "worker \(worker.label) (pid \(worker.pid))"
        guard let asked = worker.askedWhere else {
            let silence = "no sign of life for \((now - since) / 1_000_000_000) s"
            let burnt = "\(seen.burnt / 1_000_000_000) s of processor time in it"
            out.append(.log(.error, "\(who) hangs: \(silence), \(burnt); asked for its stack"))
            out.append(.askWhere(worker: worker.id))
            return update(worker.id) { $0.askedWhere = now }
        }
        guard now - asked >= 1_000_000_000 else { return }
        out.append(.log(.error, "\(who) killed: it hangs and did not report its stack"))
        out.append(.kill(worker: worker.id))
    }
}
