import ChatCore

/// Sends a reconnected client what it missed, in order, before anything newer of that room.
extension Hub {
    /// The most frames of one room that are resent; beyond it the client must fetch the room over REST.
    static let resumeLimit = 1000

    func resume(_ points: [ResumePoint], sign: String?, _ slot: UInt32) {
        let user = connections[slot].user
        counters.reconnects += 1
        counters.resumes += points.count
        var held = takeHeld(slot)
        let number = nextEpoch()
        resumeRequests[number] = ResumeRequest(ticket: connections.ticket(slot), sign: sign)
        for point in points {
            guard let room = rooms[point.room], room.members.contains(user) else {
                let refusal = Refusal(.notAMember, "you are not a member of room \(point.room)")
                refuse(refusal, sign: sign, to: slot)
                resumeRequests[number]?.entries.append(.init(room: point.room, error: refusal))
                continue
            }
            held.removeAll { $0.room == room.id }
            resume(room, after: UInt64(max(0, point.seq)), epoch: point.epoch, number, slot)
        }
        deliver(held: held, to: slot)
        answerIfDone(number)
    }

    private func resume(
        _ room: TrackedRoom, after last: UInt64, epoch: Int64?, _ number: UInt64, _ slot: UInt32
    ) {
        let ticket = connections.ticket(slot)
        var entry = ResumeRequest.Entry(room: room.id, seq: room.sequencer.last, epoch: room.epoch)
        let isTooOld = last < room.sequencer.last && room.sequencer.last - last > Self.resumeLimit
        if isTooOld || last > newest(of: room) || epoch.map({ $0 != room.epoch }) ?? false {
            // The position is older than what is resent, or the client has seen another history.
            sendResync(room, to: slot)
            entry.needsREST = true
            resumeRequests[number]?.entries.append(entry)
        } else if let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) {
            resumeRequests[number]?.open += 1
            room.resumes[place].requests.append(number)
            if last < room.resumes[place].first { room.resumes[place].goBack(to: last) }
        } else if last == room.sequencer.last {
            resumeRequests[number]?.entries.append(entry)
        } else if last > room.sequencer.last {
            // The client already has, from another source, frames that have not arrived here yet.
            entry.seq = last
            resumeRequests[number]?.entries.append(entry)
        } else if connections[slot].resumes >= ResumeQueue.roomsOfSocket {
            counters.resumesRefused += 1
            entry.seq = last
            entry.error = .busy("more than \(ResumeQueue.roomsOfSocket) rooms are being resumed on this socket")
            refuse(entry.error!, sign: resumeRequests[number]?.sign, to: slot)
            resumeRequests[number]?.entries.append(entry)
        } else {
            resumeRequests[number]?.open += 1
            beginResume(of: slot, in: room, after: last, for: number)
        }
    }

    /// The newest Seq known for the room, including frames that have not arrived here yet.
    private func newest(of room: TrackedRoom) -> UInt64 {
        max(room.sequencer.last, room.expected, room.sequencer.held.last?.seq ?? 0)
    }

    func beginResume(of slot: UInt32, in room: TrackedRoom, after last: UInt64, for request: UInt64? = nil) {
        // Holds and departures begin resumes by themselves; a socket in too many rooms must fetch the rest.
        guard connections[slot].resumes <= ResumeQueue.roomsOfSocket else { return sendResync(room, to: slot) }
        let ticket = connections.ticket(slot)
        room.resumes.append(.init(ticket: ticket, first: last, last: last, requests: request.map { [$0] } ?? []))
        connections[slot].resumes += 1
        connections[slot].flags.insert(.resuming)
        resumes.add(room.id, for: ticket)
    }

    /// At the end of a tick, starts the allowed number of look-ups, for sockets that have written their last page.
    func askResumes() {
        while let ticket = resumes.nextSocket() {
            guard let slot = connections.slot(ticket) else {
                for room in resumes.forget(ticket) { if let room = rooms[room] { endResume(of: ticket, in: room) } }
                continue
            }
            guard slowIfAny(slot)?.outbox.isEmpty ?? true else {
                resumes.stall(ticket)
                continue
            }
            guard let id = resumes.takeRoom(of: ticket) else { continue }
            guard let room = rooms[id], let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) else {
                resumes.answered(for: ticket)
                continue
            }
            let lookup = Lookup.frames(
                room: id, after: room.resumes[place].last, atLeast: room.sequencer.last, limit: Self.resumeLimit,
                .socket(ticket))
            guard lookups.ask(lookup) else {
                // Too many look-ups are waiting: retry in the next tick.
                resumes.addFirst(id, for: ticket)
                return resumes.answered(for: ticket)
            }
            room.resumes[place].isAsked = true
        }
    }

    func endResume(of ticket: UInt64, in room: TrackedRoom, needsREST: Bool = false) {
        guard let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) else { return }
        let resume = room.resumes.remove(at: place)
        if let slot = connections.slot(ticket) { connections[slot].resumes -= 1 }
        let entry = ResumeRequest.Entry(
            room: room.id, seq: needsREST ? room.sequencer.last : resume.last, epoch: room.epoch,
            needsREST: needsREST)
        for number in resume.requests {
            resumeRequests[number]?.entries.append(entry)
            resumeRequests[number]?.open -= 1
            answerIfDone(number)
        }
        if room.isOver { untrack(room) }
    }

    /// The answer follows everything that the resume delivered.
    func answerIfDone(_ number: UInt64) {
        guard let request = resumeRequests[number], request.open == 0 else { return }
        resumeRequests[number] = nil
        guard let slot = connections.slot(request.ticket) else { return }
        let body = FrameBody { $0.map { $0.field("Rooms", request.entries) } }
        reply(body, sign: request.sign, to: slot)
    }

    /// Removes the resume requests of a socket that left.
    func forgetResumes(of slot: UInt32) {
        let ticket = connections.ticket(slot)
        if !resumeRequests.isEmpty { resumeRequests = resumeRequests.filter { $0.value.ticket != ticket } }
        for room in resumes.forget(ticket) { if let room = rooms[room] { endResume(of: ticket, in: room) } }
    }

    /// A leaving user must get everything up to the frame that says so. This includes a socket whose frames are held,
    /// or that is still receiving what it missed.
    func limitResumes(to user: UInt32, in room: TrackedRoom, through seq: UInt64) {
        users.forEachConnection(of: user, connections) { slot in
            if let last = takeHeld(room.id, of: slot) { beginResume(of: slot, in: room, after: last) }
            let ticket = connections.ticket(slot)
            for place in room.resumes.indices where room.resumes[place].ticket == ticket {
                room.resumes[place].through = room.resumes[place].through ?? seq
            }
        }
    }

    /// A user who is back before that is complete gets the room's frames from here on, and fetches the earlier ones.
    func endLimitedResumes(to user: UInt32, in room: TrackedRoom, before seq: UInt64) {
        guard !room.resumes.isEmpty else { return }
        users.forEachConnection(of: user, connections) { slot in
            let ticket = connections.ticket(slot)
            guard room.resumes.contains(where: { $0.ticket == ticket && $0.through != nil }) else { return }
            sendResync(room, at: seq - 1, to: slot)
            endResume(of: ticket, in: room, needsREST: true)
        }
    }

    func found(_ run: FrameRun, room id: UUID128, ticket: UInt64) {
        defer { resumes.answered(for: ticket) }
        guard let room = rooms[id], let place = room.resumes.firstIndex(where: { $0.ticket == ticket }) else { return }
        guard let slot = connections.slot(ticket), connections[slot].flags.contains(.welcomed),
            room.resumes[place].through != nil || room.members.contains(connections[slot].user)
        else {
            return endResume(of: ticket, in: room)
        }
        room.resumes[place].isAsked = false
        guard !room.resumes[place].isStale else {
            room.resumes[place].isStale = false
            return resumes.addFirst(id, for: ticket)
        }
        // Newer frames are delivered by the live path.
        let end = room.resumes[place].through ?? room.sequencer.last
        let before = room.resumes[place].last
        for frame in run.frames where frame.seq > before && frame.seq <= end {
            // A frame that the socket itself sent meanwhile is also delivered in order, and is its answer.
            let isAnswer = asker(of: frame) == slot
            if isAnswer { unanswered.remove(frame.sign, of: connections[slot].serial) }
            resumedBytes += frame.body.bytes.count
            tell(
                frame.body, isAnswer ? .response : frame.kind, sign: isAnswer ? frame.sign : nil,
                place: .init(room: id, seq: frame.seq), to: slot)
        }
        let last = max(before, min(run.through, end))
        if last > before { ephemerals.noteDelivery(of: id, first: before + 1, last: last, sockets: 1) }
        room.resumes[place].last = last
        if last >= end {
            endResume(of: ticket, in: room)
        } else if last > before {
            resumes.addFirst(id, for: ticket)
        } else {
            giveUpResume(room: id, ticket: ticket)
        }
    }

    func giveUpResume(room id: UUID128, ticket: UInt64) {
        guard let room = rooms[id], room.resumes.contains(where: { $0.ticket == ticket }) else { return }
        if let slot = connections.slot(ticket) { sendResync(room, to: slot) }
        endResume(of: ticket, in: room, needsREST: true)
    }

    /// The gap is older than what is resent: the client must fetch the room over REST; frames continue after `Seq`.
    func sendResync(_ room: TrackedRoom, at seq: UInt64? = nil, to slot: UInt32) {
        let seq = seq ?? room.sequencer.last
        place(slot, in: room.id, at: seq)
        reply(resyncBody(room, at: seq), .resync, to: slot)
    }

    func tellResync(_ room: TrackedRoom, to user: UInt32) {
        users.forEachConnection(of: user, connections) { slot in
            if connections[slot].flags.contains(.welcomed) { sendResync(room, to: slot) }
        }
    }

    private func resyncBody(_ room: TrackedRoom, at last: UInt64) -> FrameBody {
        let seq = Int64(last)
        counters.resyncs += 1
        return FrameBody(room: room.id, seq: seq) {
            $0.map {
                $0.field("RoomID", room.id)
                $0.field("Seq", seq)
                $0.field("Epoch", room.epoch)
            }
        }
    }
}

extension ResumeRequest.Entry: WireShape {
    func write<W: WireWriter>(to writer: inout W) {
        writer.map {
            $0.field("RoomID", room)
            $0.field("Seq", Int64(clamping: seq))
            $0.field("Epoch", ifAny: error == nil ? epoch : nil)
            $0.field("Resync", ifAny: needsREST ? true : nil)
            $0.field("Error", ifAny: error?.text)
        }
    }
}
