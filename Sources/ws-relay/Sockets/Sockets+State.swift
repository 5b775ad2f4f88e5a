import ChatCore
import Glibc

/// The sockets' part of a hand-over, and of the take-over of a dead relay's sockets.
extension Sockets {
    // MARK: Drain

    /// Sockets that are upgraded and open, or have not yet taken their close frame.
    var clients: Int {
        (0..<connections.used).count { connections[UInt32($0)].descriptor >= 0 && connections[UInt32($0)].serial != 0 }
    }

    /// Those that a drain sends away, in any order.
    var welcomed: [Moves.Candidate] {
        var found: [Moves.Candidate] = []
        connections.forEach { slot in
            guard connections[slot].flags.contains(.welcomed), !connections[slot].flags.contains(.closing) else {
                return
            }
            found.append(.init(handle: connections.handle(slot), understands: connections[slot].understandsMove))
        }
        return found.shuffled()
    }

    // MARK: Giving

    /// Slots of sockets that a successor gets. Those that are being closed stay here.
    var handedOver: [UInt32] { (0..<UInt32(connections.used)).filter(isHandedOver) }

    private func isHandedOver(_ slot: UInt32) -> Bool {
        connections[slot].descriptor >= 0 && !connections[slot].flags.contains(.closing)
    }

    /// Sockets in slots from `first` on, by handle. They still belong to this relay.
    func handedOver(from first: UInt32, most: Int) -> (handles: [UInt64], descriptors: [Int32]) {
        var slots: [UInt32] = []
        for slot in first..<max(first, UInt32(connections.used)) where slots.count < most && isHandedOver(slot) {
            slots.append(slot)
        }
        return (slots.map(connections.handle), slots.map { connections[$0].descriptor })
    }

    func writeRows(of open: [UInt32], to parts: inout StatePartsWriter, as format: StateFormat) {
        // The handles' name in every release.
        parts.add("tickets") { $0.put(array: open.map(connections.handle)) }
        let rows = open.map { connections[$0] }
        parts.add("sockets") { if format == .described { $0.put(records: rows) } else { $0.put(array: rows) } }
        if format == .described { parts.add("flags") { Connection.Flags.write(rows, to: &$0) } }
        parts.add("slow") { writeSlow(of: open, to: &$0) }
    }

    private func writeSlow(of open: [UInt32], to state: inout StateWriter) {
        let some = open.indices.filter { slow[open[$0]] != nil }
        state.put(UInt32(some.count))
        for place in some {
            state.put(UInt32(place))
            slow[open[place]]?.write(to: &state)
        }
    }

    func writeStreams(of open: [UInt32], to state: inout StateWriter) {
        let some = open.indices.filter { streams[open[$0]] != nil }
        state.put(UInt32(some.count))
        for place in some {
            state.put(UInt32(place))
            streams[open[place]]?.write(to: &state)
        }
    }

    // MARK: Taking

    /// Prepares a slot and epoll for a socket that is not ours yet, so that the hand-over itself is short. Until then
    /// it counts as greeting: if this process crashes, a salvage leaves it alone.
    func prepare(_ descriptor: Int32) -> UInt32? {
        guard let slot = connections.open(descriptor) else { return nil }
        connections.insert(.greeting, slot)
        guard epoll.add(descriptor, .read, handle: connections.handle(slot)) else {
            // The caller closes a descriptor without a slot.
            connections.bury(slot)
            connections.reap { _, _ in }
            return nil
        }
        return slot
    }

    /// A predecessor's rows, by its handles.
    struct HandedRows {
        let handles: [UInt64]
        fileprivate(set) var rows: [Connection]
        /// The slots here, by the predecessor's handles.
        fileprivate(set) var slots: [UInt64: UInt32] = [:]

        /// The slot here of the place in the lists; nil: there is none.
        func slot(at place: Int) -> UInt32? { place < handles.count ? slots[handles[place]] : nil }
    }

    func readRows(from parts: inout StatePartsReader) throws(StateUnreadable) -> HandedRows {
        let isDescribed = parts.format == .described
        let handles = try parts.read("tickets") { state throws(StateUnreadable) in try state.takeArray(UInt64.self) }
        var rows = try parts.read("sockets") { state throws(StateUnreadable) in
            try isDescribed ? state.takeRecords(Connection.self) : state.takeArray(Connection.self)
        }
        if isDescribed {
            try parts.read("flags") { state throws(StateUnreadable) in
                try Connection.Flags.read(into: &rows, from: &state)
            }
        }
        return HandedRows(handles: handles, rows: rows)
    }

    /// - Parameters:
    ///   - descriptors: of the sockets that were not prepared, in the order of the rows.
    ///   - prepared: slots here for sockets that were sent ahead, by the predecessor's handles.
    ///   - attach: gets each slot, and the predecessor's index of its user.
    func adopt(
        _ handed: inout HandedRows, _ descriptors: [Int32], prepared: [UInt64: UInt32],
        attach: (_ slot: UInt32, _ user: UInt32) -> Bool
    ) throws(StateUnreadable) {
        var new = descriptors[...]
        var gone = prepared
        handed.slots.reserveCapacity(handed.handles.count)
        reserveSerials(handed.handles.count)
        for (handle, row) in zip(handed.handles, handed.rows) {
            guard let slot = gone.removeValue(forKey: handle) ?? new.popFirst().flatMap(prepare) else {
                throw StateUnreadable(wanted: handed.handles.count, left: handed.slots.count)
            }
            adopt(row, in: slot, keeping: .handedOver)
            if attach(slot, row.user) { register(slot) }
            handed.slots[handle] = slot
        }
        for slot in gone.values { destroy(slot) }
    }

    private func adopt(_ row: Connection, in slot: UInt32, keeping flags: Connection.Flags) {
        connections.row(slot).pointee = row.moved(to: connections[slot], keeping: flags)
        admission.recount(address: row.address)
        if connections[slot].flags.contains(.readPaused) { watch(slot) }
    }

    func adoptSlow(from state: inout StateReader, _ handed: HandedRows) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let place = Int(try state.take(UInt32.self))
            guard let slot = handed.slot(at: place) else {
                throw StateUnreadable(wanted: place, left: handed.handles.count)
            }
            let inflates = connections[slot].flags.contains(.deflated)
            slow.set(try SlowState(maxMessage: settings.maxFrame, inflates: inflates, from: &state), slot)
            watchWrite(slot)
        }
    }

    func adoptStreams(from state: inout StateReader, _ handed: HandedRows) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let place = Int(try state.take(UInt32.self))
            let stream = try EventStream(from: &state)
            guard let slot = handed.slot(at: place), connections[slot].getsEvents else { continue }
            streams.set(stream, slot)
        }
    }

    // MARK: After a crash

    /// Adopts a socket of a dead relay; nil: there is no room for it.
    ///
    /// - Parameter isAhead: it received its frames in the flush during which the relay died.
    func adopt(_ descriptor: Int32, _ row: Connection, isAhead: Bool) -> UInt32? {
        guard let slot = prepare(descriptor) else {
            Glibc.close(descriptor)
            return nil
        }
        adopt(row, in: slot, keeping: [.json, .deflated, .welcomed, .pinged, .readPaused])
        // A `welcome` that may not have been written is sent again.
        if row.flags.contains(.fresh) { connections.remove(.welcomed, slot) }
        if isAhead { connections.insert(.ahead, slot) }
        register(slot)
        return slot
    }
}

extension Connection {
    /// A copy for another process and slot, without the fields that apply to one process only.
    fileprivate func moved(to place: Connection, keeping kept: Flags) -> Connection {
        var moved = self
        (moved.descriptor, moved.generation) = (place.descriptor, place.generation)
        (moved.user, moved.nextOfUser, moved.firstWrite, moved.lastWrite) = (noIndex, noIndex, noIndex, noIndex)
        (moved.resumes, moved.flushed, moved.heldSince) = (0, 0, 0)
        moved.flags = flags.intersection(kept)
        return moved
    }
}
