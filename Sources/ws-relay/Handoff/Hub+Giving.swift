import ChatCore
import Glibc

/// Exports the state for a successor: sockets with their users, rooms and unfinished work. Large and stable parts
/// (channels, descriptors) are sent ahead while this relay still serves; `export` contains the rest, as of one moment.
/// Times are those of the machine's monotonic clock.
extension Hub {
    /// The channels to which a successor should subscribe before the hand-over.
    func prologue() -> [UInt8] {
        var state = StateWriter()
        state.put(relayID)
        state.put(array: Array(users.indexes.keys))
        state.put(array: Array(rooms.keys))
        return state.bytes
    }

    /// Sockets in slots from `first` on, by ticket. They still belong to this relay.
    func sockets(from first: UInt32, most: Int) -> (tickets: [UInt64], descriptors: [Int32]) {
        var slots: [UInt32] = []
        for slot in first..<max(first, UInt32(connections.used)) where slots.count < most && isHandedOver(slot) {
            slots.append(slot)
        }
        return (slots.map(connections.ticket), slots.map { connections[$0].descriptor })
    }

    /// Sockets that are being closed stay here.
    private func isHandedOver(_ slot: UInt32) -> Bool {
        connections[slot].descriptor >= 0 && !connections[slot].flags.contains(.closing)
    }

    /// The state as of now, and the descriptors of sockets that connected after the successor got the others (`shown`,
    /// by ticket), in the order of the state.
    func export(
        shown: Set<UInt64> = [], as format: StateFormat = .described
    ) -> (bytes: [UInt8], descriptors: [Int32]) {
        endAllHolds()
        // Leaves no frame that waits for the end of the tick, and no closed socket that is not freed.
        endTick()
        let open = (0..<UInt32(connections.used)).filter(isHandedOver)
        let tickets = open.map(connections.ticket)
        var parts = StatePartsWriter(format)
        parts.add("serial") { $0.put(serial) }
        parts.add("users") { writeUsers(to: &$0) }
        parts.add("rooms") { writeRooms(to: &$0) }
        parts.add("tickets") { $0.put(array: tickets) }
        let rows = open.map { connections[$0] }
        parts.add("sockets") { if format == .described { $0.put(records: rows) } else { $0.put(array: rows) } }
        if format == .described { parts.add("flags") { Connection.Flags.write(rows, to: &$0) } }
        parts.add("slow") { writeSlow(of: open, to: &$0) }
        parts.add("unanswered") { writeUnanswered(of: open, to: &$0) }
        parts.add("resumes") { writeResumes(tickets, to: &$0) }
        parts.add("departures") { writeDepartures(to: &$0) }
        // The last three are missing in raw states of older releases.
        parts.add("requests") { writeResumeRequests(tickets, to: &$0) }
        parts.add("epochs") { $0.put(array: rooms.values.map { RoomEpoch(room: $0.id, epoch: $0.epoch) }) }
        parts.add("events") { writeStreams(of: open, to: &$0) }
        let new = zip(open, tickets).filter { !shown.contains($1) }
        return (parts.bytes, new.map { connections[$0.0].descriptor })
    }

    private func writeUsers(to state: inout StateWriter) {
        state.put((users.indexes.values.max() ?? 0) + 1)
        state.put(UInt32(users.count))
        users.forEach { user in
            state.put(user)
            state.put(users[user].id)
            state.put(users[user].stage == .ready)
            state.put(users[user].hidesPresence)
            state.put(array: Array(users[user].blocked))
        }
    }

    private func writeRooms(to state: inout StateWriter) {
        state.put(UInt32(rooms.count))
        for room in rooms.values {
            state.put(room.id)
            state.put(room.sequencer.last)
            state.put(room.stage == .live)
            // Held frames are fetched again instead of being sent.
            state.put(max(room.expected, room.sequencer.held.last?.seq ?? 0))
            state.put(room.aheadUntil)
            state.put(room.mustRewind)
            state.put(array: room.members)
        }
    }

    private func writeSlow(of open: [UInt32], to state: inout StateWriter) {
        let some = open.indices.filter { connections[open[$0]].flags.contains(.slow) }
        state.put(UInt32(some.count))
        for place in some {
            state.put(UInt32(place))
            slow[open[place]]?.write(to: &state)
        }
    }

    /// The Signs of unanswered commands.
    private func writeUnanswered(of open: [UInt32], to state: inout StateWriter) {
        let some = open.map { connections[$0].serial }.filter(unanswered.isWaiting)
        state.put(UInt32(some.count))
        for serial in some {
            let signs = unanswered.all(of: serial)
            state.put(serial)
            state.put(UInt32(signs.count))
            for sign in signs { state.put(sign) }
        }
    }

    private func writeResumes(_ tickets: [UInt64], to state: inout StateWriter) {
        let handedOver = Set(tickets)
        let all = rooms.values.flatMap { room in
            room.resumes.filter { handedOver.contains($0.ticket) }.map { (room.id, $0) }
        }
        state.put(UInt32(all.count))
        for (room, resume) in all {
            state.put(room)
            state.put(resume.ticket)
            state.put(resume.last)
            state.put(resume.through ?? 0)
        }
    }

    private func writeResumeRequests(_ tickets: [UInt64], to state: inout StateWriter) {
        let handedOver = Set(tickets)
        let some = resumeRequests.filter { handedOver.contains($0.value.ticket) }
        var open: [UInt64: [UUID128]] = [:]
        for room in rooms.values {
            for resume in room.resumes { for number in resume.requests { open[number, default: []].append(room.id) } }
        }
        state.put(UInt32(some.count))
        for (number, request) in some {
            state.put(request.ticket)
            state.put(request.sign != nil)
            state.put(request.sign ?? "")
            state.put(array: open[number] ?? [])
            state.put(UInt32(request.entries.count))
            for entry in request.entries {
                state.put(entry.room)
                state.put(entry.seq)
                state.put(entry.needsREST)
                state.put(entry.error?.text ?? "")
            }
        }
    }

    private func writeStreams(of open: [UInt32], to state: inout StateWriter) {
        let some = open.indices.filter { streams[open[$0]] != nil }
        state.put(UInt32(some.count))
        for place in some {
            state.put(UInt32(place))
            streams[open[place]]?.write(to: &state)
        }
    }

    private func writeDepartures(to state: inout StateWriter) {
        state.put(UInt32(departures.count))
        for (user, departure) in departures {
            state.put(user)
            state.put(departure.at)
            state.put(array: departure.rooms)
        }
    }

    // MARK: Letting go

    /// The successor has everything. `goOnLettingGo` closes our copies, which clients do not notice.
    func letGo() {
        reap()
        for slot in 0..<UInt32(connections.used) where isHandedOver(slot) {
            users.detach(slot, connections)
            connections.bury(slot)
        }
        connections.reap { slot, descriptor in
            slow[slot] = nil
            streams[slot] = nil
            lettingGo.append(descriptor)
        }
        rooms = [:]
        slots = [:]
        troubled = []
        departures = [:]
        isEnding = true
    }

    /// Closes a few in each tick: the successor needs the CPU more.
    func goOnLettingGo() {
        for descriptor in lettingGo.suffix(256) {
            // The successor's copy keeps the file open, and epoll would keep watching it.
            epoll.remove(descriptor)
            Glibc.close(descriptor)
        }
        lettingGo.removeLast(min(256, lettingGo.count))
    }
}

extension SlowState {
    func write(to state: inout StateWriter) {
        state.put(head != nil)
        if let head { state.put(array: head.bytes) }
        state.put(array: early)
        state.put(parser != nil)
        parser?.write(to: &state)
        outbox.write(to: &state)
    }
}

struct RoomEpoch: BitwiseCopyable {
    var room: UUID128
    var epoch: Int64
}
