import CLinux
@preconcurrency import Glibc
import Logging

/// Performs the actions that the rules decide.
extension Master {
    func perform(_ action: MasterAction) {
        switch action {
        case .spawn(let worker, let replaces, let adopts, let poolSize):
            spawn(worker, replaces: replaces, adopts: adopts, poolSize: poolSize)
        case .askToStop(let id): if channels[id]?.send("quit") == false { signal(id, SIGTERM) }
        case .kill(let id): signal(id, SIGKILL)
        case .askToDrain(let id):
            // A worker of an earlier release does not know "drain".
            _ = channels[id]?.send("drain")
            if channels[id]?.send("quit") == false { signal(id, SIGTERM) }
        case .askWhere(let id): signal(id, CrashReport.hangSignal)
        case .askStack(let id): signal(id, SlowReport.signal)
        case .tellPoolSize(let id, let size): channels[id]?.send("pool \(size)")
        case .cancelHandover(let id): channels[id]?.send("handover-cancelled")
        case .forget(let worker): forget(worker)
        case .release(let id): release(id)
        case .readConfiguration: readConfiguration()
        case .checkBinary: checkBinary()
        case .exec: replaceOwnImage()
        case .dropListeners: dropUnusedListeners()
        case .closeListeners:
            listeners.forEach { $0.removePath() }
            listeners = []
        case .notify(let note): Systemd.notify(note)
        case .log(let level, let message): log.log(level: level, "\(message)")
        case .exit(let code): exitCode = code
        }
    }

    private func signal(_ id: Int, _ number: Int32) {
        guard let pid = state.workers.first(where: { $0.id == id })?.pid, pid > 0 else { return }
        kernel.send(number, to: pid)
    }

    private func forget(_ worker: Worker) {
        channels[worker.id] = nil
        let row = board.row(worker.row)
        // A worker of an image with another scoreboard never wrote here.
        guard row[.generation] == worker.generation, row[.startedAt] != 0 else { return }
        board.ended(pool: row[.pool]).absorb(row)
        row.clear()
    }

    private func release(_ id: Int) {
        fileKeepers.removeValue(forKey: id)?.send("R")
        if let path = keeperSockets.removeValue(forKey: id) { unlink(path) }
    }

    // MARK: - Spawn

    private func spawn(_ worker: Worker, replaces: Int?, adopts: Int?, poolSize: Int) {
        do {
            let (ours, theirs) = try DescriptorSocket.pair()
            ours.setNonBlocking()
            let handover = try replaces.map { _ in try DescriptorSocket.pair() }
            let orphaned = try adopts.flatMap { fileKeepers[$0] }.map { ($0, try DescriptorSocket.pair()) }
            let keeper =
                try keepsFiles(worker.pool) ? (ends: DescriptorSocket.pair(), socket: keeperSocket(of: worker)) : nil
            let poolIndex = board.pools.firstIndex(of: worker.pool) ?? 0
            board.row(worker.row).prepare(
                pool: poolIndex, slot: worker.slot, generation: worker.generation)
            let ends = [
                ("handover", handover?.1), ("wreck", orphaned?.1.1), ("keeper", keeper?.ends.1),
                ("door", keeper?.socket),
            ]
            let pid = try kernel.start(
                plan(worker, theirs, ends.compactMap { name, end in end.map { (name, $0) } }, poolSize))
            channels[worker.id] = DescriptorSocket(descriptor: ours)
            if let drained = drains[worker.pool] { channels[worker.id]?.send("move-away \(drained.order)") }
            keeper?.ends.0.setNonBlocking()
            if let keeper { fileKeepers[worker.id] = DescriptorSocket(descriptor: keeper.ends.0) }
            if let (keeper, ends) = orphaned { keeper.send("G", descriptor: ends.0.number) }
            if let replaces, let handover {
                channels[replaces]?.send("handover", descriptor: handover.0.number)
            }
            handle(.spawned(worker: worker.id, pid: pid))
        } catch {
            handle(.spawnFailed(worker: worker.id, reason: "\(error)"))
        }
    }

    /// Without this socket (its path may be too long) the file keeper ends with this master.
    private func keeperSocket(of worker: Worker) -> Descriptor? {
        let path = folder.keeperSocket(of: worker)
        guard let (socket, _) = try? bindUnix(path, mode: 0o600) else { return nil }
        keeperSockets[worker.id] = path
        return socket
    }

    private func keepsFiles(_ pool: String) -> Bool { specs.first { $0.name == pool }?.handover == true }

    private func plan(
        _ worker: Worker, _ channel: Descriptor, _ ends: [(name: String, descriptor: Descriptor)], _ poolSize: Int
    ) -> Spawn {
        let sockets = listeners(of: worker.pool).map(\.descriptor)
        let fixed = [channel, board.descriptor] + sockets + ends.map(\.descriptor)
        let place =
            "pool=\(worker.pool) slot=\(worker.slot) of=\(poolSize) generation=\(worker.generation)"
        let ties =
            "board=\(worker.row) listen=\(sockets.count) ends=\(ends.map(\.name).joined(separator: ",")) master=\(getpid())"
        let own = state.pools.first { $0.spec.name == worker.pool && !$0.isLeaving }?.spec.environment ?? [:]
        return Spawn(
            path: path, arguments: [CommandLine.arguments[0]] + workerArguments,
            environment: inheritedEnvironment(before: own) + ["CHAT_WORKER=program=\(program) \(place) \(ties)"],
            descriptors: fixed.enumerated().map { ($1.number, WorkerChannel.channelNumber + Int32($0)) })
    }

    // MARK: - HUP

    private func readConfiguration() {
        Systemd.notify("RELOADING=1\nMONOTONIC_USEC=\(kernel.now / 1000)")
        do {
            let new = try readSpecs()
            let missing = try missingListeners(for: new, attempts: 1)
            // The old workers' sockets have lost their path: these workers answer connected clients and then end.
            state.expectOldSockets { address in listeners.contains { $0.names.contains(address) && !$0.isReachable } }
            listeners += missing
            try keepAddresses(of: new)
            try board.write(pools: new.map(\.name))
            specs = new
            handle(.reload(new))
        } catch {
            dropUnusedListeners()
            handle(.reloadRefused("\(error)"))
        }
    }

    // MARK: - USR2

    private func checkBinary() {
        do {
            check = try BinaryCheck(path: path, arguments: [CommandLine.arguments[0]] + checkArguments, kernel)
        } catch {
            handle(.binaryChecked("\(error)"))
        }
    }

    /// The same process runs the new program: PID, sockets, lock and children stay.
    private func replaceOwnImage() {
        do {
            let memory = try inheritance().leave()
            ownDescriptors.forEach { $0.keepOnExec(true) }
            log.notice("upgrade: the new binary takes over")
            let failure = kernel.execute(path, CommandLine.arguments)
            ownDescriptors.forEach { $0.keepOnExec(false) }
            unsetenv(Inheritance.variable)
            withExtendedLifetime(memory) { handle(.execFailed(failure.description)) }
        } catch {
            handle(.execFailed("\(error)"))
        }
    }

    private func inheritance() -> Inheritance {
        var result = Inheritance()
        result.generation = state.generation
        (result.board, result.lock, result.control) = (
            board.descriptor.number, lock.number, control.listener.number
        )
        result.listeners = listeners.map {
            ($0.name, $0.descriptor.number, $0.inherited, $0.file?.path ?? "", $0.file)
        }
        result.pools = state.pools.map {
            .init(
                name: $0.spec.name, workers: $0.spec.workers, maxWorkers: $0.spec.maxWorkers,
                wanted: $0.wanted, listen: $0.addresses.map(\.description))
        }
        result.drains = drains
        result.workers = state.workers.compactMap { worker in
            channels[worker.id].map { (worker, $0.descriptor.number, fileKeepers[worker.id]?.descriptor.number ?? -1) }
        }
        return result
    }
}
