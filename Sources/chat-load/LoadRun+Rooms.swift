import ChatCore

/// The REST requests before and after the load.
extension LoadRun {
    /// Checks that this is the chat, makes the users' tokens, and opens the rooms.
    func prepare() throws(Unusable) {
        let users = try credentials.users(options.users, &chance)
        members = users.enumerated().map { Member(index: $0, user: $1) }
        caller.begin()
        try greet(users[0].token)
        for number in 0..<options.rooms {
            guard interrupts == 0 else { throw Unusable("interrupted before the run began") }
            try open(number)
        }
        for room in ledger.rooms.indices {
            for index in ledger.rooms[room].members {
                members[index].join(room: room, id: ledger.rooms[room].id, last: ledger.rooms[room].base)
                members[index].roomIDs.append(ledger.rooms[room].id)
            }
        }
        countCalls()
    }

    private func greet(_ token: String) throws(Unusable) {
        let reply = caller.call("GET", "/rooms?limit=1", token: token)
        switch reply.status {
        case 200 where reply.body["Success"]?.bool == true: break
        case 0: throw Unusable("\(place.base) cannot be reached: \(reply.code)")
        case 401:
            throw Unusable(
                "\(place.base) refuses the token (401): is this the secret or the token of that installation?")
        case 404, 200: throw Unusable("\(place.api)/rooms answered \(reply.status): is this the chat's address?")
        default: throw Unusable("\(place.api)/rooms answered \(reply.status) (\(reply.code))")
        }
        // The documents have the version of the programs; an operator may have closed them to this machine.
        if let document = try? WebDocument.read("\(place.base)/openapi.yaml", place) { version = document }
    }

    private func open(_ number: Int) throws(Unusable) {
        let list = (0..<options.members).map { (number * options.members + $0) % options.users }
        let owner = members[list[0]]
        let name = "chat-load \(run) \(number + 1)"
        let body = RestCaller.json { writer in
            writer.field("Type", "GROUP")
            writer.field("Name", name)
            writer.array("Members", list.dropFirst().map { members[$0].user.id }) { $0.string($1) }
        }
        let headers = ["Idempotency-Key: \(ledger.prefix)room-\(number)"]
        // A busy installation may ask to try again later.
        let reply = caller.repeating(20, pause: 10_000, also: true) {
            caller.call("POST", "/rooms", token: owner.user.token, body: body, headers: headers)
        }
        let data = reply.body["Data"] ?? .null
        guard reply.status == 201 || reply.status == 200, let id = data["ID"]?.string, isID(id) else {
            let sentence = reply.body["Error"]?["Message"]?.string.map { ": \(printable($0))" } ?? ""
            throw notOpened(number, "(\(reply.code)\(sentence))")
        }
        let last = data["LastSeq"].flatMap { $0.isNull ? nil : $0 } ?? .int(0)
        guard let base = last.seq, base == 0 || Ledger.seqs.contains(base) else {
            throw notOpened(number, "(its LastSeq cannot be one)")
        }
        ledger.rooms.append(Ledger.Room(id: id, name: name, members: list, base: base))
    }

    private func notOpened(_ number: Int, _ reason: String) -> Unusable {
        let left = cleanUp()
        return Unusable("room \(number + 1) was not opened \(reason)\(left.isEmpty ? "" : "; \(left)")")
    }

    /// Deletes the rooms, oldest first.
    ///
    /// - Returns: a sentence about what is left; empty when nothing is.
    func cleanUp() -> String {
        var left = 0
        caller.begin()
        for room in ledger.rooms where !options.keeps {
            guard caller.givenUp == nil else {
                left += 1
                continue
            }
            let reply = caller.repeating(5, pause: 2000) {
                caller.call("DELETE", "/rooms/\(room.id)", token: members[room.members[0]].user.token)
            }
            if !(200..<300).contains(reply.status), reply.status != 404 { left += 1 }
        }
        countCalls()
        if options.keeps { left = ledger.rooms.count }
        return left == 0
            ? "" : "\(left) room\(left == 1 ? "" : "s") named 'chat-load \(run) …' \(left == 1 ? "is" : "are") left"
    }

    /// The last check: the content of the history, and the messages that never came.
    func settle() -> Settlement {
        var result = Settlement()
        var found = [Bool](repeating: false, count: ledger.next)
        var unread: Set<Int> = []
        let unfinished = Set((ledger.first..<ledger.next).compactMap { ledger.message($0).map { Int($0.room) } })
        caller.begin()
        for room in ledger.rooms.indices where options.checksHistory || unfinished.contains(room) {
            result.roomsRead += 1
            if let problem = readHistory(room, &found, &result) {
                unread.insert(room)
                result.problems.append("the history of room \(ledger.rooms[room].id) could not be read: \(problem)")
            } else {
                lookForLost(room, found)
            }
        }
        countCalls()
        judge(found, unread, &result)
        return result
    }

    /// - Returns: the reason why a part of it was not read.
    private func readHistory(_ room: Int, _ found: inout [Bool], _ result: inout Settlement) -> String? {
        if let reason = caller.givenUp { return reason }
        let token = members[ledger.rooms[room].members[0]].user.token
        var after = ledger.rooms[room].base
        var isRead = false
        let reply = caller.repeating(20, pause: 2000) {
            let problem = caller.pages(
                ledger.rooms[room].id, token, after: after, through: ledger.lastPossible(room), isWhole: true
            ) { message in
                after = max(after, message.seq)
                guard let number = ledger.number(of: message.sign), number < ledger.next else { return }
                result.inHistory += 1
                look(at: message, number, room, isAgain: found[number])
                found[number] = true
            }
            isRead = problem == nil
            return problem ?? .problem("")
        }
        return isRead ? nil : reply.code
    }

    private func look(at message: RestThreads.Found, _ number: Int, _ room: Int, isAgain: Bool) {
        let place = "\(ledger.place(room, message.seq))"
        if isAgain { ledger.report(.doubled, "\(place), Sign \(message.sign) is in the history twice") }
        let index = message.seq - ledger.rooms[room].base - 1
        guard index < ledger.rooms[room].order.count else { return }
        let entry = ledger.rooms[room].order[Int(index)]
        if entry & Ledger.acknowledgedBit != 0, entry & ~Ledger.acknowledgedBit != UInt32(number + 1) {
            ledger.report(
                .altered, "\(place) is Sign \(message.sign) in the history, and another one was acknowledged")
        }
    }

    private func lookForLost(_ room: Int, _ found: [Bool]) {
        for (index, entry) in ledger.rooms[room].order.enumerated() where entry & Ledger.acknowledgedBit != 0 {
            let number = Int(entry & ~Ledger.acknowledgedBit) - 1
            guard number < found.count, !found[number] else { continue }
            let seq = ledger.rooms[room].base + 1 + Int64(index)
            ledger.report(
                .lost,
                "\(ledger.place(room, seq)), Sign \(ledger.sign(number)) was acknowledged and is not in the history")
        }
    }

    private func judge(_ found: [Bool], _ unread: Set<Int>, _ result: inout Settlement) {
        for number in ledger.first..<ledger.next {
            guard let message = ledger.message(number) else { continue }
            switch message.state {
            case .waiting: result.unsent += 1
            case .sent:
                if unread.contains(Int(message.room)) {
                    result.unknown += 1
                } else if found[number] {
                    result.stored += 1
                } else {
                    result.notStored += 1
                }
            case .refused: break
            case .acknowledged where message.missing > 0: missing(number, message, &result)
            case .acknowledged: break
            }
        }
        for member in members {
            for stream in member.streamsToCheck where stream.missing > 0 {
                ledger.report(
                    .hole,
                    "\(ledger.place(stream.room, stream.holes[0].lowerBound)) never came, to user \(member.shownID)",
                    times: stream.missing)
            }
        }
    }

    /// Counts an acknowledged message that a member lacks: lost, unless that member's socket did not come back.
    private func missing(_ number: Int, _ message: Ledger.Message, _ result: inout Settlement) {
        let lacking = ledger.rooms[Int(message.room)].members.filter { index in
            members[index].streams.contains { $0.room == Int(message.room) && $0.lacks(message.seq) }
        }
        // Nor is it lost while a `resync` is being answered.
        let isOnItsWay = ledger.rooms[Int(message.room)].members.contains { index in
            members[index].streams.contains { $0.room == Int(message.room) && $0.fetches > 0 }
        }
        if lacking.isEmpty ? isOnItsWay : lacking.allSatisfy({ members[$0].phase != .ready }) {
            result.undelivered += 1
            return
        }
        let to = lacking.first { members[$0].phase == .ready }.map { ", to user \(members[$0].shownID)" } ?? ""
        ledger.report(
            .lost,
            "\(ledger.place(Int(message.room), message.seq)), Sign \(ledger.sign(number)) was acknowledged and never came\(to)"
        )
    }
}

/// The findings at the end of a run.
struct Settlement {
    var roomsRead = 0
    var inHistory = 0
    /// Messages without an answer: in the history, not in it, or unknown because the history could not be read.
    var stored = 0, notStored = 0, unknown = 0
    var unanswered: Int { stored + notStored + unknown }
    /// Due, but the sender's socket did not come back in time.
    var unsent = 0
    /// Acknowledged messages that only members with a closed socket lack at the end.
    var undelivered = 0
    var problems: [String] = []
    var left = ""
}
