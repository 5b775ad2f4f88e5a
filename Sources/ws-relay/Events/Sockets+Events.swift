import ChatCore

/// Server-Sent Events and long polls: sockets in the same tables as the others, whose clients send nothing. `tell`
/// writes a frame together with the id of the client's new position.
extension Sockets {
    func beginEvents(_ request: EventsRequest, _ slot: UInt32) {
        connections.insert(.json, slot)
        connections.row(slot).pointee.serial |= Connection.eventsBit
        streams.set(EventStream(request), slot)
        if request.wait == nil { send(SharedFrame(whole: request.streamHead), to: slot) }
    }

    /// The client begins anew in the room; the next event's id contains it.
    func place(_ slot: UInt32, in room: UUID128, at seq: UInt64, epoch: Int64) {
        guard connections[slot].getsEvents, let stream = streams[slot], stream.poll?.isFull != true else { return }
        stream.cursor.set(room, seq, epoch: epoch)
        stream.isMoved = true
    }

    /// Never inlined: the loop of a delivery would check the exclusive access to its state for each socket.
    ///
    /// - Parameter epoch: the epoch of the place's room.
    @inline(never)
    func tell(_ event: SharedFrame, _ kind: FrameKind, epoch: Int64 = 1, to slot: UInt32) {
        guard !connections[slot].flags.contains(.closing), let stream = streams[slot] else { return }
        if let place = event.place {
            // The client may have received it from another relay.
            if let last = stream.cursor[place.room], place.seq <= last { return }
            if stream.poll?.isFull != true { stream.cursor.set(place.room, place.seq, epoch: epoch) }
        }
        if stream.poll != nil { return gather(event, kind, stream, slot) }
        guard event.place != nil || stream.isMoved else { return send(event, to: slot) }
        stream.isMoved = false
        // An id without all rooms would continue wrongly: an empty id replaces the previous one.
        send(event.with(id: streams.namesAllRooms(of: connections[slot].user) ? stream.cursor.id : []), to: slot)
    }

    // MARK: Long polls

    private func gather(_ event: SharedFrame, _ kind: FrameKind, _ stream: EventStream, _ slot: UInt32) {
        // A poll needs no notice that it has caught up: its answer shows that.
        guard kind != .response, stream.poll?.isFull != true else { return }
        if stream.poll?.frames.isEmpty == true { streams.willAnswer(slot) }
        stream.poll?.frames.append(event.json)
        stream.poll?.bytes += event.count
        count(deliveries: 1)
    }

    /// The end of a tick.
    func answerPolls() {
        for slot in streams.takeAnswered() where streams[slot]?.poll?.frames.isEmpty == false { answerPoll(slot) }
    }

    private func answerPoll(_ slot: UInt32) {
        guard !connections[slot].flags.contains(.closing), let stream = streams[slot], let poll = stream.poll else {
            return
        }
        var body = JSONWriter(reserving: poll.bytes + 1024)
        body.map {
            $0.field("Success", true)
            $0.array("Data", poll.frames) { $0.raw($1) }
            $0.field("LastEventID", String(decoding: stream.cursor.id, as: UTF8.self))
        }
        stream.poll?.frames = []
        end(slot, with: SharedFrame(whole: HTTPRefusal.response("200 OK", body.take(), stream.headers)))
    }

    // MARK: Time, the end

    func dueEvents(_ slot: UInt32, _ left: UInt32) {
        guard let poll = streams[slot]?.poll else {
            let heartbeat = UInt32(settings.heartbeat.seconds)
            if clock.second &- connections[slot].heard >= heartbeat {
                connections.row(slot).pointee.heard = clock.second
                send(.comment, to: slot)
            }
            let next = heartbeat - min(heartbeat - 1, clock.second &- connections[slot].heard)
            return connections.row(slot).pointee.deadline = clock.second &+ max(1, min(next, left))
        }
        let until = poll.until ?? clock.second
        if until.hasPassed(at: clock.second) { return answerPoll(slot) }
        connections.row(slot).pointee.deadline = clock.second &+ max(1, min(until &- clock.second, left))
    }

    /// Tells a stream the reason and when to reconnect. The client continues at the id of the last event before.
    func endEvents(_ slot: UInt32, _ code: CloseCode, _ reason: String) {
        guard let stream = streams[slot], let poll = stream.poll else {
            return end(slot, with: SharedFrame(whole: Self.closeEvent(code, reason)))
        }
        guard poll.frames.isEmpty else { return answerPoll(slot) }
        let refusal: HTTPRefusal =
            switch code {
            case .tokenExpired: .unauthorized
            // The client sent data.
            case .policyViolation: .malformed(reason)
            case .replaced: .replaced
            default: .unavailable(retryAfter: Int.random(in: 1...5))
            }
        answer(slot, refusal.answer(requestID: clock.newID().description, stream.pageHeaders))
    }

    /// Call it before a hand-over to a relay without streams of events.
    func endAllEvents() {
        for slot in streams.slots { close(slot, .goingAway, "the relay changes; connect again") }
    }

    private static func closeEvent(_ code: CloseCode, _ reason: String) -> [UInt8] {
        let retry = retry(code)
        var body = JSONWriter()
        body.map {
            $0.field("Type", "close")
            $0.field("Success", true)
            $0.field("Error", "")
            $0.map("Data") {
                $0.field("Code", Int(code.rawValue))
                $0.field("Reason", reason)
                $0.field("RetryAfter", retry)
            }
        }
        return Array("retry: \(retry)\ndata: ".utf8) + body.take() + Array("\n\n".utf8)
    }

    /// Milliseconds after which an EventSource reconnects by itself; only its page can prevent that.
    private static func retry(_ code: CloseCode) -> Int64 {
        switch code {
        case .slowConsumer: 100
        case .policyViolation: 60_000
        case .replaced: 3_600_000
        // Random, so that clients do not reconnect all at once.
        default: Int64.random(in: 1000...5000)
        }
    }
}
