import Logging

extension MasterState {
    mutating func reload(_ specs: [PoolSpec], _ now: Nanoseconds, _ out: inout [MasterAction]) {
        guard !stopping else { return }
        generation += 1
        announcedReady = false
        out.append(.log(.notice, "reload: starting generation \(generation)"))
        // No client may come to a socket whose last worker has looked for clients.
        out.append(.dropListeners)
        for index in pools.indices {
            if let spec = specs.first(where: { $0.name == pools[index].spec.name }) {
                renew(index, spec, now, &out)
            } else {
                pools[index].removed = true
                pools[index].retireAll(now: now, &out, drain: true)
            }
        }
        for spec in specs where !pools.contains(where: { $0.spec.name == spec.name && !$0.removed }) {
            pools.append(PoolState(spec: spec, target: generation))
        }
    }

    /// A count set by `scale` survives a reload unless the settings' own count has changed.
    mutating func renew(
        _ index: Int, _ spec: PoolSpec, _ now: Nanoseconds, _ out: inout [MasterAction]
    ) {
        let countChanged =
            pools[index].spec.workers != spec.workers || pools[index].spec.maxWorkers != spec.maxWorkers
        if countChanged || pools[index].spec.isOnDemand != spec.isOnDemand { pools[index].wanted = spec.workers }
        if pools[index].spec.listen.map(\.description) != spec.listen.map(\.description) {
            if pools[index].oldListen.isEmpty, !pools[index].removed {
                pools[index].oldListen = pools[index].spec.listen
            }
            pools[index].hasOldSockets = true
        }
        if !pools[index].reloading { pools[index].oldEnvironment = pools[index].spec.environment }
        pools[index].spec = spec
        pools[index].target = generation
        pools[index].reloading = true
        pools[index].removed = false
        pools[index].dropReplacements(now: now, &out)
        for slot in pools[index].slots.indices {
            pools[index].slots[slot].forgetFailures()
            // One that was started over a wreck may have its sockets by now: it gets ready, and is replaced then.
            guard let current = pools[index].slots[slot].current, current.phase == .starting,
                pools[index].slots[slot].wreck == nil
            else { continue }
            pools[index].slots[slot].current = nil
            pools[index].retire(current, now: now, &out)
        }
    }

    /// Marks the pools whose workers have a socket that no client finds.
    mutating func expectOldSockets(_ isUnreachable: (String) -> Bool) {
        for index in pools.indices where pools[index].spec.listen.contains(where: { isUnreachable($0.description) }) {
            pools[index].hasOldSockets = true
        }
    }

    mutating func refuseGeneration(
        of index: Int, _ reason: String, _ now: Nanoseconds, _ out: inout [MasterAction]
    ) {
        pools[index].target = 0
        pools[index].reloading = false
        pools[index].dropReplacements(now: now, &out)
        // A worker that dies later gets a successor of the same kind.
        if !pools[index].oldEnvironment.isEmpty { pools[index].spec.environment = pools[index].oldEnvironment }
        if !pools[index].oldListen.isEmpty {
            pools[index].spec.listen = pools[index].oldListen
            pools[index].leaveOldListen(&out)
            pools[index].hasOldSockets = false
        }
        out.append(
            .log(
                .error,
                "reload of pool \(pools[index].spec.name) failed, its old workers stay in service: \(reason)"
            ))
    }
}

// MARK: - Adoption after an execve

extension MasterState {
    /// Adopts a pool of the earlier image; the `reload` that follows compares it with the settings.
    mutating func adopt(
        pool name: String, workers: Int, maxWorkers: Int, wanted: Int, listen: [ListenAddress] = []
    ) {
        let spec = PoolSpec(
            name: name, workers: workers, maxWorkers: maxWorkers, listen: listen, isOnDemand: workers == 0)
        var pool = PoolState(spec: spec, target: generation)
        pool.wanted = wanted
        pools.append(pool)
    }

    /// Keeps the descriptors of another master's worker for the first worker of this slot.
    ///
    /// - Returns: the id of these descriptors; nil when the pool has no such slot, or the slot has some already.
    mutating func leaveWreck(in pool: String, slot: Int, at now: Nanoseconds) -> Int? {
        guard let index = pools.firstIndex(where: { $0.spec.name == pool }), slot < pools[index].wanted else {
            return nil
        }
        while pools[index].slots.count < pools[index].wanted { pools[index].slots.append(Slot()) }
        guard pools[index].slots[slot].wreck == nil else { return nil }
        defer { nextID += 1 }
        pools[index].slots[slot].wreck = Wreck(worker: nextID, since: now)
        return nextID
    }

    /// Adopts a worker that the earlier image started, in its old slot. The `reload` that follows asks workers that are
    /// not ready to stop.
    mutating func adopt(_ worker: Worker) {
        nextID = max(nextID, worker.id + 1)
        guard let index = pools.firstIndex(where: { $0.spec.name == worker.pool }) else { return }
        while pools[index].slots.count <= worker.slot { pools[index].slots.append(Slot()) }
        if worker.phase == .stopping {
            pools[index].leaving.append(worker)
        } else if pools[index].slots[worker.slot].current == nil {
            pools[index].slots[worker.slot].current = worker
        } else {
            pools[index].slots[worker.slot].next = worker
        }
    }
}
