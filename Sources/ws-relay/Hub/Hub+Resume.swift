import ChatCore

/// A client that was away gets what it missed, in order, before anything newer of that room.
extension Hub {
    /// Frames of one room that are sent after the fact; beyond it the client is told to fetch over REST.
    static let resumeLimit = 1000

    func resume(_ points: [ResumePoint], sign: String?, _ slot: UInt32) {
        let user = connections[slot].user
        var held = takeHeld(slot)
        defer { deliver(held: held, to: slot) }
        for point in points {
            guard let room = rooms[point.room], room.members.contains(user) else {
                refuse(Refusal(.notAMember, "you are not a member of room \(point.room)"), sign: sign, to: slot)
                continue
            }
            let last = UInt64(max(0, point.seq))
            held.removeAll { $0.room == room.id }
            guard last < room.sequencer.last, !isBeingResumed(slot, room) else { continue }
            guard room.sequencer.last - last <= Self.resumeLimit else {
                sendResync(room, to: slot)
                continue
            }
            beginResume(of: slot, in: room, after: last)
        }
    }

    func beginResume(of slot: UInt32, in room: TrackedRoom, after last: UInt64) {
        room.resumes.append(.init(ticket: connections.ticket(slot), last: last))
        connections[slot].resumes += 1
        connections[slot].flags.insert(.resuming)
        askMissed(room, after: last, ticket: connections.ticket(slot))
    }

    private func endResume(of ticket: UInt64, in room: TrackedRoom) {
        room.resumes.removeAll { resume in
            guard resume.ticket == ticket else { return false }
            if let slot = connections.slot(ticket) { connections[slot].resumes -= 1 }
            return true
        }
        if room.isOver { untrack(room) }
    }

    /// Who leaves has a right to everything up to the frame that says so: also a socket whose frames are held, or that is
    /// still getting what it missed.
    func sayFarewell(to user: UInt32, in room: TrackedRoom, through seq: UInt64) {
        users.forEachConnection(of: user, connections) { slot in
            if let last = takeHeld(room.id, of: slot) { beginResume(of: slot, in: room, after: last) }
            let ticket = connections.ticket(slot)
            for place in room.resumes.indices where room.resumes[place].ticket == ticket {
                room.resumes[place].through = room.resumes[place].through ?? seq
            }
        }
    }

    /// Who is back before that has come hears of the room from here on, and fetches what was before.
    func endFarewells(to user: UInt32, in room: TrackedRoom, before seq: UInt64) {
        guard !room.resumes.isEmpty else { return }
        users.forEachConnection(of: user, connections) { slot in
            let ticket = connections.ticket(slot)
            guard room.resumes.contains(where: { $0.ticket == ticket && $0.through != nil }) else { return }
            reply(resyncBody(room, at: seq - 1), .resync, to: slot)
            endResume(of: ticket, in: room)
        }
    }

    private func isBeingResumed(_ slot: UInt32, _ room: TrackedRoom) -> Bool {
        room.resumes.contains { $0.ticket == connections.ticket(slot) }
    }

    func askMissed(_ room: TrackedRoom, after last: UInt64, ticket: UInt64) {
        let lookup = Lookup.frames(
            room: room.id, after: last, atLeast: room.sequencer.last, limit: Self.resumeLimit, .socket(ticket))
        if !lookups.ask(lookup) { failed(lookup) }
    }

    func found(_ run: FrameRun, room id: UUID128, ticket: UInt64) {
        guard let room = rooms[id], let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) else { return }
        guard let slot = connections.slot(ticket), connections[slot].flags.contains(.welcomed),
            room.resumes[place].through != nil || room.members.contains(connections[slot].user)
        else {
            return endResume(of: ticket, in: room)
        }
        // What is newer than the room's own last frame comes by the room, in its turn.
        let end = room.resumes[place].through ?? room.sequencer.last
        let before = room.resumes[place].last
        for frame in run.frames where frame.seq > before && frame.seq <= end {
            // What it sent meanwhile comes in its place too, and is its answer.
            let isAnswer = asker(of: frame) == slot
            if isAnswer { unanswered.remove(frame.sign, of: connections[slot].serial) }
            send(
                frames(for: connections[slot].flags).make(
                    frame.body, isAnswer ? .response : frame.kind, sign: isAnswer ? frame.sign : nil,
                    place: .init(room: id, seq: frame.seq)), to: slot)
        }
        let last = max(before, min(run.through, end))
        if last > before { ephemerals.noteDelivery(of: id, first: before + 1, last: last, sockets: 1) }
        room.resumes[place].last = last
        if last >= end {
            endResume(of: ticket, in: room)
        } else if last > before {
            askMissed(room, after: last, ticket: ticket)
        } else {
            giveUpResume(room: id, ticket: ticket)
        }
    }

    func giveUpResume(room id: UUID128, ticket: UInt64) {
        guard let room = rooms[id] else { return }
        endResume(of: ticket, in: room)
        if let slot = connections.slot(ticket) { sendResync(room, to: slot) }
    }

    /// The gap is older than what is told again: fetch the room over REST; frames go on after `Seq`.
    private func sendResync(_ room: TrackedRoom, to slot: UInt32) {
        reply(resyncBody(room, at: room.sequencer.last), .resync, to: slot)
    }

    func tellResync(_ room: TrackedRoom, to user: UInt32) {
        users.forEachConnection(of: user, connections) { slot in
            if connections[slot].flags.contains(.welcomed) { sendResync(room, to: slot) }
        }
    }

    private func resyncBody(_ room: TrackedRoom, at last: UInt64) -> FrameBody {
        let seq = Int64(last)
        return FrameBody(room: room.id, seq: seq) { writer in
            writer.beginMap(2)
            writer.key("RoomID")
            writer.uuid(room.id)
            writer.key("Seq")
            writer.int(seq)
        }
    }
}
