import ChatCore

/// From the request's head to `welcome`: verify the token, subscribe to the user's channel, read the memberships, and
/// wait until every room has caught up to its newest frame. `welcome` is sent only then, so that the client misses
/// nothing after it.
extension Hub {
    /// Seconds from the upgrade to `welcome`.
    static let joiningLimit: UInt32 = 10

    func greet(_ slot: UInt32, _ chunk: UnsafeRawBufferPointer) {
        guard let state = slowIfAny(slot), state.head != nil else { return }
        switch state.head!.feed(chunk) {
        case .needsMore: return
        case .tooLarge: refuse(.malformed("the request's head is too large"), slot)
        case .head(let bytes, let rest):
            switch Visitor(bytes, origins: origins, deflates: deflate != nil) {
            case .health: answer(slot, HTTPRefusal.healthy)
            case .preflight(let bytes): answer(slot, bytes)
            case .refused(let refusal): refuse(refusal, slot)
            case .client(.events) where !rest.isEmpty: refuse(.malformed("bytes follow the request"), slot)
            case .client(let wish): admit(wish, slot, early: rest)
            }
        }
    }

    private func refuse(_ refusal: HTTPRefusal, _ slot: UInt32, for wish: Wish? = nil) {
        counters.refused += 1
        answer(slot, refusal.answer(requestID: newID().description, wish?.pageHeaders ?? []))
    }

    private func admit(_ wish: Wish, _ slot: UInt32, early: [UInt8]) {
        guard !isEnding else { return refuse(.unavailable(retryAfter: 1), slot, for: wish) }
        let limits = RateBucket.Limits(rate: Float(settings.handshakeRate), burst: Float(settings.handshakeRate * 4))
        guard case .pass = handshakes.take(now: UInt32(truncatingIfNeeded: milliseconds), limits: limits) else {
            // A random delay, so that not all clients return at once.
            return refuse(.unavailable(retryAfter: Int.random(in: 1...10)), slot, for: wish)
        }
        guard count(slot, from: wish.forwardedFor) else { return refuse(.tooMany(retryAfter: 30), slot, for: wish) }
        switch wish.credential {
        case .token(let token):
            do throws(Refusal) {
                admit(try tokens.verify(token), wish, slot, early: early)
            } catch {
                refuse(error.code == .unavailable ? .unavailable(retryAfter: 1) : .unauthorized, slot, for: wish)
            }
        case .ticket(let ticket): redeem(ticket, wish, slot, early: early)
        }
    }

    /// Redeems the ticket; the client's bytes are not read until the answer.
    private func redeem(_ ticket: String, _ wish: Wish, _ slot: UInt32, early: [UInt8]) {
        guard ask(.ticket(ticket, connection: connections.ticket(slot))) else {
            return refuse(.unavailable(retryAfter: 1), slot, for: wish)
        }
        let state = slowState(slot)
        (state.head, state.early, state.wish) = (nil, early, wish)
        connections[slot].flags.insert(.readPaused)
        watch(slot)
    }

    func found(_ identity: Identity?, connection ticket: UInt64) {
        guard let slot = connections.slot(ticket), let state = slowIfAny(slot), let wish = state.wish else {
            return
        }
        state.wish = nil
        guard !isEnding else { return refuse(.unavailable(retryAfter: 1), slot, for: wish) }
        guard let identity, identity.expiresAt > unixMilliseconds / 1000, (try? tokens.check(identity)) != nil else {
            return refuse(.unauthorized, slot, for: wish)
        }
        admit(identity, wish, slot, early: state.early)
    }

    func couldNotRedeem(connection ticket: UInt64) {
        guard let slot = connections.slot(ticket), let state = slowIfAny(slot), let wish = state.wish else { return }
        state.wish = nil
        refuse(.unavailable(retryAfter: 1), slot, for: wish)
    }

    private func admit(_ identity: Identity, _ wish: Wish, _ slot: UInt32, early: [UInt8]) {
        switch rates.take(.connections, identity.user, now: milliseconds) {
        case .pass: break
        case .refuse(let wait), .close(let wait):
            return refuse(.tooMany(retryAfter: (wait + 999) / 1000), slot, for: wish)
        }
        connections[slot].flags.remove(.greeting)
        connections[slot].flags.insert(.readPaused)
        connections[slot].serial = serial
        serial += 1
        note(identity, slot)
        switch wish {
        case .socket(let upgrade):
            if upgrade.subprotocol == .json { connections[slot].flags.insert(.json) }
            if upgrade.isDeflated { connections[slot].flags.insert(.deflated) }
            send(SharedFrame(whole: upgrade.answer), to: slot)
        case .events(let request): beginEvents(request, slot)
        }
        slots[connections[slot].serial] = slot
        let state = slowState(slot)
        (state.head, state.early) = (nil, early)
        dropSlowStateIfIdle(slot)
        watch(slot)
        join(identity.user, slot)
    }

    /// Keeps the token's end and the fields that a revocation names.
    func note(_ identity: Identity, _ slot: UInt32) {
        // Without an answer, and once a connection: should it be lost, the next one says it again.
        if let claims = UserClaims(identity) { _ = lookups.ask(.learn(claims)) }
        connections[slot].expires = UInt32(clamping: identity.expiresAt)
        connections[slot].issued = identity.issuedAt ?? 0
        connections[slot].tokenID = identity.tokenID.map { fnv1a64($0.utf8) } ?? 0
    }

    private func join(_ id: UUID128, _ slot: UInt32) {
        let deadline = now &+ Self.joiningLimit
        connections[slot].deadline = deadline
        guard let user = users.index(id) else {
            let user = users.open(id, deadline: deadline)
            users.attach(slot, to: user, connections)
            return feed.subscribe(BusChannel.user(id))
        }
        if users[user].connections >= settings.maxConnectionsPerUser { makeRoom(for: user) }
        users.attach(slot, to: user, connections)
        if users[user].stage == .ready { welcome(slot) }
    }

    /// Sockets that are being closed stay in the list until the end of the tick, but do not count.
    private func makeRoom(for user: UInt32) {
        var (oldest, open) = (noIndex, 0)
        users.forEachConnection(of: user, connections) { slot in
            guard !connections[slot].flags.contains(.closing) else { return }
            open += 1
            if oldest == noIndex || connections[slot].age < connections[oldest].age { oldest = slot }
        }
        if open >= settings.maxConnectionsPerUser {
            close(oldest, .replaced, "a newer connection of this user took this one's place")
        }
    }

    // MARK: The user's channel, the memberships

    func confirmed(user: UInt32) {
        switch users[user].stage {
        case .subscribing: users[user].stage = .loading
        // Taken over from a predecessor before the channel was subscribed here: rooms joined meanwhile must be found.
        case .ready: break
        case .loading, .joining: return
        }
        askMemberships(of: user)
    }

    func askMemberships(of user: UInt32) {
        users[user].epoch = nextEpoch()
        let lookup = Lookup.memberships(of: users[user].id, epoch: users[user].epoch)
        if !lookups.ask(lookup) { failed(lookup) }
    }

    func found(_ memberships: [Membership], user id: UUID128, epoch: UInt64) {
        guard let user = users.index(id), users[user].epoch == epoch else { return }
        let isReload = users[user].stage == .ready
        if !isReload { users[user].stage = .joining }
        users[user].hidesPresence = memberships.contains { $0.hidesPresence }
        users[user].blocked = Set(memberships.filter(\.isBlocked).map(\.room))
        users[user].silent = Set(memberships.filter { !$0.mayPost }.map(\.room))
        for membership in memberships where membership.isRoom && !enter(membership, user, isReload: isReload) {
            // The room's log of joins and leaves is too short to decide: read a newer list.
            return askMemberships(of: user)
        }
        becomeReadyIfDone(user)
    }

    /// Puts the user into a room, according to a list read at `membership.lastSeq`. False when that list is too old to
    /// decide.
    private func enter(_ membership: Membership, _ user: UInt32, isReload: Bool) -> Bool {
        guard let room = rooms[membership.room] else {
            let room = track(membership.room, last: membership.lastSeq)
            room.epoch = membership.epoch
            add(user, to: room)
            wait(for: room, user)
            if isReload { tellResync(room, to: user) }
            return true
        }
        if membership.epoch > room.epoch {
            room.epoch = membership.epoch
            for member in room.members where users[member].stage == .ready { tellResync(room, to: member) }
        }
        if membership.lastSeq < room.sequencer.last {
            switch room.changes.verdict(users[user].id, since: membership.lastSeq) {
            case .left: return true
            case .unknown: return false
            case .joined, .unchanged: break
            }
        } else {
            expect(membership.lastSeq, in: room)
        }
        if add(user, to: room), isReload { tellResync(room, to: user) }
        wait(for: room, user)
        return true
    }

    private func wait(for room: TrackedRoom, _ user: UInt32) {
        guard room.stage != .live, users[user].stage != .ready, !room.waiters.contains(user) else { return }
        room.waiters.append(user)
        users[user].waiting += 1
    }

    /// The room has caught up.
    func release(_ room: TrackedRoom) {
        let waiters = room.waiters
        room.waiters = []
        for user in waiters {
            users[user].waiting -= 1
            becomeReadyIfDone(user)
        }
    }

    private func becomeReadyIfDone(_ user: UInt32) {
        guard users[user].stage == .joining, users[user].waiting == 0 else { return }
        users[user].stage = .ready
        arrived(user)
        users.forEachConnection(of: user, connections) { welcome($0) }
    }

    // MARK: Welcome

    func welcome(_ slot: UInt32) {
        guard connections[slot].flags.isDisjoint(with: [.closing, .welcomed]) else { return }
        connections[slot].flags.insert([.welcomed, .fresh])
        connections[slot].flags.remove(.readPaused)
        connections[slot].heard = now
        connections[slot].deadline = now
        watch(slot)
        if connections[slot].getsEvents { return welcomeToEvents(slot) }
        reply(welcomeBody(slot), .welcome, to: slot)
        hold(slot)
        guard let state = slowIfAny(slot) else { return }
        var early = state.early
        state.early = []
        early.withUnsafeMutableBytes { read($0, from: slot) }
    }

    /// - Parameter isResumed: of a stream of events.
    func welcomeBody(_ slot: UInt32, isResumed: Bool? = nil) -> FrameBody {
        FrameBody {
            $0.map {
                $0.field("Resumed", ifAny: isResumed)
                $0.field("UserID", users[connections[slot].user].id)
                $0.field("ConnectionID", newID())
                $0.field("Heartbeat", settings.heartbeat)
                $0.map("Limits") {
                    $0.field("MaxFrame", settings.maxFrame)
                    $0.field("MaxContent", RequestLimit.content)
                    $0.field("Rate", settings.rate)
                    $0.field("Burst", settings.burst)
                    $0.field("ResumeFrames", Self.resumeLimit)
                }
            }
        }
    }

    // MARK: Leaving

    /// Removes the socket from its user; the last one removes the user. Only `reap` may call it, because it changes
    /// lists that other code iterates. A second call does nothing.
    func leave(_ slot: UInt32) {
        uncount(slot)
        slots[connections[slot].serial] = nil
        unanswered.forget(connections[slot].serial)
        if connections[slot].flags.contains(.closing) { forgetResumes(of: slot) }
        let user = connections[slot].user
        guard user != noIndex else { return }
        users.detach(slot, connections)
        if users[user].connections == 0 { drop(user) }
    }

    private func drop(_ user: UInt32) {
        let entry = users[user]
        if entry.stage == .ready { departed(entry.id, presenceRooms(of: user)) }
        for room in entry.rooms {
            room.remove(user)
            room.waiters.removeAll { $0 == user }
            // Sockets of other users, who have left the room, may still wait for earlier frames.
            room.resumes.removeAll { connections.slot($0.ticket) == nil }
            if room.isOver { untrack(room) }
        }
        feed.unsubscribe(BusChannel.user(entry.id))
        users.close(user)
    }
}
