import ChatCore

/// A server that is drained names another address, or none: then the same one leads elsewhere. The next socket is opened and
/// resumed while this one still brings every frame, so nothing is missed and no request fails.
extension LoadRun {
    /// A next socket that is not resumed after it is given up for another one.
    private static let silence = 10 * second
    private static let times: ClosedRange<Int64> = 5...3600

    func move(_ member: Member, _ data: WireValue) {
        guard member.phase == .ready, member.old == nil, member.movesUntil == 0 else { return }
        let within = min(max(data["Within"]?.int ?? 30, Self.times.lowerBound), Self.times.upperBound)
        member.movesTo = nil
        if let url = data["URL"]?.string {
            guard let target = target(url) else { return figures.errors.count("move: an address that cannot be used") }
            member.movesTo = target
        }
        let now = monotonic()
        member.movesUntil = now + within * second
        // A server that says so again and again is followed once a second.
        let wait = member.movedAt + second - now
        if wait > 0 { after(wait, .move(member.index)) } else { openNext(member) }
    }

    private func target(_ url: String) -> Installation? {
        if let known = targets[url] { return known }
        let (bytes, path) = (Array(url.utf8), Array("/ws/v1/chat".utf8))
        guard targets.count < 64, bytes.count <= 512, bytes.starts(with: "ws".utf8),
            bytes.suffix(path.count).elementsEqual(path)
        else { return nil }
        let text = "http" + String(decoding: bytes.dropFirst(2).dropLast(path.count), as: UTF8.self)
        guard var found = try? Installation(text, authorities: place.authorities) else { return nil }
        do throws(Unusable) { try found.resolve() } catch { return nil }
        targets[url] = found
        return found
    }

    func openNext(_ member: Member) {
        guard member.phase == .ready, member.next == nil, member.movesUntil > monotonic() else {
            // The server closes this socket; or it does not, and all is well.
            return member.movesUntil = 0
        }
        figures.opened += 1
        let low = member.connection?.number == member.index
        member.next = Connection(
            member.movesTo ?? place, number: member.index + (low ? members.count + 1 : 0), token: member.user.token,
            attempt: member.attempts, poller: poller)
        guard let next = member.next else { return failed(member, "no socket") }
        after(Self.silence, .moving(member.index, ObjectIdentifier(next)))
    }

    func silent(_ member: Member, _ next: ObjectIdentifier) {
        guard let open = member.next, ObjectIdentifier(open) == next else { return }
        open.cut("it was not resumed in time")
        failed(member, open.ending)
    }

    private func failed(_ member: Member, _ reason: String) {
        figures.errors.count("move: \(reason)")
        member.next = nil
        after(Int64.random(in: 100 * millisecond...second, using: &chance), .move(member.index))
    }

    /// A socket of the member has closed.
    func ended(_ socket: Connection, _ member: Member) {
        if socket === member.next { return failed(member, socket.ending) }
        if socket === member.old {
            let lost = member.askedOld
            leaveOld(member)
            member.unanswered.removeAll { lost.contains($0) }
            for number in lost.sorted() { dispatch(number) }
        } else if socket === member.connection, member.phase != .away {
            closed(member)
        }
    }

    func welcomeNext(_ member: Member, _ next: Connection) {
        member.beginResume()
        next.send(member.resume())
    }

    func resumedNext(_ member: Member, _ frame: WireValue, _ succeeded: Bool, _ next: Connection) {
        let failing = frame["Data"]?["Rooms"]?.array?.first { $0["Error"].map { !$0.isNull } ?? false }
        guard succeeded, failing == nil else {
            next.cut("its resume was refused")
            return failed(member, next.ending)
        }
        member.change()
        member.movedAt = monotonic()
        figures.moves += 1
        answered(nil, member)
    }

    /// A request has its answer; the last one on the old socket ends that.
    func answered(_ number: Int?, _ member: Member) {
        guard member.old != nil else { return }
        if let number { member.askedOld.remove(number) }
        if member.askedOld.isEmpty { leaveOld(member) }
    }

    private func leaveOld(_ member: Member) {
        member.old?.closeCleanly()
        for stream in member.leaveOld() {
            ledger.report(
                .hole,
                "\(ledger.place(stream.room, stream.holes[0].lowerBound)) never came on a socket that was left, to user "
                    + member.shownID, times: stream.missing)
        }
    }
}
