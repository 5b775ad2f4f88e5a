import ChatCore
import Logging

/// Handles the events of Redis and the results of look-ups.
extension Hub {
    func handle(_ event: FeedEvent) {
        switch event {
        case .message(let channel, let payload): received(payload, on: channel)
        case .subscribed(let channel): confirmed(channel)
        case .lost: log.warning("Redis is lost: sockets stay open, frames come late")
        case .restored: restored()
        case .regained(let channel): regained(channel)
        }
    }

    /// As ``restored()``, for one channel. Answers that the relay's own one has missed are lost, as in any outage.
    private func regained(_ channel: String) {
        switch ChannelName(channel) {
        case .room(let id): if let room = table[id] { rooms.restored(room) }
        case .user(let id): if let user = users.index(id) { users.restored(user) }
        case nil: break
        }
    }

    private func confirmed(_ channel: String) {
        switch ChannelName(channel) {
        case .room(let id): rooms.confirmed(id)
        case .user(let id): if let user = users.index(id) { users.confirmed(user) }
        case nil: break
        }
    }

    /// Frames may have been missed while Redis was away: every room catches up again, and every user's memberships are
    /// read again.
    private func restored() {
        log.notice("Redis is connected again", metadata: ["rooms": "\(table.count)", "users": "\(users.count)"])
        rooms.restored()
        users.restored()
    }

    private func received(_ payload: [UInt8], on channel: String) {
        do throws(WireError) {
            switch ChannelName(channel) {
            case .room: rooms.received(try FrameChunk.decode(payload))
            case .user(let id): if let user = users.index(id) { received(try UserEvent.decode(payload), user) }
            case nil: received(try RelayAnswer.decode(payload))
            }
        } catch {
            log.error("a message could not be read", metadata: ["channel": "\(channel)", "error": "\(error)"])
        }
    }

    private func received(_ answer: RelayAnswer) {
        if answer.socket == 0 { sawMarker() }
        // A client of a stream of events sends no requests.
        guard let slot = sockets.slot(ofSerial: answer.socket), !sockets[slot].getsEvents else { return }
        unanswered.removeAnswered(by: answer.frame, of: answer.socket)
        sockets.send(sockets.frames(for: sockets[slot].flags).whole(answer.frame), to: slot)
    }

    private func received(_ event: UserEvent, _ user: UInt32) {
        switch event {
        case .joined(let room, let seq, let created): rooms.joined(room, seq, created, user)
        case .presence(let isHidden): presence.hide(user, isHidden)
        case .blocked(let room, let isBlocked): users.block(room, isBlocked, user)
        case .probe: users.forEachConnection(of: user) { sockets.probe($0) }
        }
    }

    // MARK: Found

    func handle(_ found: Found) {
        lookups.answered(by: found)
        switch found {
        case .memberships(let user, let epoch, let list): self.found(list, user: user, epoch: epoch)
        case .frames(let room, _, let run, .room(let number)): self.found(run, room: room, fetch: number)
        case .frames(let room, _, let run, .socket(let handle)): resumes.found(run, room: room, handle: handle)
        case .room(let room, let message, let latent): requests.found(room, ofMessage: message, latent)
        case .ticket(let identity, let handle): self.found(identity, connection: handle)
        case .revocations(let all): revoke(admission.learn(all))
        case .failed(let lookup): failed(lookup)
        case .tooMany(let kind, let user, let wait): admission.close(kind, of: user, milliseconds: wait)
        case .refused(let unsent, let refusal): unsent.forEach { refuse($0, refusal) }
        }
    }

    /// The room's missing frames: users who waited for them are welcomed before anything newer is delivered.
    private func found(_ run: FrameRun, room id: UUID128, fetch number: UInt64) {
        guard let (room, waiters) = rooms.found(run, room: id, fetch: number) else { return }
        for user in waiters {
            users.waitsNoMore(user)
            becomeReadyIfDone(user)
        }
        rooms.goOn(room)
    }

    private func refuse(_ command: UnsentCommand, _ refusal: Refusal) {
        guard let slot = sockets.slot(ofSerial: command.socket) else { return }
        unanswered.remove(command.sign, of: command.socket, refusal: refusal.code.rawValue)
        sockets.refuse(refusal, sign: command.sign, to: slot)
    }

    private func failed(_ lookup: Lookup) {
        switch lookup {
        case .memberships(let id, let epoch): users.askFailed(id, epoch: epoch)
        case .frames(let id, _, _, _, .room(let number)): rooms.failed(room: id, fetch: number)
        case .frames(let id, _, _, _, .socket(let handle)): resumes.failed(room: id, handle: handle)
        case .room(_, let command):
            guard let slot = sockets.slot(ofSerial: command.socket) else { return }
            sockets.refuse(.unavailable("the store"), sign: command.sign, to: slot)
        case .ticket(_, let handle): couldNotRedeem(connection: handle)
        // The next request follows in half a second anyway.
        case .revocations: break
        case .learn: break
        }
    }

    // MARK: Revoked tokens

    /// Called twice a second. Only the store is asked: Redis could lose a notification.
    func askRevocations() { _ = lookups.ask(.revocations(since: admission.knowsRevocationsSince)) }

    /// Closes open sockets whose tokens were revoked.
    func revoke(_ news: [Revocation]) {
        for revocation in news {
            switch revocation.subject {
            case .user(let id, let before):
                guard let user = users.index(id) else { continue }
                users.forEachConnection(of: user) { if sockets[$0].issued < before { revoke($0) } }
            case .token(let id):
                let hash = fnv1a64(id.utf8)
                sockets.connections.forEach {
                    if sockets[$0].tokenID == hash, sockets[$0].user != noIndex { revoke($0) }
                }
            }
        }
    }

    private func revoke(_ slot: UInt32) { sockets.close(slot, .tokenExpired, "the token was revoked") }
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
