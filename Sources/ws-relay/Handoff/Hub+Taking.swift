import ChatCore
import Glibc

/// Imports the state that `Hub+Giving` exports.
extension Hub {
    /// Prepares a slot and epoll for a socket that is not ours yet, so that the hand-over itself is short. Until then
    /// it counts as greeting: if this process crashes, a salvage leaves it alone.
    func prepare(_ descriptor: Int32) -> UInt32? {
        guard let slot = connections.open(descriptor) else { return nil }
        connections[slot].flags = .greeting
        guard epoll.add(descriptor, .read, ticket: connections.ticket(slot)) else {
            // The caller closes a descriptor without a slot.
            connections.bury(slot)
            connections.reap { _, _ in }
            return nil
        }
        return slot
    }

    /// Takes over what `export` wrote. After a failure this hub is unusable; the predecessor still has its sockets.
    ///
    /// - Parameters:
    ///   - prepared: slots here for sockets that were sent ahead, by the predecessor's tickets.
    ///   - heard: users and rooms whose channels are subscribed.
    func adopt(
        _ bytes: [UInt8], descriptors: [Int32], prepared: [UInt64: UInt32] = [:], heard: Set<UUID128>
    ) throws(StateUnreadable) {
        var parts = try StatePartsReader(bytes)
        let isDescribed = parts.format == .described
        serial = try parts.read("serial") { state throws(StateUnreadable) in try state.take() }
        let (userAt, ready) = try parts.read("users") { state throws(StateUnreadable) in try adoptUsers(from: &state) }
        let behind = try parts.read("rooms") { state throws(StateUnreadable) in
            try adoptRooms(from: &state, userAt, heard)
        }
        let tickets = try parts.read("tickets") { state throws(StateUnreadable) in try state.takeArray(UInt64.self) }
        var rows = try parts.read("sockets") { state throws(StateUnreadable) in
            try isDescribed ? state.takeRecords(Connection.self) : state.takeArray(Connection.self)
        }
        if isDescribed {
            try parts.read("flags") { state throws(StateUnreadable) in
                try Connection.Flags.read(into: &rows, from: &state)
            }
        }
        let slotOf = try adoptSockets(tickets, rows, descriptors, prepared, userAt)
        try parts.read("slow", missing: ()) { state throws(StateUnreadable) in
            try adoptSlow(from: &state, tickets, slotOf)
        }
        try parts.read("unanswered", missing: ()) { state throws(StateUnreadable) in try adoptUnanswered(from: &state) }
        try parts.read("resumes", missing: ()) { state throws(StateUnreadable) in
            try adoptResumes(from: &state, slotOf)
        }
        try parts.read("departures", missing: ()) { state throws(StateUnreadable) in try adoptDepartures(from: &state) }
        let requests = try parts.read("requests", missing: []) { state throws(StateUnreadable) in
            try readResumeRequests(from: &state)
        }
        let epochs = try parts.read("epochs", missing: []) { state throws(StateUnreadable) in
            try state.takeArray(RoomEpoch.self)
        }
        for told in epochs { rooms[told.room]?.epoch = told.epoch }
        try parts.read("events", missing: ()) { state throws(StateUnreadable) in
            try adoptStreams(from: &state, tickets, slotOf)
        }
        // Not before their sockets are whole.
        for request in requests { adopt(request, slotOf) }
        goOn(ready, heard)
        for room in behind { fetch(room) }
    }

    private func adoptUsers(
        from state: inout StateReader
    ) throws(StateUnreadable) -> (at: UserPlaces, ready: Set<UInt32>) {
        var ready: Set<UInt32> = []
        var at = UserPlaces(try state.take(UInt32.self))
        for _ in 0..<(try state.take(UInt32.self)) {
            let old: UInt32 = try state.take()
            let user = users.open(try state.take(), deadline: now &+ Self.joiningLimit)
            if try state.take(Bool.self) { ready.insert(user) }
            users[user].hidesPresence = try state.take()
            users[user].blocked = Set(try state.takeArray(UUID128.self))
            at[old] = user
        }
        return (at, ready)
    }

    private func adoptRooms(
        from state: inout StateReader, _ userAt: UserPlaces, _ heard: Set<UUID128>
    ) throws(StateUnreadable) -> [TrackedRoom] {
        var behind: [TrackedRoom] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let room = TrackedRoom(id: try state.take(), last: try state.take())
            let wasLive = try state.take(Bool.self)
            room.expected = try state.take()
            room.aheadUntil = try state.take()
            room.mustRewind = try state.take()
            room.members = try state.takeArray(UInt32.self).compactMap { userAt[$0] }
            room.row = memory.open(room.id, last: room.sequencer.last)
            rooms[room.id] = room
            for user in room.members { users[user].rooms.append(room) }
            guard heard.contains(room.id) else {
                feed.subscribe(BusChannel.room(room.id))
                continue
            }
            room.stage = wasLive ? .live : .catchingUp
            if !wasLive || room.expected > room.sequencer.last { behind.append(room) }
        }
        return behind
    }

    /// - Returns: the slots, by the predecessor's tickets.
    private func adoptSockets(
        _ tickets: [UInt64], _ rows: [Connection], _ descriptors: [Int32], _ prepared: [UInt64: UInt32],
        _ userAt: UserPlaces
    ) throws(StateUnreadable) -> [UInt64: UInt32] {
        var new = descriptors[...]
        var gone = prepared
        var slotOf: [UInt64: UInt32] = [:]
        slotOf.reserveCapacity(tickets.count)
        slots.reserveCapacity(tickets.count)
        for (ticket, row) in zip(tickets, rows) {
            guard let slot = gone.removeValue(forKey: ticket) ?? new.popFirst().flatMap(prepare) else {
                throw StateUnreadable(wanted: tickets.count, left: slotOf.count)
            }
            adopt(row, in: slot, user: userAt[row.user])
            slotOf[ticket] = slot
        }
        for slot in gone.values { destroy(slot) }
        return slotOf
    }

    private func adoptSlow(
        from state: inout StateReader, _ tickets: [UInt64], _ slotOf: [UInt64: UInt32]
    ) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let place = Int(try state.take(UInt32.self))
            guard place < tickets.count, let slot = slotOf[tickets[place]] else {
                throw StateUnreadable(wanted: place, left: tickets.count)
            }
            slow[slot] = try SlowState(
                maxMessage: settings.maxFrame, inflates: connections[slot].flags.contains(.deflated), from: &state)
            connections[slot].flags.insert(.slow)
            watchWrite(slot)
        }
    }

    private func adoptResumes(
        from state: inout StateReader, _ slotOf: [UInt64: UInt32]
    ) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let room = try state.take(UUID128.self)
            let slot = slotOf[try state.take(UInt64.self)]
            let (last, through): (UInt64, UInt64) = (try state.take(), try state.take())
            guard let room = rooms[room], let slot else { continue }
            beginResume(of: slot, in: room, after: last)
            let place = room.resumes.indices.last { room.resumes[$0].ticket == connections.ticket(slot) }
            if through > 0, let place { room.resumes[place].through = through }
        }
    }

    private func adoptDepartures(from state: inout StateReader) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let user = try state.take(UUID128.self)
            let at: UInt32 = try state.take()
            departures[user] = (try state.takeArray(), at)
        }
    }

    private func adoptStreams(
        from state: inout StateReader, _ tickets: [UInt64], _ slotOf: [UInt64: UInt32]
    ) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let place = Int(try state.take(UInt32.self))
            let stream = try EventStream(from: &state)
            guard place < tickets.count, let slot = slotOf[tickets[place]], connections[slot].getsEvents else {
                continue
            }
            streams[slot] = stream
        }
    }

    private func adopt(_ row: Connection, in slot: UInt32, user: UInt32?) {
        connections[slot] = row.moved(to: connections[slot], keeping: .handedOver)
        recount(slot)
        if row.flags.contains(.readPaused) { watch(slot) }
        guard let user else { return }
        users.attach(slot, to: user, connections)
        slots[row.serial] = slot
    }

    private func readResumeRequests(from state: inout StateReader) throws(StateUnreadable) -> [HandedRequest] {
        var requests: [HandedRequest] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let ticket = try state.take(UInt64.self)
            let hasSign = try state.take(Bool.self)
            let sign = try state.takeText()
            let open = try state.takeArray(UUID128.self)
            var entries: [ResumeRequest.Entry] = []
            for _ in 0..<(try state.take(UInt32.self)) {
                var entry = ResumeRequest.Entry(
                    room: try state.take(), seq: try state.take(), needsREST: try state.take())
                let error = try state.takeText()
                if !error.isEmpty { entry.error = Refusal(answer: error) }
                entries.append(entry)
            }
            requests.append(HandedRequest(ticket: ticket, sign: hasSign ? sign : nil, open: open, entries: entries))
        }
        return requests
    }

    private func adopt(_ handed: HandedRequest, _ slotOf: [UInt64: UInt32]) {
        guard let slot = slotOf[handed.ticket] else { return }
        let (number, ticket) = (nextEpoch(), connections.ticket(slot))
        var request = ResumeRequest(ticket: ticket, sign: handed.sign, entries: handed.entries)
        for place in request.entries.indices {
            request.entries[place].epoch = rooms[request.entries[place].room]?.epoch ?? 1
        }
        for id in handed.open {
            guard let room = rooms[id], let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) else {
                continue
            }
            room.resumes[place].requests.append(number)
            request.open += 1
        }
        resumeRequests[number] = request
        answerIfDone(number)
    }

    private func adoptUnanswered(from state: inout StateReader) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let serial: UInt64 = try state.take()
            for _ in 0..<(try state.take(UInt32.self)) {
                unanswered.insert(try state.takeText(), of: serial, command: nil)
            }
        }
    }

    /// Starts the unfinished requests again.
    private func goOn(_ ready: Set<UInt32>, _ heard: Set<UUID128>) {
        users.forEach { user in
            let id = users[user].id
            if ready.contains(user) { users[user].stage = .ready }
            if !heard.contains(id) {
                feed.subscribe(BusChannel.user(id))
            } else if users[user].stage != .ready {
                confirmed(user: user)
            }
        }
    }
}

/// A `resume` that is not answered yet, with the predecessor's ticket of its socket.
private struct HandedRequest {
    let ticket: UInt64
    let sign: String?
    let open: [UUID128]
    let entries: [ResumeRequest.Entry]
}

/// The indexes of users here, by the predecessor's indexes.
private struct UserPlaces {
    private var places: [UInt32]

    init(_ count: UInt32) { places = [UInt32](repeating: noIndex, count: Int(count)) }

    subscript(old: UInt32) -> UInt32? {
        get { old < places.count && places[Int(old)] != noIndex ? places[Int(old)] : nil }
        set { if old < places.count { places[Int(old)] = newValue ?? noIndex } }
    }
}

extension Connection {
    /// A copy for another process and slot, without the fields that apply to one process only.
    func moved(to place: Connection, keeping kept: Flags) -> Connection {
        var moved = self
        (moved.descriptor, moved.generation) = (place.descriptor, place.generation)
        (moved.user, moved.nextOfUser, moved.firstWrite, moved.lastWrite) = (noIndex, noIndex, noIndex, noIndex)
        (moved.resumes, moved.flushed, moved.heldSince) = (0, 0, 0)
        moved.flags = flags.intersection(kept)
        return moved
    }
}

extension SlowState {
    convenience init(maxMessage: Int, inflates: Bool, from state: inout StateReader) throws(StateUnreadable) {
        self.init()
        if try state.take(Bool.self) {
            head = HeadReader()
            _ = try state.takeArray(UInt8.self).withUnsafeBytes { head!.feed($0) }
        }
        early = try state.takeArray()
        if try state.take(Bool.self) {
            parser = try FrameParser(maxMessage: maxMessage, inflates: inflates, from: &state)
        }
        outbox = try Outbox(from: &state)
    }
}
