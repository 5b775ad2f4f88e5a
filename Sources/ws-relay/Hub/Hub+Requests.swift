import ChatCore

/// Handles the requests of clients. The relay checks their form, not the rules: it forwards commands and answers only
/// its own requests (ping, typing, resume, auth).
extension Hub {
    /// The number of messages whose rooms are cached; above it the cache is emptied.
    private static let rememberedMessages = 10_000
    /// `typingMembers`: a room with more members here gets no typing frames. `typingRate`: typing frames per second of
    /// all users, and `typingRateOfUser` of one, who types in a few rooms at most.
    private static let typingMembers = 256
    static let typingRate = 2000
    private static let typingRateOfUser = 10

    func request(_ bytes: [UInt8], isText: Bool, _ slot: UInt32) {
        guard isText == connections[slot].flags.contains(.json) else {
            let wanted = isText ? "binary frames of MessagePack" : "text frames of JSON"
            return close(slot, .unsupportedData, "this socket takes \(wanted)")
        }
        counters.requests += 1
        if isAdmitted(slot) {
            read(bytes, isText: isText, slot)
        } else if !connections[slot].flags.contains(.closing) {
            refuseForRate(bytes, isText: isText, slot)
        }
    }

    /// Checks the socket's rate limit. A client that goes far beyond it and ignores the refusals is closed.
    func isAdmitted(_ slot: UInt32) -> Bool {
        let limits = RateBucket.Limits(rate: Float(settings.rate), burst: Float(settings.burst))
        switch connections[slot].bucket.take(now: UInt32(truncatingIfNeeded: milliseconds), limits: limits) {
        case .pass: return true
        case .refuse: return false
        case .close:
            close(slot, .policyViolation, "too many requests for too long")
            return false
        }
    }

    private func decode(_ bytes: [UInt8], isText: Bool) throws(Refusal) -> WireValue {
        do throws(WireError) {
            return isText ? try JSONReader.decode(bytes) : try MessagePackReader.decode(bytes)
        } catch {
            throw Refusal(.malformed, error.description)
        }
    }

    private func refuseForRate(_ bytes: [UInt8], isText: Bool, _ slot: UInt32) {
        var sign: String?
        if let value = try? decode(bytes, isText: isText) { _ = try? ChatRequest.parse(value, sign: &sign) }
        refuse(
            Refusal(.rateLimited, "more than \(settings.rate) requests a second", retryAfter: 1), sign: sign, to: slot)
    }

    private func read(_ bytes: [UInt8], isText: Bool, _ slot: UInt32) {
        var sign: String?
        do throws(Refusal) {
            let request = try ChatRequest.parse(try decode(bytes, isText: isText), sign: &sign)
            try handle(request, sign, slot)
        } catch {
            refuse(error, sign: sign, to: slot)
        }
    }

    private func handle(_ request: ChatRequest, _ sign: String?, _ slot: UInt32) throws(Refusal) {
        if case .resume = request {} else { endHold(slot) }
        switch request {
        case .ping: reply(FrameBody { $0.null() }, .pong, sign: sign, to: slot)
        case .typing(let room): try type(in: room, slot)
        // An ack only proves that the client is alive.
        case .ack: showLife(slot)
        case .resume(let points):
            try count(rooms: points.count, slot)
            resume(points, sign: sign, slot)
        case .auth(let token): try authenticate(token, sign, slot)
        case .message(let room?, _, let draft): try submit(.send(draft, receiver: nil), room, sign, slot)
        case .message(nil, let receiver, let draft):
            guard let receiver, let room = privateRoomID(users[connections[slot].user].id, receiver.id) else {
                throw .invalid("ReceiverID", "is yourself")
            }
            // Nobody can leave a PRIVATE room: when its sender is not a member, this message creates it.
            if rooms[room]?.members.contains(connections[slot].user) != true { try count(.rooms, slot) }
            try submit(.send(draft, receiver: receiver.id), room, sign, slot, naming: receiver)
        case .seen(let room, let seq): try submit(.seen(seq: seq), room, sign, slot)
        case .edit(let edit, let message): try submit(edit, ofMessage: message, sign, slot)
        case .delete(let message): try submit(.delete(message: message), ofMessage: message, sign, slot)
        case .react(let message, let reaction, let remove):
            try submit(.react(message: message, reaction: reaction, remove: remove), ofMessage: message, sign, slot)
        }
    }

    // MARK: Commands

    private func submit(
        _ action: Command.Action, _ room: UUID128, _ sign: String?, _ slot: UInt32, isCounted: Bool = false,
        naming user: HostUser? = nil
    ) throws(Refusal) {
        if !isCounted { try count(action, slot) }
        let socket = connections[slot].serial
        let command = Command(
            id: newID(), room: room, actor: users[connections[slot].user].id, sign: sign,
            origin: .socket(SocketAddress(relay: relayID, socket: socket)), acceptedAt: unixMilliseconds,
            names: user.flatMap { user in user.externalID.map { [user.id: $0] } } ?? [:], action: action)
        let encoded = command.encode()
        guard commands.put(command, encoded: encoded, from: socket) else { throw .busy("too many commands wait") }
        unanswered.insert(sign, of: socket, command: encoded, traced: command)
    }

    /// Sends a dead relay's command again, whether it was forwarded or not: its id prevents a second effect.
    func resubmit(_ command: Command, of socket: UInt64) {
        guard let slot = slots[socket] else { return }
        let encoded = command.encode()
        guard commands.put(command, encoded: encoded, from: socket) else {
            return refuse(.busy("too many commands wait"), sign: command.sign, to: slot)
        }
        unanswered.insert(command.sign, of: socket, command: encoded, traced: command)
    }

    /// Counts against the user's limit over all sockets and programs; the socket's own limit was checked before.
    private func count(_ action: Command.Action, _ slot: UInt32) throws(Refusal) {
        if let kind = action.kind.rate { try count(kind, slot) }
    }

    private func count(_ kind: RateKind, _ slot: UInt32) throws(Refusal) {
        switch rates.take(kind, users[connections[slot].user].id, now: milliseconds) {
        case .pass: return
        case .refuse(let wait): throw .tooMany(kind, milliseconds: wait)
        case .close(let wait):
            let refusal = Refusal.tooMany(kind, milliseconds: wait)
            close(slot, .policyViolation, refusal.message)
            throw refusal
        }
    }

    /// Each room of a `resume` counts as one request of the socket.
    private func count(rooms: Int, _ slot: UInt32) throws(Refusal) {
        let limits = RateBucket.Limits(rate: Float(settings.rate), burst: Float(settings.burst))
        guard rooms < 2 || connections[slot].bucket.takeMore(rooms - 1, limits: limits) else {
            throw Refusal(.rateLimited, "more than \(settings.rate) rooms are resumed in a second", retryAfter: 1)
        }
    }

    private func submit(
        _ action: Command.Action, ofMessage message: UUID128, _ sign: String?, _ slot: UInt32
    ) throws(Refusal) {
        if let room = messageRooms[message] { return try submit(action, room, sign, slot) }
        // Count it before any look-up.
        try count(action, slot)
        let latent = LatentCommand(socket: connections[slot].serial, sign: sign, action: action)
        guard ask(.room(ofMessage: message, latent)) else { throw .busy("too many look-ups wait") }
    }

    func found(_ room: UUID128?, ofMessage message: UUID128, _ latent: LatentCommand) {
        guard let slot = slots[latent.socket] else { return }
        guard let room else { return refuse(.messageNotFound, sign: latent.sign, to: slot) }
        if messageRooms.count >= Self.rememberedMessages { messageRooms.removeAll(keepingCapacity: true) }
        messageRooms[message] = room
        do {
            try submit(latent.action, room, latent.sign, slot, isCounted: true)
        } catch {
            refuse(error, sign: latent.sign, to: slot)
        }
    }

    // MARK: The relay's own

    private func type(in id: UUID128, _ slot: UInt32) throws(Refusal) {
        let user = connections[slot].user
        guard let room = rooms[id], room.members.contains(user) else { throw .notAMember }
        guard !users[user].blocked.contains(id) else { return }
        guard mayType(user, in: room) else { return counters.typingDropped += 1 }
        let body = FrameBody(room: id) {
            $0.map {
                $0.field("RoomID", id)
                $0.field("UserID", users[user].id)
            }
        }
        ephemerals.publish(RoomFrame(seq: 0, kind: .typing, asker: users[user].id, body: body), in: id)
    }

    /// At most one typing frame a second per user and room, in rooms of bounded size, within the user's and this relay's
    /// total, and only where the user may post. Further ones are dropped: late typing is useless.
    private func mayType(_ user: UInt32, in room: TrackedRoom) -> Bool {
        let key = TypingKey(user: users[user].id, room: room.id)
        let own = typedByUser[key.user] ?? 0
        guard room.members.count <= Self.typingMembers, !users[user].silent.contains(room.id), typingBudget > 0,
            own < Self.typingRateOfUser, milliseconds - (typed[key] ?? 0) >= 1000
        else { return false }
        typed[key] = milliseconds
        typedByUser[key.user] = own + 1
        typingBudget -= 1
        return true
    }

    /// Once a second.
    func forgetTyping() {
        typingBudget = Self.typingRate
        typedByUser.removeAll(keepingCapacity: true)
        typed = typed.filter { milliseconds - $0.value < 1000 }
    }

    private func authenticate(_ token: String, _ sign: String?, _ slot: UInt32) throws(Refusal) {
        let identity = try tokens.verify(token)
        guard identity.user == users[connections[slot].user].id else {
            throw Refusal(.forbidden, "this token is another user's", field: "Token")
        }
        note(identity, slot)
        connections[slot].deadline = now
        reply(FrameBody { $0.null() }, sign: sign, to: slot)
    }
}

struct TypingKey: Hashable {
    var user: UUID128
    var room: UUID128
}
