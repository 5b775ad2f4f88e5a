import ChatCore

/// Sends a reconnected client the frames that it missed, in order, before newer frames of the same room.
final class Resumes {
    /// The most frames of one room that are resent; beyond it the client must fetch the room over REST.
    static let maxFrames = 1000

    struct Counters {
        /// Sockets that asked, the rooms that they asked for, rooms that were refused, and rooms that need REST
        /// instead.
        var reconnects = 0
        var rooms = 0
        var refused = 0
        var resyncs = 0
        /// Bytes of resent frames.
        var bytes = 0
    }

    let sockets: Sockets
    private let users: Users
    let table: RoomTable
    private let holds: Holds
    private let unanswered: UnansweredCommands
    private let lookups: any LookupOutlet
    private let ephemerals: any EphemeralOutlet
    private var queue = ResumeQueue()
    /// The clients' requests that wait for rooms of the queue, by number.
    private var requests: [UInt64: ResumeRequest] = [:]
    private var lastRequest: UInt64 = 0
    var early: [EarlyResume] = []
    private(set) var counters = Counters()

    init(
        _ sockets: Sockets, _ users: Users, _ table: RoomTable, _ holds: Holds, _ unanswered: UnansweredCommands,
        _ lookups: any LookupOutlet, _ ephemerals: any EphemeralOutlet
    ) {
        (self.sockets, self.users, self.table, self.holds) = (sockets, users, table, holds)
        (self.unanswered, self.lookups, self.ephemerals) = (unanswered, lookups, ephemerals)
    }

    private var connections: ConnectionTable { sockets.connections }

    var isIdle: Bool { queue.isIdle }
    /// Every request was answered.
    var hasAnswered: Bool { requests.isEmpty }
    /// Look-ups in progress.
    var out: Int { queue.out }

    // MARK: Requests

    /// Handles the client's positions. Its hold ends: rooms that it does not name continue from `welcome`.
    func request(_ points: [ResumePoint], sign: String?, _ slot: UInt32) {
        let user = connections[slot].user
        counters.reconnects += 1
        counters.rooms += points.count
        var held = holds.take(slot)
        var mayWait = connections[slot].understandsMove ? freePlaces(of: user) : 0
        let number = add(ResumeRequest(handle: connections.handle(slot), sign: sign))
        for point in points {
            guard let room = table[point.room], room.members.contains(user) else {
                let refusal = Refusal(.notAMember, "you are not a member of room \(point.room)")
                sockets.refuse(refusal, sign: sign, to: slot)
                requests[number]?.entries.append(.init(room: point.room, error: refusal))
                continue
            }
            held.removeAll { $0.room == room.id }
            let last = UInt64(max(0, point.seq))
            if mayWait > 0, EarlyResume.waits(last, epoch: point.epoch, in: room) {
                mayWait -= 1
                park(room, last, point.epoch, number, slot)
            } else {
                resume(room, after: last, epoch: point.epoch, number, slot)
            }
        }
        deliver(held: held, to: slot)
        answerIfDone(number)
    }

    /// Of early resumes.
    private func freePlaces(of user: UInt32) -> Int {
        let own = early.count { one in connections.slot(one.handle).map { connections[$0].user == user } ?? false }
        return min(EarlyResume.maxOfUser - own, EarlyResume.maxOfAll - early.count)
    }

    private func park(_ room: TrackedRoom, _ last: UInt64, _ epoch: Int64?, _ number: UInt64, _ slot: UInt32) {
        early.append(
            EarlyResume(
                number: number, handle: connections.handle(slot), room: room.id, last: last, epoch: epoch,
                until: sockets.clock.milliseconds + EarlyResume.limit))
        requests[number]?.open += 1
    }

    func finish(_ one: EarlyResume) {
        guard requests[one.number] != nil, let slot = connections.slot(one.handle) else { return }
        requests[one.number]?.open -= 1
        switch table[one.room] {
        case let room? where !room.members.contains(connections[slot].user): refuse(one)
        case let room? where one.epoch ?? room.epoch == room.epoch && room.sequencer.last >= one.last:
            // The socket was live meanwhile: it has everything.
            requests[one.number]?.entries.append(.init(room: room.id, seq: room.sequencer.last, epoch: room.epoch))
        case let room?: resume(room, after: one.last, epoch: one.epoch, one.number, slot)
        case nil: refuse(one)
        }
        answerIfDone(one.number)
    }

    private func refuse(_ one: EarlyResume) {
        requests[one.number]?.entries.append(.init(room: one.room, error: .notAMember))
    }

    private func add(_ request: ResumeRequest) -> UInt64 {
        lastRequest += 1
        requests[lastRequest] = request
        return lastRequest
    }

    private func resume(
        _ room: TrackedRoom, after last: UInt64, epoch: Int64?, _ number: UInt64, _ slot: UInt32
    ) {
        let handle = connections.handle(slot)
        var entry = ResumeRequest.ResumedRoom(room: room.id, seq: room.sequencer.last, epoch: room.epoch)
        let isTooOld = last < room.sequencer.last && room.sequencer.last - last > Self.maxFrames
        if isTooOld || last > room.newest || epoch.map({ $0 != room.epoch }) ?? false {
            // The position is older than what is resent, or the client has seen another history.
            sendResync(room, to: slot)
            entry.needsREST = true
            requests[number]?.entries.append(entry)
        } else if let place = room.resume(of: handle) {
            requests[number]?.open += 1
            room.resumes[place].requests.append(number)
            if last < room.resumes[place].first { room.resumes[place].goBack(to: last) }
        } else if last == room.sequencer.last {
            requests[number]?.entries.append(entry)
        } else if last > room.sequencer.last {
            // The client already has, from another source, frames that have not arrived here yet.
            entry.seq = last
            requests[number]?.entries.append(entry)
        } else if connections[slot].resumes >= ResumeQueue.roomsOfSocket {
            counters.refused += 1
            entry.seq = last
            entry.error = .busy("more than \(ResumeQueue.roomsOfSocket) rooms are being resumed on this socket")
            sockets.refuse(entry.error!, sign: requests[number]?.sign, to: slot)
            requests[number]?.entries.append(entry)
        } else {
            requests[number]?.open += 1
            begin(slot, room, after: last, for: number)
        }
    }

    /// The answer follows everything that the resume delivered.
    private func answerIfDone(_ number: UInt64) {
        guard let request = requests[number], request.open == 0 else { return }
        requests[number] = nil
        guard let slot = connections.slot(request.handle) else { return }
        let body = FrameBody { $0.map { $0.field("Rooms", request.entries) } }
        sockets.reply(body, sign: request.sign, to: slot)
    }

    /// Forgets a socket that is leaving.
    func forget(_ slot: UInt32) {
        let handle = connections.handle(slot)
        if !requests.isEmpty { requests = requests.filter { $0.value.handle != handle } }
        forget(handle: handle)
    }

    private func forget(handle: UInt64) {
        for room in queue.forget(handle) { if let room = table[room] { end(of: handle, in: room) } }
    }

    // MARK: One socket in one room

    func begin(_ slot: UInt32, _ room: TrackedRoom, after last: UInt64, for request: UInt64? = nil) {
        // Holds and departures begin resumes by themselves; a socket in too many rooms must fetch the rest.
        guard connections[slot].resumes <= ResumeQueue.roomsOfSocket else { return sendResync(room, to: slot) }
        let handle = connections.handle(slot)
        room.resumes.append(.init(handle: handle, first: last, last: last, requests: request.map { [$0] } ?? []))
        sockets.beginResume(slot)
        queue.add(room.id, for: handle)
    }

    /// At the end of a tick, starts the allowed number of look-ups, for sockets that have written their last page.
    func ask() {
        while let handle = queue.nextSocket() {
            guard let slot = connections.slot(handle) else {
                forget(handle: handle)
                continue
            }
            guard !sockets.slow.hasUnwritten(slot) else {
                queue.stall(handle)
                continue
            }
            guard let id = queue.takeRoom(of: handle) else { continue }
            guard let room = table[id], let place = room.resume(of: handle) else {
                queue.answered(for: handle)
                continue
            }
            let lookup = Lookup.frames(
                room: id, after: room.resumes[place].last, atLeast: room.sequencer.last, limit: Self.maxFrames,
                .socket(handle))
            guard lookups.ask(lookup) else {
                // Too many look-ups are waiting: retry in the next tick.
                queue.addFirst(id, for: handle)
                return queue.answered(for: handle)
            }
            room.resumes[place].isAsked = true
        }
    }

    /// The socket has written its last page.
    func goOn(_ slot: UInt32) { if connections[slot].resumes > 0 { queue.goOn(connections.handle(slot)) } }

    func found(_ run: FrameRun, room id: UUID128, handle: UInt64) {
        defer { queue.answered(for: handle) }
        guard let room = table[id], let place = room.resume(of: handle) else { return }
        guard let slot = connections.slot(handle), connections[slot].flags.contains(.welcomed),
            room.resumes[place].through != nil || room.members.contains(connections[slot].user)
        else {
            return end(of: handle, in: room)
        }
        room.resumes[place].isAsked = false
        guard !room.resumes[place].isStale else {
            room.resumes[place].isStale = false
            return queue.addFirst(id, for: handle)
        }
        // Newer frames are delivered by the live path.
        let goal = room.resumes[place].through ?? room.sequencer.last
        let before = room.resumes[place].last
        for frame in run.frames where frame.seq > before && frame.seq <= goal { resend(frame, room, slot) }
        let last = max(before, min(run.through, goal))
        if last > before { ephemerals.noteDelivery(of: id, first: before + 1, last: last, sockets: 1) }
        room.resumes[place].last = last
        if last >= goal {
            end(of: handle, in: room)
        } else if last > before {
            queue.addFirst(id, for: handle)
        } else {
            giveUp(room: id, handle: handle)
        }
    }

    private func resend(_ frame: RoomFrame, _ room: TrackedRoom, _ slot: UInt32) {
        // A frame that the socket itself sent meanwhile is also delivered in order, and is its answer.
        let isAnswer = unanswered.asker(of: frame) == slot
        if isAnswer { unanswered.remove(frame.sign, of: connections[slot].serial) }
        counters.bytes += frame.body.bytes.count
        sockets.tell(
            frame.body, isAnswer ? .response : frame.kind, sign: isAnswer ? frame.sign : nil,
            place: .init(room: room.id, seq: frame.seq), epoch: room.epoch, to: slot)
    }

    func failed(room: UUID128, handle: UInt64) {
        giveUp(room: room, handle: handle)
        queue.answered(for: handle)
    }

    private func giveUp(room id: UUID128, handle: UInt64) {
        guard let room = table[id], room.resume(of: handle) != nil else { return }
        if let slot = connections.slot(handle) { sendResync(room, to: slot) }
        end(of: handle, in: room, needsREST: true)
    }

    private func end(of handle: UInt64, in room: TrackedRoom, needsREST: Bool = false) {
        guard let place = room.resume(of: handle) else { return }
        let resume = room.resumes.remove(at: place)
        if let slot = connections.slot(handle) { sockets.endResume(slot) }
        let entry = ResumeRequest.ResumedRoom(
            room: room.id, seq: needsREST ? room.sequencer.last : resume.last, epoch: room.epoch,
            needsREST: needsREST)
        for number in resume.requests {
            requests[number]?.entries.append(entry)
            requests[number]?.open -= 1
            answerIfDone(number)
        }
        table.closeIfOver(room)
    }

    // MARK: Members who leave or come back

    /// A leaving user must get everything up to the frame that says so. This includes a socket whose frames are held,
    /// or that is still receiving what it missed.
    func limit(to user: UInt32, in room: TrackedRoom, through seq: UInt64) {
        users.forEachConnection(of: user) { slot in
            if let last = holds.take(room.id, of: slot) { begin(slot, room, after: last) }
            let handle = connections.handle(slot)
            for place in room.resumes.indices where room.resumes[place].handle == handle {
                room.resumes[place].through = room.resumes[place].through ?? seq
            }
        }
    }

    /// A user who comes back before that is complete gets the room's frames from now on, and fetches the earlier ones.
    func endLimited(to user: UInt32, in room: TrackedRoom, before seq: UInt64) {
        guard !room.resumes.isEmpty else { return }
        users.forEachConnection(of: user) { slot in
            let handle = connections.handle(slot)
            guard room.resumes.contains(where: { $0.handle == handle && $0.through != nil }) else { return }
            sendResync(room, at: seq - 1, to: slot)
            end(of: handle, in: room, needsREST: true)
        }
    }

    // MARK: Holds

    /// Called every tick.
    func endHolds() { for slot in holds.takeDue() { endHold(slot) } }

    /// Call it before the sockets go to a successor, which does not know about holds.
    func endAllHolds() { for slot in holds.takeAll() { endHold(slot) } }

    func endHold(_ slot: UInt32) { deliver(held: holds.take(slot), to: slot) }

    private func deliver(held: [SlowState.Held], to slot: UInt32) {
        for place in held {
            guard let room = table[place.room], room.sequencer.last > place.last,
                room.members.contains(connections[slot].user)
            else { continue }
            begin(slot, room, after: place.last)
        }
    }

    // MARK: Resync

    /// The gap is older than what is resent: the client must fetch the room over REST; frames continue after `Seq`.
    func sendResync(_ room: TrackedRoom, at seq: UInt64? = nil, to slot: UInt32) {
        let seq = seq ?? room.sequencer.last
        counters.resyncs += 1
        sockets.place(slot, in: room.id, at: seq, epoch: room.epoch)
        let body = FrameBody(room: room.id, seq: Int64(seq)) {
            $0.map {
                $0.field("RoomID", room.id)
                $0.field("Seq", Int64(seq))
                $0.field("Epoch", room.epoch)
            }
        }
        sockets.reply(body, .resync, to: slot)
    }

    func tellResync(_ room: TrackedRoom, to user: UInt32) {
        users.forEachConnection(of: user) { slot in
            if connections[slot].flags.contains(.welcomed) { sendResync(room, to: slot) }
        }
    }

    // MARK: Hand-over

    func write(of handedOver: Set<UInt64>, to state: inout StateWriter) {
        let all = table.all.flatMap { room in
            room.resumes.filter { handedOver.contains($0.handle) }.map { (room.id, $0) }
        }
        state.put(UInt32(all.count))
        for (room, resume) in all {
            state.put(room)
            state.put(resume.handle)
            state.put(resume.last)
            state.put(resume.through ?? 0)
        }
    }

    func adopt(from state: inout StateReader, _ slotOf: [UInt64: UInt32]) throws(StateUnreadable) {
        for _ in 0..<(try state.take(UInt32.self)) {
            let room = try state.take(UUID128.self)
            let slot = slotOf[try state.take(UInt64.self)]
            let (last, through): (UInt64, UInt64) = (try state.take(), try state.take())
            guard let room = table[room], let slot else { continue }
            begin(slot, room, after: last)
            let place = room.resumes.indices.last { room.resumes[$0].handle == connections.handle(slot) }
            if through > 0, let place { room.resumes[place].through = through }
        }
    }

    func writeRequests(of handedOver: Set<UInt64>, to state: inout StateWriter) {
        let some = requests.filter { handedOver.contains($0.value.handle) }
        var open: [UInt64: [UUID128]] = [:]
        for room in table.all {
            for resume in room.resumes { for number in resume.requests { open[number, default: []].append(room.id) } }
        }
        state.put(UInt32(some.count))
        for (number, request) in some { request.write(open: open[number] ?? [], to: &state) }
    }

    /// Continues a request of the predecessor. Call it once its socket is complete.
    func adopt(_ handed: HandedRequest, _ slotOf: [UInt64: UInt32]) {
        guard let slot = slotOf[handed.handle] else { return }
        let handle = connections.handle(slot)
        var request = ResumeRequest(handle: handle, sign: handed.sign, entries: handed.entries)
        for place in request.entries.indices {
            request.entries[place].epoch = table[request.entries[place].room]?.epoch ?? 1
        }
        let number = add(request)
        for id in handed.open {
            guard let room = table[id], let place = room.resume(of: handle) else { continue }
            room.resumes[place].requests.append(number)
            requests[number]?.open += 1
        }
        answerIfDone(number)
    }
}
