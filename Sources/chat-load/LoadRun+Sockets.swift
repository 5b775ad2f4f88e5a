import ChatCore

/// Sockets that open, close and come back.
extension LoadRun {
    /// A socket that worked for this long does not count as a failed attempt.
    private static let steady = 5 * second
    /// After this time without an answer the socket is opened again.
    private static let silence = 30 * second

    func open(_ member: Member) {
        member.openedAt = monotonic()
        member.awaitsResume = false
        member.connection = Connection(
            place, number: member.index, token: member.user.token, attempt: member.attempts, poller: poller)
        member.phase = .opening
        figures.opened += 1
        guard member.connection != nil else { return closed(member) }
        after(Self.silence, .silence(member.index, openedAt: member.openedAt))
    }

    func silent(_ member: Member, _ openedAt: Int64) {
        guard member.phase == .opening, member.openedAt == openedAt else { return }
        member.connection?.cut("no welcome came")
        closed(member)
    }

    /// Closes a random member's socket: half of them like a browser, the others like a lost network.
    func churn() {
        let ready = members.filter { $0.phase == .ready }
        guard let member = ready.randomElement(using: &chance) else { return }
        figures.churned += 1
        member.isChurned = true
        if Bool.random(using: &chance) { member.connection?.closeCleanly() } else { member.connection?.cut() }
        closed(member)
    }

    func closed(_ member: Member) {
        let (reason, code) = (member.connection?.ending ?? "no socket", member.connection?.closeCode ?? 0)
        if member.phase == .ready, monotonic() - member.readyAt > Self.steady { member.attempts = 0 }
        member.phase = .away
        member.endMove()
        member.waiting = member.unanswered + member.waiting
        member.unanswered = []
        guard start > 0 else { return }
        if !member.isChurned { member.attempts += 1 }
        var delay = Int64.random(in: 0...250 * millisecond, using: &chance)
        if member.isChurned {
            delay = Int64.random(in: 0...second, using: &chance)
        } else {
            figures.errors.count("socket: \(reason)")
            if member.attempts > 1 { delay = min(5 * second, 100 * millisecond << Int64(min(member.attempts, 6))) }
            // As asyncapi.yaml says: after a minute.
            if code == 1008 { delay = 60 * second }
        }
        member.isChurned = false
        if code == 4001 || areSameBytes(reason, Connection.unauthorized) { renew(member) }
        after(delay, .reconnect(member.index))
    }

    private func renew(_ member: Member) {
        do throws(Unusable) { member.user.token = try credentials.token(for: member.user.id) } catch {
            figures.errors.count("token: \(error)")
        }
    }

    func welcome(_ member: Member, _ frame: WireValue) {
        // A repeated welcome would make this client resume again and again.
        guard member.phase == .opening else { return figures.errors.count("a welcome on an open socket") }
        let id = frame["Data"]?["UserID"]?.string ?? ""
        member.serverID = id.utf8.count <= 256 ? id : ""
        for stream in member.streams.indices { member.streams[stream].isResuming = true }
        member.phase = .resuming
        if member.streams.isEmpty { ready(member, monotonic()) } else { resume(member) }
    }

    func resume(_ member: Member) {
        guard member.phase == .resuming, !member.awaitsResume, let connection = member.connection else { return }
        member.awaitsResume = true
        connection.send(member.resume())
        if connection.phase == .closed { closed(member) }
    }

    func resumed(_ member: Member, _ frame: WireValue, _ succeeded: Bool, _ now: Int64) {
        guard member.phase == .resuming, member.awaitsResume else {
            return figures.errors.count("an answer to no resume")
        }
        member.awaitsResume = false
        let entries = frame["Data"]?["Rooms"]?.array ?? []
        // A new room that this relay has not heard of yet, or too many rooms at once.
        let failing = entries.first { $0["Error"].map { !$0.isNull } ?? false }
        guard succeeded, failing == nil else {
            let text = failing?["Error"]?.string ?? frame["Error"]?.string ?? ""
            figures.errors.count("resume: \(errorCode(text))")
            return after((Pause.asked(frame["RetryAfter"]) ?? 300) * millisecond, .resume(member.index))
        }
        ready(member, now)
    }

    private func ready(_ member: Member, _ now: Int64) {
        for stream in member.streams.indices { member.streams[stream].isResuming = false }
        member.phase = .ready
        member.readyAt = now
        if member.hasBeenReady {
            figures.reconnects += 1
            latencies.resume.add(nanoseconds: now - member.openedAt)
        }
        member.hasBeenReady = true
        let waiting = member.waiting
        member.waiting = []
        for number in waiting { dispatch(number) }
    }
}
