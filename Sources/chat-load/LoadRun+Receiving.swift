import ChatCore

/// Frames.
extension LoadRun {
    /// A frame in a room's order.
    private struct Arrival {
        let seq: Int64
        /// The number of the run's message in it.
        let number: Int?
        let isResponse: Bool
        /// The index among the member's streams.
        let stream: Int
        let socket: Connection
        let at: Int64
        let payload: UnsafeRawBufferPointer
    }

    func take(_ payload: UnsafeRawBufferPointer, _ member: Member, _ now: Int64, on socket: Connection) {
        let scan = FrameScan(payload)
        if let seq = scan.seq, scan.kind != .other, !scan.isFailure, let number = scan.number(after: marker),
            let stream = member.stream(ofRoomEndingWith: scan.roomEnd)
        {
            return take(
                Arrival(
                    seq: seq, number: number, isResponse: scan.kind == .response, stream: stream, socket: socket,
                    at: now, payload: payload), member)
        }
        guard let frame = try? MessagePackReader.decode(Array(payload)), let type = frame["Type"]?.string else {
            return figures.errors.count("a frame that is no MessagePack")
        }
        let succeeded = frame["Success"]?.bool ?? true
        switch type {
        case "welcome": if socket === member.next { welcomeNext(member, socket) } else { welcome(member, frame) }
        case "move": if socket === member.connection { move(member, frame["Data"] ?? .null) }
        case "resync": resync(member, frame["Data"] ?? .null, socket)
        case "response" where frame["Sign"]?.string == "resume":
            if socket === member.next {
                resumedNext(member, frame, succeeded, socket)
            } else {
                resumed(member, frame, succeeded, now)
            }
        case "response" where !succeeded: refused(member, frame)
        default:
            guard let room = frame["RoomID"]?.string, let stream = member.stream(of: room), let place = frame["Seq"],
                !place.isNull
            else { return }
            guard let seq = place.seq else { return figures.errors.count("a frame whose Seq is no number") }
            let isMessage = type == "new_message" || type == "response"
            take(
                Arrival(
                    seq: seq, number: isMessage ? ledger.number(of: frame["Data"]?["Sign"]?.string ?? "") : nil,
                    isResponse: type == "response", stream: stream, socket: socket, at: now, payload: payload), member)
        }
    }

    private func take(_ arrival: Arrival, _ member: Member) {
        let (room, seq) = (member.streams[arrival.stream].room, arrival.seq)
        guard isPossible(seq, room) else {
            return ledger.report(
                .altered,
                "\(ledger.place(room, seq))\(about(arrival.number, member)): this Seq is impossible here")
        }
        let (step, isNew) = member.take(
            seq, stream: arrival.stream, isResponse: arrival.isResponse, on: arrival.socket)
        if isNew { copied(arrival, room) }
        switch step {
        case .new, .early: break
        case .late:
            ledger.report(
                .outOfOrder, "\(ledger.place(room, seq)) came after a later one\(about(arrival.number, member))")
        case .twice:
            let frame = try? MessagePackReader.decode(Array(arrival.payload))
            if let sender = frame?["Data"]?["SenderID"]?.string, areSameBytes(sender, member.serverID) {
                figures.ownAgain += 1
            } else {
                ledger.report(.doubled, "\(ledger.place(room, seq)) came twice\(about(arrival.number, member))")
            }
        case .again, .answer: break
        }
        guard arrival.isResponse, let number = arrival.number, let due = ledger.message(number)?.due else { return }
        if let place = member.unanswered.firstIndex(of: number) { member.unanswered.remove(at: place) }
        answered(number, member)
        guard ledger.acknowledge(number, seq: seq) else { return }
        latencies.ack.add(nanoseconds: arrival.at - due)
        ackNow.add(nanoseconds: arrival.at - due)
    }

    /// Without this check a false Seq would move the stream past all real ones.
    private func isPossible(_ seq: Int64, _ room: Int) -> Bool {
        Ledger.seqs.contains(seq) && seq <= ledger.lastPossible(room)
    }

    private func about(_ number: Int?, _ member: Member) -> String {
        "\(number.map { ", Sign \(ledger.sign($0))" } ?? ""), to user \(member.shownID)"
    }

    private func copied(_ arrival: Arrival, _ room: Int) {
        guard let number = arrival.number, let due = ledger.copy(number, room: room, seq: arrival.seq) else { return }
        latencies.copy.add(nanoseconds: arrival.at - due)
        copyNow.add(nanoseconds: arrival.at - due)
    }

    private func resync(_ member: Member, _ data: WireValue, _ socket: Connection) {
        guard let id = data["RoomID"]?.string, let stream = member.stream(of: id) else { return }
        guard let seq = data["Seq"]?.seq else { return figures.errors.count("a resync whose Seq is no number") }
        figures.resyncs += 1
        let room = member.streams[stream].room
        // A room without a message may be at 0.
        guard isPossible(seq, room) || seq == 0 && ledger.rooms[room].base == 0 else {
            return ledger.report(
                .altered,
                "\(ledger.place(room, seq)) in resync, to user \(member.shownID): this Seq is impossible here")
        }
        guard member.streams[stream].fetches < Stream.maxFetches else {
            return figures.errors.count("resync: too many at once")
        }
        let wanted = member.skip(to: seq, stream: stream, on: socket)
        guard !wanted.isEmpty else { return }
        member.streams[stream].fetches += 1
        rest.add(
            .history(member: member.index, stream: stream, room: id, token: member.user.token, wanted: wanted))
    }

    private func refused(_ member: Member, _ frame: WireValue) {
        let code = errorCode(frame["Error"]?.string ?? "an error without a code")
        guard let number = ledger.number(of: frame["Sign"]?.string ?? "") else { return figures.errors.count(code) }
        // Each request has one answer: extra answers would make this client send more and more.
        guard let place = member.unanswered.firstIndex(of: number) else {
            return figures.errors.count("an answer to no request: \(code)")
        }
        member.unanswered.remove(at: place)
        answered(number, member)
        figures.refusals.count(code)
        if let wait = Pause.asked(frame["RetryAfter"]) {
            after(wait * millisecond, .send(number))
        } else if code == "unavailable" || code == "busy" || code == "timeout" {
            after(second, .send(number))
        } else {
            ledger.refuse(number)
        }
    }
}

extension WireValue {
    /// The server's number for a Seq. An impossible number is kept too, so that the ledger reports it.
    var seq: Int64? {
        guard case .double(let value) = self else { return int }
        guard value.isFinite, value == value.rounded() else { return nil }
        return Int64(exactly: value) ?? (value < 0 ? .min : .max)
    }
}
