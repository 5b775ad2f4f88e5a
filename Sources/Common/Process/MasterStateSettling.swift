import Logging

extension MasterState {
    mutating func settle(_ now: Nanoseconds, _ out: inout [MasterAction]) {
        for index in pools.indices {
            enforceDeadlines(index, now, &out)
            guard !stopping, !pools[index].removed else { continue }
            pools[index].resize(now: now, &out)
            pools[index].promote(now: now, &out)
            pools[index].forgetDoubtfulWrecks(now: now, &out)
            for slot in pools[index].slots.indices { fill(index, slot, now, &out) }
            endReload(index, &out)
        }
        pools.removeAll { $0.removed && $0.workers.isEmpty }
        announce(now, &out)
    }

    mutating func endReload(_ index: Int, _ out: inout [MasterAction]) {
        let pool = pools[index]
        guard pool.reloading, pool.isServing, !pool.slots.contains(where: pool.needsReplacement) else {
            return
        }
        pools[index].reloading = false
        pools[index].hasOldSockets = false
        pools[index].leaveOldListen(&out)
        out.append(.log(.notice, "pool \(pool.spec.name): generation \(generation) is in service"))
    }

    mutating func announce(_ now: Nanoseconds, _ out: inout [MasterAction]) {
        if stopping, workers.isEmpty { out.append(.exit(0)) }
        // A hand-over of sockets in progress must finish first. Other starting workers are replaced at once: they may
        // wait for a server for any length of time.
        let inMotion = pools.contains { $0.spec.handover && $0.slots.contains { $0.next != nil || $0.wreck != nil } }
        if upgrade == .waiting, !inMotion, !stopping {
            upgrade = .none
            out.append(.exec)
        }
        // A refused reload is finished too: the running workers stay.
        if !announcedReady, !stopping, pools.allSatisfy({ $0.isServing && !$0.reloading }) {
            announcedReady = true
            out.append(.notify("READY=1"))
        }
    }

    mutating func enforceDeadlines(_ index: Int, _ now: Nanoseconds, _ out: inout [MasterAction]) {
        for worker in pools[index].workers {
            guard let deadline = worker.deadline, deadline <= now else { continue }
            pools[index].update(worker.id) { $0.deadline = nil }
            let spec = pools[index].spec
            let why =
                worker.phase == .starting
                ? "not ready after \(spec.startLimit)"
                : "still running \(spec.stopLimit) after it was asked to stop"
            out.append(.log(.warning, "worker \(worker.label) (pid \(worker.pid)) killed: \(why)"))
            out.append(.kill(worker: worker.id))
        }
    }

    mutating func fill(_ index: Int, _ slot: Int, _ now: Nanoseconds, _ out: inout [MasterAction]) {
        let seat = pools[index].slots[slot]
        guard seat.retryAt <= now else { return }
        if seat.current == nil {
            pools[index].slots[slot].wreck?.attempts += 1
            pools[index].slots[slot].current = hire(index, slot, replaces: nil, now, &out)
        } else if seat.next == nil, pools[index].needsReplacement(seat), upgrade == .none {
            let replaces = pools[index].spec.handover ? seat.current?.id : nil
            pools[index].slots[slot].next = hire(index, slot, replaces: replaces, now, &out)
        }
    }

    mutating func hire(
        _ index: Int, _ slot: Int, replaces: Int?, _ now: Nanoseconds, _ out: inout [MasterAction]
    ) -> Worker? {
        let taken = Set(workers.map(\.board))
        guard let board = (0..<boards).first(where: { !taken.contains($0) }) else {
            pools[index].slots[slot].retryAt = now + Slot.longestDelay
            out.append(.log(.error, "the scoreboard has room for \(boards) workers and is full"))
            return nil
        }
        var worker = Worker(
            id: nextID, pool: pools[index].spec.name, slot: slot, generation: generation, board: board,
            startedAt: now)
        worker.deadline = now + pools[index].spec.startLimit.nanoseconds
        nextID += 1
        let salvages = replaces == nil ? pools[index].slots[slot].wreck?.worker : nil
        out.append(.spawn(worker, replaces: replaces, salvages: salvages, poolSize: pools[index].wanted))
        return worker
    }
}
