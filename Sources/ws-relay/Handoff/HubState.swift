import ChatCore
import Glibc

/// Everything that a successor needs to go on: sockets with their users, rooms and half-done work. Times are those of
/// the machine's one monotonic clock.
extension Hub {
    // MARK: Giving

    /// The channels that a successor should have before anything is handed over.
    func prologue() -> [UInt8] {
        var state = StateWriter()
        state.put(relayID)
        state.put(UInt32(users.count))
        users.forEach { state.put(id: users[$0].id) }
        state.put(UInt32(rooms.count))
        for id in rooms.keys { state.put(id: id) }
        return state.bytes
    }

    /// The state, and the descriptors in the order of its connections. Sockets that are closing stay here.
    func export() -> (bytes: [UInt8], descriptors: [Int32]) {
        endAllHolds()
        var state = StateWriter()
        state.put(serial)
        writeRooms(to: &state)
        writeUsers(to: &state)
        var open: [UInt32] = []
        connections.forEach { if !connections[$0].flags.contains(.closing) { open.append($0) } }
        state.put(UInt32(open.count))
        for slot in open { write(slot, to: &state) }
        writeResumes(of: open, to: &state)
        return (state.bytes, open.map { connections[$0].descriptor })
    }

    private func writeRooms(to state: inout StateWriter) {
        state.put(UInt32(rooms.count))
        for room in rooms.values {
            state.put(id: room.id)
            state.put(room.sequencer.last)
            state.put(room.stage == .live)
            // Held frames are fetched again rather than carried.
            state.put(max(room.expected, room.sequencer.held.last?.seq ?? 0))
            state.put(room.aheadUntil)
            state.put(room.mustRewind)
        }
    }

    private func writeUsers(to state: inout StateWriter) {
        state.put(UInt32(users.count))
        users.forEach { user in
            state.put(id: users[user].id)
            state.put(users[user].stage == .ready)
            state.put(users[user].hidesPresence)
            state.put(UInt32(users[user].blocked.count))
            for room in users[user].blocked { state.put(id: room) }
            state.put(UInt32(users[user].rooms.count))
            for room in users[user].rooms { state.put(id: room.id) }
        }
    }

    private func write(_ slot: UInt32, to state: inout StateWriter) {
        let connection = connections[slot]
        state.put(connection.serial)
        state.put(
            connection.flags.intersection([.greeting, .json, .deflated, .welcomed, .pinged, .readPaused, .ahead])
                .rawValue)
        state.put(connection.heard)
        state.put(connection.deadline)
        state.put(connection.expires)
        state.put(connection.issued)
        state.put(connection.tokenID)
        state.put(connection.address)
        state.put(connection.bucket)
        state.put(connection.user != noIndex)
        if connection.user != noIndex { state.put(id: users[connection.user].id) }
        let signs = unanswered.all(of: connection.serial)
        state.put(UInt32(signs.count))
        for sign in signs { state.put(sign) }
        let slow = slowIfAny(slot)
        state.put(slow != nil)
        slow?.write(to: &state)
    }

    private func writeResumes(of open: [UInt32], to state: inout StateWriter) {
        let places = Dictionary(
            uniqueKeysWithValues: open.enumerated().map { (connections.ticket($1), UInt32($0)) })
        let all = rooms.values.flatMap { room in
            room.resumes.compactMap { resume in places[resume.ticket].map { (room.id, $0, resume.last) } }
        }
        state.put(UInt32(all.count))
        for (room, place, last) in all {
            state.put(id: room)
            state.put(place)
            state.put(last)
        }
    }

    /// The successor has everything: our copies are closed, which the clients do not notice. What is closing stays.
    func letGo() {
        connections.forEach { slot in
            guard !connections[slot].flags.contains(.closing) else { return }
            // The successor's copy keeps the file alive, and epoll would go on watching it.
            epoll.remove(connections[slot].descriptor)
            Glibc.close(connections[slot].descriptor)
            slow[slot] = nil
            connections.close(slot)
        }
        rooms = [:]
        slots = [:]
        troubled = []
        departures = [:]
        isEnding = true
    }

    // MARK: Taking

    /// Takes over what `export` gave. After a failure this hub is of no use; the predecessor still has its sockets.
    func adopt(_ bytes: [UInt8], descriptors: [Int32]) throws(StateUnreadable) {
        var state = StateReader(bytes)
        serial = try state.take()
        let behind = try adoptRooms(from: &state)
        let ready = try adoptUsers(from: &state)
        guard try state.take(UInt32.self) == UInt32(descriptors.count) else {
            throw StateUnreadable(wanted: 0, left: 0)
        }
        var open: [UInt32] = []
        for descriptor in descriptors { open.append(try adopt(descriptor, from: &state)) }
        for _ in 0..<(try state.take(UInt32.self)) {
            let room = try state.takeID()
            let slot = open[Int(try state.take(UInt32.self))]
            let last: UInt64 = try state.take()
            guard let room = rooms[room] else { continue }
            beginResume(of: slot, in: room, after: last)
        }
        goOn(behind, ready)
    }

    private func adoptRooms(from state: inout StateReader) throws(StateUnreadable) -> [TrackedRoom] {
        var behind: [TrackedRoom] = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let room = TrackedRoom(id: try state.takeID(), last: try state.take())
            let wasLive = try state.take(Bool.self)
            room.expected = try state.take()
            room.aheadUntil = try state.take()
            room.mustRewind = try state.take()
            room.row = memory.open(room.id, last: room.sequencer.last)
            rooms[room.id] = room
            let channel = RedisKey.roomChannel(room.id)
            let isConfirmed = feed.isConfirmed(channel)
            if isConfirmed { room.stage = wasLive ? .live : .closing } else { feed.subscribe(channel) }
            if isConfirmed, !wasLive || room.expected > room.sequencer.last { behind.append(room) }
        }
        return behind
    }

    private func adoptUsers(from state: inout StateReader) throws(StateUnreadable) -> Set<UUID128> {
        var ready: Set<UUID128> = []
        for _ in 0..<(try state.take(UInt32.self)) {
            let user = users.open(try state.takeID(), deadline: now &+ Self.joiningLimit)
            if try state.take(Bool.self) { ready.insert(users[user].id) }
            users[user].hidesPresence = try state.take()
            for _ in 0..<(try state.take(UInt32.self)) { users[user].blocked.insert(try state.takeID()) }
            for _ in 0..<(try state.take(UInt32.self)) {
                if let room = rooms[try state.takeID()] { add(user, to: room) }
            }
        }
        return ready
    }

    private func adopt(_ descriptor: Int32, from state: inout StateReader) throws(StateUnreadable) -> UInt32 {
        guard let slot = connections.open(descriptor) else { throw StateUnreadable(wanted: 1, left: 0) }
        connections[slot].serial = try state.take()
        connections[slot].flags = .init(rawValue: try state.take())
        connections[slot].heard = try state.take()
        connections[slot].deadline = try state.take()
        connections[slot].expires = try state.take()
        connections[slot].issued = try state.take()
        connections[slot].tokenID = try state.take()
        connections[slot].address = try state.take()
        recount(slot)
        connections[slot].bucket = try state.take()
        if try state.take(Bool.self) {
            guard let user = users.index(try state.takeID()) else { throw StateUnreadable(wanted: 16, left: 0) }
            users.attach(slot, to: user, connections)
            slots[connections[slot].serial] = slot
        }
        for _ in 0..<(try state.take(UInt32.self)) {
            unanswered.insert(try state.takeText(), of: connections[slot].serial, command: nil)
        }
        if try state.take(Bool.self) {
            slow[slot] = try SlowState(
                maxMessage: settings.maxFrame, inflates: connections[slot].flags.contains(.deflated), from: &state)
            connections[slot].flags.insert(.slow)
        }
        return slot
    }

    /// Everything is here: sockets are watched, and what was under way is asked for again.
    private func goOn(_ behind: [TrackedRoom], _ ready: Set<UUID128>) {
        users.forEach { user in
            if ready.contains(users[user].id) {
                users[user].stage = .ready
                if !feed.isConfirmed(RedisKey.userChannel(users[user].id)) {
                    feed.subscribe(RedisKey.userChannel(users[user].id))
                }
            } else if feed.isConfirmed(RedisKey.userChannel(users[user].id)) {
                confirmed(user: user)
            } else {
                feed.subscribe(RedisKey.userChannel(users[user].id))
            }
        }
        connections.forEach { slot in
            let interest: Epoll.Interest = connections[slot].flags.contains(.readPaused) ? [] : .read
            epoll.add(connections[slot].descriptor, interest, ticket: connections.ticket(slot))
            watchWrite(slot)
        }
        for room in behind { fetch(room) }
    }
}

extension SlowState {
    func write(to state: inout StateWriter) {
        state.put(head != nil)
        if let head { state.put(bytes: head.bytes) }
        state.put(bytes: early)
        state.put(parser != nil)
        parser?.write(to: &state)
        outbox.write(to: &state)
    }

    convenience init(maxMessage: Int, inflates: Bool, from state: inout StateReader) throws(StateUnreadable) {
        self.init()
        if try state.take(Bool.self) {
            head = HeadReader()
            _ = try state.takeBytes().withUnsafeBytes { head!.feed($0) }
        }
        early = try state.takeBytes()
        if try state.take(Bool.self) {
            parser = try FrameParser(maxMessage: maxMessage, inflates: inflates, from: &state)
        }
        outbox = try Outbox(from: &state)
    }
}

extension StateWriter {
    mutating func put(id: UUID128) {
        put(id.high)
        put(id.low)
    }
}

extension StateReader {
    mutating func takeID() throws(StateUnreadable) -> UUID128 { UUID128(high: try take(), low: try take()) }
}
