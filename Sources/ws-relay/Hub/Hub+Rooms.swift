import ChatCore
import ChatProcess

/// Rooms: the order of their frames, their members, their gaps.
extension Hub {
    /// Frames per fetch.
    static let fetchLimit = 1024

    // MARK: Tracking

    @discardableResult
    func track(_ id: UUID128, last: UInt64) -> TrackedRoom {
        let room = TrackedRoom(id: id, last: last)
        room.row = memory.open(id, last: last)
        rooms[id] = room
        feed.subscribe(BusChannel.room(id))
        return room
    }

    func untrack(_ room: TrackedRoom) {
        guard rooms[room.id] === room else { return }
        rooms[room.id] = nil
        for resume in room.resumes { endResume(of: resume.ticket, in: room) }
        memory.close(room.row)
        troubled.remove(room.id)
        feed.unsubscribe(BusChannel.room(room.id))
    }

    @discardableResult
    func add(_ user: UInt32, to room: TrackedRoom) -> Bool {
        guard room.add(user) else { return false }
        users[user].rooms.append(room)
        // The user's sockets hold nothing of this room.
        users.forEachConnection(of: user, connections) { connections[$0].heldSince = 0 }
        return true
    }

    func remove(_ user: UInt32, from room: TrackedRoom) {
        room.remove(user)
        users[user].rooms.removeAll { $0 === room }
        if let place = room.waiters.firstIndex(of: user) {
            room.waiters.remove(at: place)
            users[user].waiting -= 1
        }
    }

    /// The channel is confirmed: the room fetches what it missed before, then it is live.
    func confirmed(_ room: TrackedRoom) {
        room.stage = .catchingUp
        fetch(room)
    }

    // MARK: Frames

    func received(_ chunk: FrameChunk) {
        guard let room = rooms[chunk.room] else { return }
        guard !room.mustRewind else { return park(chunk, in: room) }
        let before = (last: room.sequencer.last, deliveries: counters.deliveries)
        defer { noteDelivery(of: room, since: before) }
        for frame in chunk.frames {
            guard frame.seq > 0 else {
                deliver(frame, in: room)
                continue
            }
            switch room.sequencer.receive(frame) {
            case .deliver: deliver(frame, in: room)
            case .duplicate, .held: break
            }
        }
        drain(room)
    }

    private func noteDelivery(of room: TrackedRoom, since before: (last: UInt64, deliveries: Int)) {
        let frames = room.sequencer.last - before.last
        let sockets = frames > 0 ? (counters.deliveries - before.deliveries) / Int(frames) : 0
        guard sockets > 0 else { return }
        ephemerals.noteDelivery(
            of: room.id, first: before.last + 1, last: room.sequencer.last, sockets: sockets)
    }

    private func drain(_ room: TrackedRoom) {
        while let frame = room.sequencer.nextHeld() { deliver(frame, in: room) }
        if room.sequencer.due != nil { fetch(room) }
        if room.isOver { untrack(room) }
    }

    /// Sends to every socket of every member, once each, including members who join or leave with this frame.
    private func deliver(_ frame: RoomFrame, in room: TrackedRoom) {
        for id in frame.joined {
            room.changes.note(id, joined: true, seq: frame.seq)
            if let user = users.index(id) {
                add(user, to: room)
                endLimitedResumes(to: user, in: room, before: frame.seq)
            }
        }
        fanOut(frame, in: room)
        if frame.kind == .roomUpdated { noteRole(in: frame) }
        for id in frame.left {
            room.changes.note(id, joined: false, seq: frame.seq)
            if let user = users.index(id) {
                limitResumes(to: user, in: room, through: frame.seq)
                remove(user, from: room)
            }
        }
    }

    /// A role or a mute decides who may type: the member's rooms are read again.
    private func noteRole(in frame: RoomFrame) {
        guard let value = try? MessagePackReader.decode(frame.body.frame(.roomUpdated)), let data = value["Data"],
            let change = data["Change"]?.string, ["role", "owner", "muted", "unmuted", "joined"].contains(change),
            let id = (data["Member"]?["UserID"]?.string).flatMap({ UUID128($0) }), users.index(id) != nil
        else { return }
        reloads.insert(id)
    }

    private func fanOut(_ frame: RoomFrame, in room: TrackedRoom) {
        // Flush only between two frames: after a crash it must be clear which sockets have a frame.
        if writes.isFull { flush() }
        if frame.seq > 0 { memory.advance(room.row, to: frame.seq) }
        let asker = asker(of: frame)
        let exceptions = Exceptions(frame, room)
        if asker != noIndex, !isElsewhere(asker, connections[asker].flags, exceptions, room) {
            if let since = unanswered.remove(frame.sign, of: connections[asker].serial) {
                timings?.delivery.observe(monotonicNow() - since)
            }
        }
        // The sockets of a user who types, comes or goes do not get that frame.
        let skipped = frame.seq == 0 ? frame.asker.flatMap { users.index($0) } ?? noIndex : noIndex
        var encoded = EncodedFrame(frame, room.id)
        // Counted here and added once: every use of a property of a class costs an exclusivity check, on each delivery.
        var delivered = 0
        defer { counters.deliveries += delivered }
        for user in room.members where user != skipped {
            if frame.kind == .presence, let asker = frame.asker, areBlocked(asker, user) { continue }
            var slot = users.firstConnection(user)
            while slot != noIndex {
                let flags = connections[slot].flags
                let next = connections[slot].nextOfUser
                if flags.contains(.welcomed), frame.seq == 0 || !isElsewhere(slot, flags, exceptions, room) {
                    if flags.contains(.json), connections[slot].getsEvents {
                        tell(encoded.asEvent(), frame.kind, to: slot)
                    } else {
                        writes.push(encoded.index(asResponse: slot == asker, flags, self), to: slot, connections)
                        delivered += 1
                    }
                }
                slot = next
            }
        }
    }

    private func areBlocked(_ one: UUID128, _ user: UInt32) -> Bool {
        guard !users[user].blocked.isEmpty, let pair = privateRoomID(one, users[user].id) else { return false }
        return users[user].blocked.contains(pair)
    }

    /// The exceptions that a frame's room has at this moment, read once for all sockets.
    private struct Exceptions {
        /// A socket with the flag `ahead` has the frame already.
        let ahead: Bool
        /// A socket may be resuming the room.
        let resuming: Bool

        init(_ frame: RoomFrame, _ room: TrackedRoom) {
            ahead = frame.seq <= room.aheadUntil
            resuming = !room.resumes.isEmpty
        }
    }

    /// The socket already has the frame, or gets it by its own resume.
    @inline(__always)
    private func isElsewhere(_ slot: UInt32, _ flags: Connection.Flags, _ exceptions: Exceptions, _ room: TrackedRoom)
        -> Bool
    {
        exceptions.ahead && flags.contains(.ahead) || exceptions.resuming && isResuming(slot, in: room)
            || flags.contains(.slow) && isHeld(slot, in: room)
    }

    private func isResuming(_ slot: UInt32, in room: TrackedRoom) -> Bool {
        let ticket = connections.ticket(slot)
        return room.resumes.contains { $0.ticket == ticket }
    }

    /// The socket that asked and gets the frame as its `response`. Frames from the store do not name it: then it is the
    /// one socket of the asker that waits for an answer with this Sign.
    func asker(of frame: RoomFrame) -> UInt32 {
        if let origin = frame.origin { return origin.relay == relayID ? slots[origin.socket] ?? noIndex : noIndex }
        guard let id = frame.asker, let sign = frame.sign, let user = users.index(id) else { return noIndex }
        var found = noIndex
        users.forEachConnection(of: user, connections) { slot in
            if unanswered.contains(sign, of: connections[slot].serial) { found = slot }
        }
        return found
    }

    // MARK: What is missing

    func fetch(_ room: TrackedRoom) {
        guard room.retryAt.hasPassed(at: now), !room.sequencer.isFetching else {
            troubled.insert(room.id)
            return
        }
        let last = room.sequencer.beginFetch() - 1
        room.fetch = nextEpoch()
        counters.fetches += 1
        let known = max(room.expected, room.sequencer.held.first.map { $0.seq - 1 } ?? 0)
        let lookup = Lookup.frames(
            room: room.id, after: last, atLeast: known, limit: Self.fetchLimit, .room(room.fetch))
        if !lookups.ask(lookup) { failed(lookup) }
    }

    func found(_ run: FrameRun, room id: UUID128, fetch number: UInt64) {
        guard let room = rooms[id], room.fetch == number else { return }
        let before = room.sequencer.last
        if room.mustRewind { rewind(room, by: run.frames) }
        for frame in room.sequencer.fetched(run.frames, through: run.through) {
            deliver(frame, in: room)
        }
        if run.newest > run.through {
            if room.sequencer.last == before { return fetchFailed(room) }
            fetch(room)
        } else {
            (room.failures, room.retryAt) = (0, now)
            if room.expected > room.sequencer.last { fetchFailed(room) }
            if room.stage == .catchingUp {
                room.stage = .live
                release(room)
            }
        }
        drain(room)
        unpark(room)
    }

    /// The timer repeats the fetch with growing pauses, up to ten seconds.
    func fetchFailed(_ room: TrackedRoom) {
        room.sequencer.fetchFailed()
        room.failures += 1
        room.retryAt = now &+ min(room.failures, 10)
        troubled.insert(room.id)
    }

    /// PostgreSQL has frames up to `seq`: when they do not arrive within a second, they are fetched.
    func expect(_ seq: UInt64, in room: TrackedRoom) {
        guard seq > room.sequencer.last, seq > room.expected else { return }
        room.expected = seq
        room.retryAt = now &+ 1
        troubled.insert(room.id)
    }

    /// Called once a second: repeats failed fetches.
    func lookAtTroubledRooms() {
        for id in troubled {
            guard let room = rooms[id] else {
                troubled.remove(id)
                continue
            }
            guard room.retryAt.hasPassed(at: now), !room.sequencer.isFetching else { continue }
            troubled.remove(id)
            if room.stage == .catchingUp || room.sequencer.due != nil || room.expected > room.sequencer.last {
                fetch(room)
            }
        }
    }
}

/// A room frame in all forms that sockets need, each made at its first use.
private struct EncodedFrame {
    private let frame: RoomFrame
    private let room: UUID128
    /// By form: JSON or not, compressed or not.
    private var indexes = InlineArray<4, UInt32>(repeating: noIndex)
    private var event: SharedFrame?

    init(_ frame: RoomFrame, _ room: UUID128) {
        self.frame = frame
        self.room = room
    }

    @inline(__always)
    mutating func index(asResponse: Bool, _ flags: Connection.Flags, _ hub: Hub) -> UInt32 {
        if asResponse { return hub.writes.add(make(.response, sign: frame.sign, flags, hub)) }
        let form = (flags.contains(.json) ? 1 : 0) + (flags.contains(.deflated) ? 2 : 0)
        if indexes[form] == noIndex { indexes[form] = hub.writes.add(make(frame.kind, sign: nil, flags, hub)) }
        return indexes[form]
    }

    mutating func asEvent() -> SharedFrame {
        if let event { return event }
        let made = SharedFrame.event(frame.body, frame.kind, place: place)
        event = made
        return made
    }

    private var place: SharedFrame.Place? { frame.seq == 0 ? nil : .init(room: room, seq: frame.seq) }

    private func make(_ kind: FrameKind, sign: String?, _ flags: Connection.Flags, _ hub: Hub) -> SharedFrame {
        hub.frames(for: flags).make(frame.body, kind, sign: sign, place: place)
    }
}
