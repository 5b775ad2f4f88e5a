import ChatCore
import Logging

/// Handles the events of Redis and the results of look-ups.
extension Hub {
    func handle(_ event: FeedEvent) {
        switch event {
        case .message(let channel, let payload): received(payload, on: channel)
        case .subscribed(let channel): confirmed(channel)
        case .lost: log.warning("the feed is lost: sockets stay, frames are late")
        case .restored: restored()
        }
    }

    private func confirmed(_ channel: String) {
        switch ChannelName(channel) {
        case .room(let id): if let room = rooms[id], room.stage == .subscribing { confirmed(room) }
        case .user(let id): if let user = users.index(id) { confirmed(user: user) }
        case nil: break
        }
    }

    /// Frames may have been missed while Redis was away: every room catches up again, and every user's memberships are
    /// read again.
    private func restored() {
        log.notice("the feed is back", metadata: ["rooms": "\(rooms.count)", "users": "\(users.count)"])
        for room in rooms.values {
            if room.stage == .subscribing { room.stage = .catchingUp }
            // A fetch in progress may have been answered before the loss.
            room.sequencer.fetchFailed()
            room.retryAt = now
            fetch(room)
        }
        users.forEach { user in
            if users[user].stage == .subscribing { users[user].stage = .loading }
            askMemberships(of: user)
        }
    }

    private func received(_ payload: [UInt8], on channel: String) {
        do throws(WireError) {
            switch ChannelName(channel) {
            case .room: received(try FrameChunk.decode(payload))
            case .user(let id): if let user = users.index(id) { received(try UserEvent.decode(payload), user) }
            case nil: received(try RelayAnswer.decode(payload))
            }
        } catch {
            log.error("an unreadable message", metadata: ["channel": "\(channel)", "error": "\(error)"])
        }
    }

    private func received(_ answer: RelayAnswer) {
        if answer.socket == 0 { markerSeen = true }
        // A client that gets events asks for nothing.
        guard let slot = slots[answer.socket], !connections[slot].getsEvents else { return }
        unanswered.removeAnswered(by: answer.frame, of: answer.socket)
        send(frames(for: connections[slot].flags).whole(answer.frame), to: slot)
    }

    private func received(_ event: UserEvent, _ user: UInt32) {
        switch event {
        case .joined(let room, let seq, let created): joined(room, seq, created, user)
        case .presence(let isHidden): presence(of: user, isHidden: isHidden)
        case .blocked(let room, true): users[user].blocked.insert(room)
        case .blocked(let room, false): users[user].blocked.remove(room)
        case .probe: probe(user)
        }
    }

    /// A tracked room learns of a later member from its own frames. Its first members join with its creation, for which
    /// no frame exists.
    private func joined(_ id: UUID128, _ seq: UInt64, _ created: FrameBody?, _ user: UInt32) {
        let room = rooms[id] ?? track(id, last: seq)
        // Its epoch is read with the memberships.
        if created == nil, room.members.isEmpty { reloads.insert(users[user].id) }
        let isNew = room.sequencer.last == seq && room.stage == .subscribing
        guard isNew || created != nil, room.changes.verdict(users[user].id, since: seq) != .left,
            add(user, to: room)
        else { return }
        guard let created else { return }
        users.forEachConnection(of: user, connections) { slot in
            guard connections[slot].flags.contains(.welcomed) else { return }
            place(slot, in: id, at: seq)
            reply(created, .roomUpdated, to: slot)
        }
    }

    // MARK: Found

    /// Asks, and counts the questions of sockets: a hand-over waits for their answers.
    func ask(_ lookup: Lookup) -> Bool {
        guard lookups.ask(lookup) else { return false }
        if lookup.isOfSocket { waitingLookups += 1 }
        return true
    }

    func handle(_ found: Found) {
        if found.answersSocket { waitingLookups -= 1 }
        switch found {
        case .memberships(let user, let epoch, let list): self.found(list, user: user, epoch: epoch)
        case .frames(let room, _, let run, .room(let number)): self.found(run, room: room, fetch: number)
        case .frames(let room, _, let run, .socket(let ticket)): self.found(run, room: room, ticket: ticket)
        case .room(let room, let message, let latent): self.found(room, ofMessage: message, latent)
        case .ticket(let identity, let ticket): self.found(identity, connection: ticket)
        case .revocations(let all): revoke(tokens.learn(all))
        case .failed(let lookup): failed(lookup)
        case .tooMany(let kind, let user, let wait): rates.close(kind, user, until: milliseconds + Int64(wait))
        case .refused(let unsent, let refusal):
            for command in unsent {
                guard let slot = slots[command.socket] else { continue }
                unanswered.remove(command.sign, of: command.socket, refusal: refusal.code.rawValue)
                refuse(refusal, sign: command.sign, to: slot)
            }
        }
    }

    func failed(_ lookup: Lookup) {
        switch lookup {
        // The timer repeats the request until the user's time is over.
        case .memberships(let id, let epoch):
            if let user = users.index(id), users[user].epoch == epoch { reloads.insert(id) }
        case .frames(let id, _, _, _, .room(let number)):
            if let room = rooms[id], room.fetch == number { fetchFailed(room) }
        case .frames(let id, _, _, _, .socket(let ticket)):
            giveUpResume(room: id, ticket: ticket)
            resumes.answered(for: ticket)
        case .room(_, let command):
            if let slot = slots[command.socket] { refuse(.unavailable("the store"), sign: command.sign, to: slot) }
        case .ticket(_, let ticket): couldNotRedeem(connection: ticket)
        // The next request follows in half a second anyway.
        case .revocations: break
        case .learn: break
        }
    }
}

/// The kind of channel that a name denotes; nil: the relay's own.
enum ChannelName {
    case room(UUID128)
    case user(UUID128)

    init?(_ channel: String) {
        // Both prefixes have five bytes.
        var channel = channel
        let parsed = channel.withUTF8 { utf8 -> (isRoom: Bool, id: UUID128)? in
            guard utf8.count == 41,
                let id = UUID128(utf8: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(utf8)[5...]))
            else { return nil }
            return (utf8[0] == UInt8(ascii: "r"), id)
        }
        guard let parsed else { return nil }
        self = parsed.isRoom ? .room(parsed.id) : .user(parsed.id)
    }
}
