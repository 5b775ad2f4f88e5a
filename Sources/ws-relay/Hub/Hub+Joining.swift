import ChatCore

/// From the request's head to `welcome`: verify the token, subscribe to the user's channel, read the memberships, and
/// wait until every room has caught up to its newest frame. `welcome` is sent only then, so that the client misses
/// nothing after it. The stages are drawn at `Sockets`, `Users` and `TrackedRoom`.
extension Hub {
    func greet(_ slot: UInt32, _ chunk: UnsafeRawBufferPointer) {
        switch sockets.greet(slot, chunk) {
        case nil: return
        case .tooLarge: sockets.refuse(.malformed("the request's head is too large"), slot)
        case .head(let bytes, let rest):
            switch Visitor(bytes, origins: admission.origins, deflates: sockets.deflates) {
            case .health: sockets.answer(slot, HTTPRefusal.healthy)
            case .readiness where isEnding || isDraining: sockets.answer(slot, HTTPRefusal.draining)
            case .readiness: sockets.answer(slot, HTTPRefusal.healthy)
            case .preflight(let bytes): sockets.answer(slot, bytes)
            case .refused(let refusal): sockets.refuse(refusal, slot)
            case .client(.events) where !rest.isEmpty: sockets.refuse(.malformed("bytes follow the request"), slot)
            case .client(let wish): admit(wish, slot, early: rest)
            }
        }
    }

    private func refuse(_ refusal: HTTPRefusal, _ slot: UInt32, _ wish: Wish) {
        sockets.refuse(refusal, slot, wish.pageHeaders)
    }

    /// With 503 nginx asks the next host: see `--hosts` of `fcgi-api nginx-config`.
    private var away: HTTPRefusal { .unavailable(retryAfter: isDraining ? Int.random(in: 1...5) : 1) }

    private func admit(_ wish: Wish, _ slot: UInt32, early: [UInt8]) {
        guard !isEnding, !isDraining else { return refuse(away, slot, wish) }
        guard admission.mayShakeHands() else {
            // A random delay, so that not all clients return at once.
            return refuse(.unavailable(retryAfter: Int.random(in: 1...10)), slot, wish)
        }
        guard sockets.count(slot, from: wish.forwardedFor) else { return refuse(.tooMany(retryAfter: 30), slot, wish) }
        switch wish.credential {
        case .token(let token):
            do throws(Refusal) {
                admit(try admission.verify(token), wish, slot, early: early)
            } catch {
                refuse(error.code == .unavailable ? .unavailable(retryAfter: 1) : .unauthorized, slot, wish)
            }
        case .ticket(let ticket):
            guard lookups.ask(.ticket(ticket, connection: sockets.connections.handle(slot))) else {
                return refuse(.unavailable(retryAfter: 1), slot, wish)
            }
            sockets.awaitTicket(slot, wish, early: early)
        }
    }

    func found(_ identity: Identity?, connection handle: UInt64) {
        guard let (slot, wish, early) = sockets.takeWish(of: handle) else { return }
        guard !isEnding, !isDraining else { return refuse(away, slot, wish) }
        guard let identity, admission.isValid(identity) else { return refuse(.unauthorized, slot, wish) }
        admit(identity, wish, slot, early: early)
    }

    func couldNotRedeem(connection handle: UInt64) {
        guard let (slot, wish, _) = sockets.takeWish(of: handle) else { return }
        refuse(.unavailable(retryAfter: 1), slot, wish)
    }

    private func admit(_ identity: Identity, _ wish: Wish, _ slot: UInt32, early: [UInt8]) {
        switch admission.take(.connections, of: identity.user) {
        case .pass: break
        case .refuse(let wait), .close(let wait): return refuse(.tooMany(retryAfter: (wait + 999) / 1000), slot, wish)
        }
        lookups.learn(identity)
        sockets.open(slot, wish, identity, early: early)
        join(identity.user, slot)
    }

    private func join(_ id: UUID128, _ slot: UInt32) {
        guard let user = users.index(id) else {
            users.attach(slot, to: users.open(id))
            return feed.subscribe(BusChannel.user(id))
        }
        if users[user].connections >= settings.maxConnectionsPerUser { makeRoom(for: user) }
        users.attach(slot, to: user)
        if users[user].stage == .ready { welcome(slot) }
    }

    /// Sockets that were told to move do not count: the client opens the next one first. Together they are at most twice as
    /// many, since a drain may begin and stop often.
    private func makeRoom(for user: UInt32) {
        let limit = settings.maxConnectionsPerUser
        close(user, limit) { moves.hasTold(sockets.connections.handle($0)) }
        close(user, 2 * limit) { _ in false }
    }

    /// Closes the oldest until one more may come.
    private func close(_ user: UInt32, _ limit: Int, except isExempt: (UInt32) -> Bool) {
        while true {
            let (oldest, open) = users.oldestConnection(of: user, except: isExempt)
            guard open >= limit else { return }
            sockets.close(oldest, .replaced, "a newer connection of this user took this one's place")
        }
    }

    // MARK: Memberships

    func found(_ memberships: [Membership], user id: UUID128, epoch: UInt64) {
        guard let user = users.received(memberships, of: id, epoch: epoch) else { return }
        let isReload = users[user].stage == .ready
        for membership in memberships where membership.isRoom {
            // The room's log of joins and leaves is too short to decide: read a newer list.
            guard rooms.enter(membership, user, isReload: isReload) else { return users.ask(user) }
        }
        becomeReadyIfDone(user)
    }

    func becomeReadyIfDone(_ user: UInt32) {
        guard users.becomeReady(user) else { return }
        presence.arrived(user)
        users.forEachConnection(of: user) { welcome($0) }
    }

    // MARK: Welcome

    func welcome(_ slot: UInt32) {
        guard sockets.welcome(slot) else { return }
        ephemerals.noteConnect(of: users[sockets[slot].user].id, at: clock.unixMilliseconds)
        if sockets[slot].getsEvents { return welcomeToEvents(slot) }
        sockets.reply(welcomeBody(slot), .welcome, to: slot)
        holds.begin(slot)
        var early = sockets.takeEarly(slot)
        if !early.isEmpty { early.withUnsafeMutableBytes { read($0, from: slot) } }
    }

    /// - Parameter isResumed: only for streams of events; nil: a WebSocket.
    private func welcomeBody(_ slot: UInt32, isResumed: Bool? = nil) -> FrameBody {
        FrameBody {
            $0.map {
                $0.field("Resumed", ifAny: isResumed)
                $0.field("UserID", users[sockets[slot].user].id)
                $0.field("ConnectionID", clock.newID())
                $0.field("Heartbeat", settings.heartbeat.seconds)
                $0.map("Limits") {
                    $0.field("MaxFrame", settings.maxFrame)
                    $0.field("MaxContent", RequestLimit.content)
                    $0.field("Rate", settings.rate)
                    $0.field("Burst", settings.burst)
                    $0.field("ResumeFrames", Resumes.maxFrames)
                }
            }
        }
    }

    // MARK: Streams of events

    /// Up to this many rooms that an id does not name get a `resync` each; with more, fetching all rooms costs less.
    private static let maxUnnamed = 32

    /// The client's position is known, so missed frames are sent at once: no frames have to be held for a `resume`.
    private func welcomeToEvents(_ slot: UInt32) {
        guard let stream = sockets.streams[slot] else { return }
        if let poll = stream.poll { stream.poll?.until = clock.second &+ poll.wait }
        let rooms = users[sockets[slot].user].rooms
        let fits = rooms.count <= EventCursor.maxRooms
        // A stream of such a user begins anew each time. A poll could not make progress, so it is refused.
        guard fits || stream.poll == nil else {
            let refusal = HTTPRefusal.tooManyRooms.answer(requestID: clock.newID().description, stream.pageHeaders)
            return sockets.answer(slot, refusal)
        }
        stream.isMoved = true
        let (points, unnamed) = stream.isResumed && fits ? Self.places(of: stream.cursor, in: rooms) : ([], [])
        guard stream.isResumed, fits, unnamed.count <= Self.maxUnnamed else {
            stream.cursor = EventCursor(
                places: fits ? rooms.map { .init($0.id, $0.sequencer.last, epoch: $0.epoch) } : [])
            return sockets.reply(welcomeBody(slot, isResumed: false), .welcome, to: slot)
        }
        stream.cursor.keep(only: Set(rooms.map { EventCursor.key($0.id) }))
        if stream.poll == nil { sockets.reply(welcomeBody(slot, isResumed: true), .welcome, to: slot) }
        for room in unnamed { resumes.sendResync(room, to: slot) }
        resumes.request(points, sign: nil, slot)
    }

    /// The client's position in the rooms that the cursor names, and the rooms that it does not name.
    private static func places(
        of cursor: EventCursor, in rooms: [TrackedRoom]
    ) -> (points: [ResumePoint], unnamed: [TrackedRoom]) {
        let places = Dictionary(uniqueKeysWithValues: cursor.places.map { ($0.key, $0.point) })
        var (points, unnamed): ([ResumePoint], [TrackedRoom]) = ([], [])
        for room in rooms {
            if let point = places[EventCursor.key(room.id)] {
                points.append(ResumePoint(room: room.id, seq: point.seq, epoch: point.epoch))
            } else {
                unnamed.append(room)
            }
        }
        return (points, unnamed)
    }
}
