import ChatCore

/// Sends the messages and files that are due, and handles results from REST.
extension LoadRun {
    func sendDue() {
        let now = monotonic()
        // Only some are sent at once, so that frames are read between them and Ctrl-C is noticed.
        for _ in 0..<64 {
            let due = start + options.due(nextSend, rate: options.rate)
            guard due <= now else { break }
            nextSend += 1
            guard hasPlace() else { continue }
            let (member, room) = senders[nextSender % senders.count]
            nextSender += 1
            dispatch(ledger.open(room: room, sender: member, due: due))
        }
        for _ in 0..<64 {
            let due = start + options.due(nextUpload, rate: options.uploads)
            guard due <= now else { break }
            nextUpload += 1
            let (member, room) = senders[Int.random(in: 0..<senders.count, using: &chance)]
            guard hasPlace() else { continue }
            figures.uploads += 1
            upload(ledger.open(room: room, sender: member, due: due, isUpload: true))
        }
        for _ in 0..<64 where start + options.due(nextChurn, rate: options.churn) <= now {
            nextChurn += 1
            churn()
        }
    }

    private func hasPlace() -> Bool {
        if ledger.inFlight < options.inFlight { return true }
        figures.skipped += 1
        return false
    }

    func dispatch(_ number: Int) {
        guard let message = ledger.message(number), message.state != .acknowledged else { return }
        let member = members[Int(message.sender)]
        guard member.phase == .ready, let connection = member.connection else { return member.waiting.append(number) }
        if message.state == .waiting { figures.sent += 1 } else { figures.repeated += 1 }
        ledger.change(number) { $0.state = .sent }
        member.unanswered.append(number)
        connection.send(frame(number, room: Int(message.room)))
        if connection.phase == .closed { closed(member) }
    }

    private func frame(_ number: Int, room: Int) -> [UInt8] {
        let sign = ledger.sign(number)
        // The same text for a repeated request.
        var choice = Chance(seed: options.seed &+ UInt64(number))
        let size = max(Int.random(in: options.size, using: &choice), sign.utf8.count)
        var writer = MessagePackWriter(reserving: size + 200)
        writer.map {
            $0.field("Type", "message")
            $0.field("RoomID", ledger.rooms[room].id)
            $0.field("Content") { writer in
                let text = Array(sign.utf8) + [UInt8](repeating: UInt8(ascii: "."), count: size - sign.utf8.count)
                text.withUnsafeBytes { writer.utf8($0) }
            }
            $0.field("ContentType", "text")
            $0.field("MessageType", "direct")
            $0.field("Sign", sign)
        }
        return writer.bytes
    }

    func upload(_ number: Int) {
        guard let message = ledger.message(number), message.state != .acknowledged else { return }
        if message.state == .waiting { figures.sent += 1 } else { figures.repeated += 1 }
        ledger.change(number) { $0.state = .sent }
        rest.add(
            .upload(
                number: number, room: ledger.rooms[Int(message.room)].id, sign: ledger.sign(number),
                token: members[Int(message.sender)].user.token, bytes: options.uploadSize))
    }

    func takeResults() {
        for done in rest.take() {
            for call in done.calls { latencies.rest.add(nanoseconds: call) }
            switch done.job {
            case .upload(let number, _, _, _, _): uploaded(number, done.outcome)
            case .history(let member, let stream, _, _, _): fetched(done.job, member, stream, done.outcome)
            }
        }
    }

    private func uploaded(_ number: Int, _ outcome: RestThreads.JobOutcome) {
        switch outcome {
        case .stored(let seq):
            if let due = ledger.message(number)?.due, ledger.acknowledge(number, seq: seq) {
                latencies.upload.add(nanoseconds: monotonic() - due)
            }
        case .again(let code, let wait):
            figures.refusals.count(code)
            after(wait * millisecond, .upload(number))
        case .refused(let code):
            figures.refusals.count(code)
            ledger.refuse(number)
        case .messages: break
        }
    }

    private func fetched(_ job: RestThreads.Job, _ member: Int, _ stream: Int, _ outcome: RestThreads.JobOutcome) {
        switch outcome {
        case .messages(let found):
            members[member].streams[stream].fetches -= 1
            let room = members[member].streams[stream].room
            for message in found {
                guard let number = ledger.number(of: message.sign) else { continue }
                _ = ledger.copy(number, room: room, seq: message.seq)
            }
        case .again(let code, let wait):
            figures.errors.count("history: \(code)")
            after(wait * millisecond, .fetch(job))
        case .refused(let code):
            members[member].streams[stream].fetches -= 1
            figures.errors.count("history: \(code)")
        case .stored: break
        }
    }
}
