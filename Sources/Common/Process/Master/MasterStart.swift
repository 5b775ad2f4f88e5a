import CLinux
import ChatCore
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
                    name: givenName(socket.name, index), descriptor: socket.descriptor, inherited: true, file: nil))
        }
        let left = findOrphans()
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

    /// Binds the missing listeners of `specs`. All or nothing: a failure leaves no partial set. A listener whose path
    /// was removed or replaced counts as missing too.
    ///
    /// - Parameters:
    ///   - left: listening sockets that the workers of a dead master still hold.
    ///   - attempts: tries at a port that is in use. A serving master does not wait.
    func missingListeners(
        for specs: [PoolSpec], left: [Descriptor] = [], attempts: Int = Listener.maxPortTries
    ) throws -> [Listener] {
        var (result, known): ([Listener], [(Listener, String)]) = ([], [])
        do {
            for spec in specs where !givenNames.contains(spec.name) {
                for address in spec.listen {
                    let place = SocketPlace(address.description)
                    guard !place.isReserved(in: folder.path) else {
                        throw OperatorError("\(address) is a file of these programs: choose another path")
                    }
                    if let here = (listeners + result).first(where: { $0.place == place && $0.isReachable }) {
                        known.append((here, address.description))
                    } else {
                        result.append(try bind(address, place, left, attempts))
                    }
                }
            }
        } catch {
            result.forEach { $0.removePath() }
            throw error
        }
        known.forEach { $0.alsoCall($1) }
        return result
    }

    private func bind(
        _ address: ListenAddress, _ place: SocketPlace, _ left: [Descriptor], _ attempts: Int
    ) throws -> Listener {
        let other = listeners.first { $0.place != place && $0.place.collides(with: place) }
        do { return try Listener.bind(address, left: left, attempts: other == nil ? attempts : 1) } catch {
            guard let other else { throw error }
            throw OperatorError(
                "\(address) conflicts with \(other.name), which is in use: remove that, reload, then add this"
            )
        }
    }

    /// Changes owner, group and mode of the sockets that stay.
    func keepAddresses(of specs: [PoolSpec]) throws {
        let old = Set(self.specs.flatMap(\.listen))
        for address in specs.flatMap(\.listen) where !old.contains(address) {
            guard case .unix(let path, let mode, let group, let owner) = address,
                listeners.contains(where: { $0.names.contains(address.description) && !$0.inherited })
            else { continue }
            try giveSocket(path, mode: mode, group: group, owner: owner)
        }
    }

    /// The sockets of pools that wait for their first client.
    var quietListeners: [(pool: String, descriptor: Int32)] {
        state.pools.filter { $0.spec.isOnDemand && $0.wanted == 0 && !$0.isLeaving && !state.stopping }.flatMap {
            pool in
            listeners(of: pool.spec.name).map { (pool.spec.name, $0.descriptor.number) }
        }
    }

    /// The pool's sockets, in the order of its addresses.
    func listeners(of pool: String) -> [Listener] {
        if givenNames.contains(pool) {
            return listeners.filter { $0.name.hasPrefix("systemd:\(pool):") }
        }
        let names = state.pools.first { $0.spec.name == pool && !$0.isLeaving }?.spec.listen.map(\.description) ?? []
        return names.compactMap(listener)
    }

    /// The newest listener with this name: an older one has lost its path.
    private func listener(_ name: String) -> Listener? { listeners.last { $0.names.contains(name) } }

    /// Closes sockets on which no pool listens any more; draining workers hold their own copies.
    func dropUnusedListeners() {
        let used = state.pools.flatMap(\.addresses).compactMap { listener($0.description) }
        let unused = listeners.filter { one in !one.inherited && !used.contains { $0 === one } }
        unused.forEach { $0.removePath() }
        listeners.removeAll { one in unused.contains { $0 === one } }
    }

    // MARK: - After an execve

    private func adopt(_ old: Inheritance) throws {
        lock = Descriptor(old.lock)
        control = ControlSocket(listener: Descriptor(old.control), file: SocketFile(at: folder.control))
        for entry in old.listeners {
            let descriptor = Descriptor(entry.descriptor)
            listeners.append(
                Listener(
                    name: entry.name, descriptor: descriptor, inherited: entry.inherited,
                    file: entry.file ?? SocketFile(at: entry.path)))
            if entry.inherited { givenNames.insert(String(entry.name.split(separator: ":")[1])) }
        }
        try adoptBoard(Descriptor(old.board))
        state = MasterState(pools: [], rows: Scoreboard.workerRows, generation: old.generation)
        for pool in old.pools {
            state.adopt(
                pool: pool.name, workers: pool.workers, maxWorkers: pool.maxWorkers, wanted: pool.wanted,
                listen: pool.listen.compactMap { try? ListenAddress(parsing: $0) })
        }
        drains = old.drains
        for entry in old.workers {
            channels[entry.worker.id] = DescriptorSocket(descriptor: Descriptor(entry.channel))
            if entry.keeper >= 0 {
                fileKeepers[entry.worker.id] = DescriptorSocket(descriptor: Descriptor(entry.keeper))
                keeperSockets[entry.worker.id] = folder.keeperSocket(of: entry.worker)
            }
            state.adopt(entry.worker)
        }
        for descriptor in ownDescriptors { descriptor.keepOnExec(false) }
        listeners += try missingListeners(for: specs)
        log.notice("upgraded in place, \(old.workers.count) workers adopted")
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
            + channels.values.map(\.descriptor) + fileKeepers.values.map(\.descriptor)
    }
}
