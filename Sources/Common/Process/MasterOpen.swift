import CLinux
import Glibc
import Logging

/// The start: take the lock on RUN_DIR, bind the sockets (or take them over), spawn the first workers.
extension Master {
    func open() throws {
        if let old = try Inheritance.find() { return try adopt(old) }
        lock = try folder.lock()
        let given = try Systemd.givenSockets()
        for (index, socket) in given.enumerated() {
            givenNames.insert(socket.name)
            listeners.append(
                Listener(
                    name: givenName(socket.name, index), descriptor: socket.descriptor, inherited: true,
                    path: ""))
        }
        let left = findLeftovers()
        listeners += try missingListeners(for: specs, left: left)
        board = try newBoard()
        control = try ControlSocket(bindingAt: folder.control)
        log.notice(
            "\(program) starts: \(specs.map { "\($0.name) \($0.workers)" }.joined(separator: ", "))")
        handle(.start)
    }

    private func newBoard() throws -> Scoreboard {
        try Scoreboard.create(
            at: folder.scoreboard, pools: specs.map(\.name), counters: counterNames, histograms: histogramNames)
    }

    private func givenName(_ pool: String, _ index: Int) -> String { "systemd:\(pool):\(index)" }

    /// Binds the missing listeners of `specs`. All or nothing: a failure leaves no partial set.
    ///
    /// - Parameter left: listening sockets that the workers of a dead master still hold.
    func missingListeners(for specs: [PoolSpec], left: [Descriptor] = []) throws -> [Listener] {
        var result: [Listener] = []
        for spec in specs where !givenNames.contains(spec.name) {
            for address in spec.listen
            where !(listeners + result).contains(where: { $0.name == address.description }) {
                result.append(try Listener.bind(address, left: left))
            }
        }
        return result
    }

    /// Gives sockets that stay another owner, group or mode.
    func keepAddresses(of specs: [PoolSpec]) throws {
        let old = Set(self.specs.flatMap(\.listen))
        for address in specs.flatMap(\.listen) where !old.contains(address) {
            guard case .unix(let path, let mode, let group, let owner) = address,
                listeners.contains(where: { $0.path == path && !$0.inherited })
            else { continue }
            try giveSocket(path, mode: mode, group: group, owner: owner)
        }
    }

    /// The sockets of pools that wait for their first client.
    var quietListeners: [(pool: String, descriptor: Int32)] {
        state.pools.filter { $0.spec.isOnDemand && $0.wanted == 0 && !$0.removed && !state.stopping }.flatMap { pool in
            listeners(of: pool.spec.name).map { (pool.spec.name, $0.descriptor.number) }
        }
    }

    /// The pool's sockets, in the order of its addresses.
    func listeners(of pool: String) -> [Listener] {
        if givenNames.contains(pool) {
            return listeners.filter { $0.name.hasPrefix("systemd:\(pool):") }
        }
        let names = specs.first { $0.name == pool }?.listen.map(\.description) ?? []
        return names.compactMap { name in listeners.first { $0.name == name } }
    }

    /// Closes sockets on which no pool listens any more; draining workers hold their own copies.
    func dropUnusedListeners() {
        let used = Set(specs.flatMap { listeners(of: $0.name) }.map(\.name))
        for listener in listeners where !used.contains(listener.name) && !listener.inherited {
            listener.removePath()
        }
        listeners.removeAll { !used.contains($0.name) && !$0.inherited }
    }

    // MARK: - After an execve

    private func adopt(_ old: Inheritance) throws {
        lock = Descriptor(old.lock)
        control = ControlSocket(listener: Descriptor(old.control), path: folder.control)
        for entry in old.listeners {
            let descriptor = Descriptor(entry.descriptor)
            listeners.append(
                Listener(
                    name: entry.name, descriptor: descriptor, inherited: entry.inherited, path: entry.path))
            if entry.inherited { givenNames.insert(String(entry.name.split(separator: ":")[1])) }
        }
        try adoptBoard(Descriptor(old.board))
        state = MasterState(pools: [], boards: Scoreboard.workerRows, generation: old.generation)
        for pool in old.pools {
            state.adopt(
                pool: pool.name, workers: pool.workers, maxWorkers: pool.maxWorkers, wanted: pool.wanted)
        }
        for entry in old.workers {
            channels[entry.worker.id] = Channel(descriptor: Descriptor(entry.channel))
            if entry.keeper >= 0 {
                keepers[entry.worker.id] = Channel(descriptor: Descriptor(entry.keeper))
                doors[entry.worker.id] = folder.door(of: entry.worker)
            }
            state.adopt(entry.worker)
        }
        for descriptor in ownDescriptors { descriptor.keepOnExec(false) }
        listeners += try missingListeners(for: specs)
        log.notice("upgraded in place, \(old.workers.count) workers adopted")
        dropUnusedListeners()
        handle(.reload(specs))
    }

    /// Keeps the old scoreboard when its layout fits this program. Otherwise a new one is made: the old workers keep
    /// writing to theirs, unread, until they end.
    private func adoptBoard(_ descriptor: Descriptor) throws {
        if let old = try? Scoreboard(mapping: descriptor, writable: true), old.isOfThisVersion,
            old.counters == counterNames, old.histograms == histogramNames
        {
            board = old
            try board.write(pools: specs.map(\.name))
        } else {
            board = try newBoard()
        }
    }

    var ownDescriptors: [Descriptor] {
        [lock, control.listener, board.descriptor] + listeners.map(\.descriptor)
            + channels.values.map(\.descriptor) + keepers.values.map(\.descriptor)
    }
}
