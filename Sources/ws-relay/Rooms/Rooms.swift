import ChatCore
import ChatProcess

/// Rooms: the order of their frames, their members, their gaps.
final class Rooms {
    /// Frames per fetch.
    private static let fetchLimit = 1024

    private let table: RoomTable
    private let sockets: Sockets
    private let users: Users
    private let resumes: Resumes
    private let holds: Holds
    private let unanswered: UnansweredCommands
    private let lookups: any LookupOutlet
    private let ephemerals: any EphemeralOutlet
    private let timings: RelayTimings?
    private let clock: TickClock
    /// Rooms that the timer must check: a fetch to repeat, or a Seq that is overdue.
    private var troubled: Set<UUID128> = []
    private(set) var fetches = 0

    init(
        _ table: RoomTable, _ sockets: Sockets, _ users: Users, _ resumes: Resumes, _ holds: Holds,
        _ unanswered: UnansweredCommands, _ lookups: any LookupOutlet, _ ephemerals: any EphemeralOutlet,
        _ timings: RelayTimings?
    ) {
        (self.table, self.sockets, self.users, self.resumes, self.holds) = (table, sockets, users, resumes, holds)
        (self.unanswered, self.lookups, self.ephemerals, self.timings) = (unanswered, lookups, ephemerals, timings)
        clock = sockets.clock
    }

    // MARK: Members

    /// Puts the user into a room, according to a list read at `membership.lastSeq`. False when that list is too old to
    /// decide.
    ///
    /// - Parameter isReload: the user is ready, and the list is read again.
    func enter(_ membership: Membership, _ user: UInt32, isReload: Bool) -> Bool {
        guard let room = table[membership.room] else {
            let room = table.open(membership.room, last: membership.lastSeq)
            room.epoch = membership.epoch
            add(user, to: room)
            wait(for: room, user)
            if isReload { resumes.tellResync(room, to: user) }
            return true
        }
        if membership.epoch > room.epoch {
            room.epoch = membership.epoch
            for member in room.members where users[member].stage == .ready { resumes.tellResync(room, to: member) }
        }
        if membership.lastSeq < room.sequencer.last {
            switch room.changes.change(of: users[user].id, since: membership.lastSeq) {
            case .left: return true
            case .unknown: return false
            case .joined, .unchanged: break
            }
        } else {
            expect(membership.lastSeq, in: room)
        }
        if add(user, to: room), isReload { resumes.tellResync(room, to: user) }
        wait(for: room, user)
        return true
    }

    private func wait(for room: TrackedRoom, _ user: UInt32) {
        guard room.stage != .live, users[user].stage != .ready, room.addWaiter(user) else { return }
        users.waits(user)
    }

    @discardableResult
    func add(_ user: UInt32, to room: TrackedRoom) -> Bool {
        guard room.add(user) else { return false }
        users.enter(room, user)
        // The user's sockets hold nothing of this room.
        users.forEachConnection(of: user) { sockets.unmarkHold($0) }
        return true
    }

    func remove(_ user: UInt32, from room: TrackedRoom) {
        room.remove(user)
        users.leave(room, user)
        if room.removeWaiter(user) { users.waitsNoMore(user) }
    }

    /// The user's last socket has left.
    func drop(_ user: UInt32) {
        for room in users[user].rooms {
            room.remove(user)
            _ = room.removeWaiter(user)
            // Sockets of other users, who have left the room, may still wait for earlier frames.
            room.resumes.removeAll { sockets.connections.slot($0.handle) == nil }
            table.closeIfOver(room)
        }
    }

    /// A tracked room learns of a later member from its own frames. Its first members join with its creation, for which
    /// no frame exists.
    ///
    /// - Parameter created: the frame of the room's creation.
    func joined(_ id: UUID128, _ seq: UInt64, _ created: FrameBody?, _ user: UInt32) {
        let room = table[id] ?? table.open(id, last: seq)
        // Its epoch is read with the memberships.
        if created == nil, room.members.isEmpty { users.reload(users[user].id) }
        let isNew = room.sequencer.last == seq && room.stage == .subscribing
        guard isNew || created != nil, room.changes.change(of: users[user].id, since: seq) != .left,
            add(user, to: room)
        else { return }
        guard let created else { return }
        users.forEachConnection(of: user) { slot in
            guard sockets[slot].flags.contains(.welcomed) else { return }
            sockets.place(slot, in: id, at: seq, epoch: room.epoch)
            sockets.reply(created, .roomUpdated, to: slot)
            // Of two nodes of a cluster the room's may be ahead of the user's: this socket has missed the first frames.
            let isBehind = room.sequencer.last > seq && room.resume(of: sockets.connections.handle(slot)) == nil
            if isBehind { resumes.begin(slot, room, after: seq) }
        }
    }

    // MARK: Frames

    func received(_ chunk: FrameChunk) {
        guard let room = table[chunk.room] else { return }
        guard !room.mustRewind else { return room.park(chunk) }
        let before = (last: room.sequencer.last, deliveries: sockets.counters.deliveries)
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
        let count = frames > 0 ? (sockets.counters.deliveries - before.deliveries) / Int(frames) : 0
        guard count > 0 else { return }
        ephemerals.noteDelivery(of: room.id, first: before.last + 1, last: room.sequencer.last, sockets: count)
    }

    private func drain(_ room: TrackedRoom) {
        while let frame = room.sequencer.nextHeld() { deliver(frame, in: room) }
        if room.sequencer.due != nil { fetch(room) }
        table.closeIfOver(room)
    }

    /// Sends to every socket of every member, once each, including members who join or leave with this frame.
    private func deliver(_ frame: RoomFrame, in room: TrackedRoom) {
        for id in frame.joined {
            room.changes.note(id, joined: true, seq: frame.seq)
            if let user = users.index(id) {
                add(user, to: room)
                resumes.endLimited(to: user, in: room, before: frame.seq)
            }
        }
        // Flush only between two frames: after a crash it must be clear which sockets have a frame.
        if sockets.writes.isFull { sockets.flush() }
        if frame.seq > 0 { table.advance(room, to: frame.seq) }
        fanOut(frame, in: room, asker: answer(frame, in: room))
        if frame.kind == .roomUpdated { noteRole(in: frame) }
        for id in frame.left {
            room.changes.note(id, joined: false, seq: frame.seq)
            if let user = users.index(id) {
                resumes.limit(to: user, in: room, through: frame.seq)
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
        users.reload(id)
    }

    /// Settles the command of the socket that gets the frame as its `response`.
    private func answer(_ frame: RoomFrame, in room: TrackedRoom) -> UInt32 {
        let asker = unanswered.asker(of: frame)
        guard asker != noIndex, !isElsewhere(asker, sockets[asker].flags, Exceptions(frame, room), room) else {
            return asker
        }
        if let since = unanswered.remove(frame.sign, of: sockets[asker].serial) {
            timings?.delivery.observe(monotonicNow() - since)
        }
        return asker
    }

    private func fanOut(_ frame: RoomFrame, in room: TrackedRoom, asker: UInt32) {
        // Read once for all sockets: a property of a class costs more than a local value.
        let (sockets, users) = (self.sockets, self.users)
        let (connections, writes) = (sockets.connections, sockets.writes)
        let exceptions = Exceptions(frame, room)
        // A frame about typing or presence is not sent to the user's own sockets.
        let skipped = frame.seq == 0 ? frame.asker.flatMap { users.index($0) } ?? noIndex : noIndex
        var encoded = EncodedFrame(frame, room, sockets)
        var delivered = 0
        defer { sockets.count(deliveries: delivered) }
        for user in room.members where user != skipped {
            if frame.kind == .presence, let asker = frame.asker, users.areBlocked(asker, user) { continue }
            var slot = users.firstConnection(user)
            while slot != noIndex {
                let flags = connections[slot].flags
                let next = connections[slot].nextOfUser
                if flags.contains(.welcomed), frame.seq == 0 || !isElsewhere(slot, flags, exceptions, room) {
                    if flags.contains(.json), connections[slot].getsEvents {
                        sockets.tell(encoded.asEvent(), frame.kind, epoch: room.epoch, to: slot)
                    } else {
                        writes.push(encoded.index(asResponse: slot == asker, flags), to: slot, connections)
                        delivered += 1
                    }
                }
                slot = next
            }
        }
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

    /// Whether the socket already has the frame, or gets it by its own resume.
    @inline(__always)
    private func isElsewhere(_ slot: UInt32, _ flags: Connection.Flags, _ exceptions: Exceptions, _ room: TrackedRoom)
        -> Bool
    {
        exceptions.ahead && flags.contains(.ahead)
            || exceptions.resuming && room.resume(of: sockets.connections.handle(slot)) != nil
            || flags.contains(.slow) && holds.contains(slot, room)
    }

    // MARK: What is missing

    /// The channel is confirmed: the room fetches what it missed before, then it is live.
    func confirmed(_ id: UUID128) {
        guard let room = table[id], room.stage == .subscribing else { return }
        room.stage = .catchingUp
        fetch(room)
    }

    /// Frames may have been missed while Redis was away: every room catches up again.
    func restored() { for room in table.all { restored(room) } }

    func restored(_ room: TrackedRoom) {
        if room.stage == .subscribing { room.stage = .catchingUp }
        // A fetch in progress may have been answered before the loss.
        room.sequencer.fetchFailed()
        room.retryAt = clock.second
        fetch(room)
    }

    func fetch(_ room: TrackedRoom) {
        guard room.retryAt.hasPassed(at: clock.second), !room.sequencer.isFetching else {
            troubled.insert(room.id)
            return
        }
        let last = room.sequencer.beginFetch() - 1
        fetches += 1
        room.fetch = UInt64(fetches)
        let known = max(room.expected, room.sequencer.held.first.map { $0.seq - 1 } ?? 0)
        let lookup = Lookup.frames(
            room: room.id, after: last, atLeast: known, limit: Self.fetchLimit, .room(room.fetch))
        if !lookups.ask(lookup) { fetchFailed(room) }
    }

    /// Takes a fetch's answer.
    ///
    /// - Returns: the room, and the users who waited for it when it has become live now. Welcome them, then call
    ///   `goOn`. Nil: the answer is stale, or the fetch failed.
    func found(_ run: FrameRun, room id: UUID128, fetch number: UInt64) -> (room: TrackedRoom, waiters: [UInt32])? {
        guard let room = table[id], room.fetch == number else { return nil }
        let before = room.sequencer.last
        if room.mustRewind { rewind(room, by: run.frames) }
        for frame in room.sequencer.fetched(run.frames, through: run.through) { deliver(frame, in: room) }
        if run.newest > run.through {
            guard room.sequencer.last > before else {
                fetchFailed(room)
                return nil
            }
            fetch(room)
            return (room, [])
        }
        (room.failures, room.retryAt) = (0, clock.second)
        if room.expected > room.sequencer.last { fetchFailed(room) }
        return (room, room.stage == .catchingUp ? room.becomeLive() : [])
    }

    /// After `found`: delivers the frames that had to wait for the missing ones.
    func goOn(_ room: TrackedRoom) {
        drain(room)
        for chunk in room.unpark() { received(chunk) }
    }

    func failed(room id: UUID128, fetch number: UInt64) {
        if let room = table[id], room.fetch == number { fetchFailed(room) }
    }

    /// The timer repeats the fetch with growing pauses, up to ten seconds.
    private func fetchFailed(_ room: TrackedRoom) {
        room.sequencer.fetchFailed()
        room.failures += 1
        room.retryAt = clock.second &+ min(room.failures, 10)
        troubled.insert(room.id)
    }

    /// PostgreSQL has frames up to `seq`: when they do not arrive within a second, they are fetched.
    private func expect(_ seq: UInt64, in room: TrackedRoom) {
        guard seq > room.sequencer.last, seq > room.expected else { return }
        room.expected = seq
        room.retryAt = clock.second &+ 1
        troubled.insert(room.id)
    }

    /// Once a second: repeats failed fetches.
    func everySecond() {
        for id in troubled {
            guard let room = table[id] else {
                troubled.remove(id)
                continue
            }
            guard room.retryAt.hasPassed(at: clock.second), !room.sequencer.isFetching else { continue }
            troubled.remove(id)
            if room.stage == .catchingUp || room.sequencer.due != nil || room.expected > room.sequencer.last {
                fetch(room)
            }
        }
    }

    // MARK: After a crash

    /// A member of a dead relay's room. The room continues from the frames that every socket has; the feed's first
    /// connection then catches it up.
    ///
    /// - Parameters:
    ///   - left: nil: the dead relay had no row for it, so it is unknown what the sockets have.
    ///   - areAhead: it died during a flush: some sockets have more.
    func enter(_ membership: Membership, _ user: UInt32, left: RelayMemory.Room?, areAhead: Bool) {
        if let room = table[membership.room] {
            add(user, to: room)
            return
        }
        let room = table.open(membership.room, last: left?.committed ?? membership.lastSeq)
        room.epoch = membership.epoch
        if let left {
            room.expected = max(left.pending, membership.lastSeq)
            room.aheadUntil = areAhead ? left.pending : 0
            room.mustRewind = true
        }
        add(user, to: room)
        if left == nil { resumes.tellResync(room, to: user) }
    }

    /// The members of a dead relay's room are known as of now, its frames as of the crash. The frames in between
    /// contain the joins and leaves, so going back through them finds the members at the crash.
    private func rewind(_ room: TrackedRoom, by frames: [RoomFrame]) {
        room.mustRewind = false
        for frame in frames.reversed() {
            for id in frame.joined { if let user = users.index(id) { remove(user, from: room) } }
            for id in frame.left {
                guard let user = users.index(id) else { continue }
                add(user, to: room)
                users.forEachConnection(of: user) { holds.extend($0, to: room.id) }
            }
        }
        // Users who joined since get nothing from before.
        for id in frames.flatMap(\.joined) {
            guard let user = users.index(id), !room.members.contains(user) else { continue }
            users.forEachConnection(of: user) { _ = holds.take(room.id, of: $0) }
        }
    }
}
