import ChatCore

/// Handles the requests of clients. The relay checks their form, not the rules: it forwards commands and answers only
/// its own requests (ping, typing, resume, auth).
final class Requests {
    struct Counters {
        var all = 0
        var typingDropped = 0
    }

    private let settings: RelaySettings
    private let relayID: UInt64
    private let clock: TickClock
    private let admission: Admission
    private let sockets: Sockets
    private let users: Users
    private let table: RoomTable
    private let resumes: Resumes
    private let unanswered: UnansweredCommands
    private let commands: any CommandOutlet
    private let lookups: SocketLookups
    private let ephemerals: any EphemeralOutlet
    private var typing = TypingLimit()
    private var messageRooms = MessageRooms()
    private(set) var counters = Counters()

    init(
        relayID: UInt64, _ sockets: Sockets, _ users: Users, _ table: RoomTable, _ resumes: Resumes,
        _ unanswered: UnansweredCommands, _ commands: any CommandOutlet, _ lookups: SocketLookups,
        _ ephemerals: any EphemeralOutlet
    ) {
        (settings, clock, admission) = (sockets.settings, sockets.clock, sockets.admission)
        (self.relayID, self.sockets, self.users, self.table, self.resumes) = (relayID, sockets, users, table, resumes)
        (self.unanswered, self.commands, self.lookups, self.ephemerals) = (unanswered, commands, lookups, ephemerals)
    }

    func everySecond() { typing.everySecond(now: clock.milliseconds) }

    func handle(_ bytes: [UInt8], isText: Bool, _ slot: UInt32) {
        guard isText == sockets[slot].flags.contains(.json) else {
            let wanted = isText ? "binary frames of MessagePack" : "text frames of JSON"
            return sockets.close(slot, .unsupportedData, "this socket takes \(wanted)")
        }
        counters.all += 1
        if sockets.isAdmitted(slot) {
            read(bytes, isText: isText, slot)
        } else if !sockets[slot].flags.contains(.closing) {
            refuseForRate(bytes, isText: isText, slot)
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
        sockets.refuse(
            Refusal(.rateLimited, "more than \(settings.rate) requests a second", retryAfter: 1), sign: sign, to: slot)
    }

    private func read(_ bytes: [UInt8], isText: Bool, _ slot: UInt32) {
        var sign: String?
        do throws(Refusal) {
            let request = try ChatRequest.parse(try decode(bytes, isText: isText), sign: &sign)
            try handle(request, sign, slot)
        } catch {
            sockets.refuse(error, sign: sign, to: slot)
        }
    }

    private func handle(_ request: ChatRequest, _ sign: String?, _ slot: UInt32) throws(Refusal) {
        if case .resume = request {} else { resumes.endHold(slot) }
        switch request {
        case .ping: sockets.reply(FrameBody { $0.null() }, .pong, sign: sign, to: slot)
        case .typing(let room): try type(in: room, slot)
        // An ack only proves that the client is alive.
        case .ack: showLife(slot)
        case .resume(let points):
            try count(rooms: points.count, slot)
            resumes.request(points, sign: sign, slot)
        case .auth(let token): try authenticate(token, sign, slot)
        case .message(let room?, _, let draft): try submit(.send(draft, receiver: nil), room, sign, slot)
        case .message(nil, let receiver, let draft):
            guard let receiver, let room = privateRoomID(users[sockets[slot].user].id, receiver.id) else {
                throw .invalid("ReceiverID", "is yourself")
            }
            // Nobody can leave a PRIVATE room: when its sender is not a member, this message creates it.
            if table[room]?.members.contains(sockets[slot].user) != true { try count(.rooms, slot) }
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
        let socket = sockets[slot].serial
        let command = Command(
            id: clock.newID(), room: room, actor: users[sockets[slot].user].id, sign: sign,
            origin: .socket(SocketAddress(relay: relayID, socket: socket)), acceptedAt: clock.unixMilliseconds,
            names: user.flatMap { user in user.externalID.map { [user.id: $0] } } ?? [:], action: action)
        let encoded = command.encode()
        guard commands.put(command, encoded: encoded, from: socket) else { throw .busy("too many commands wait") }
        unanswered.insert(sign, of: socket, command: encoded, traced: command)
    }

    /// Sends a dead relay's command again, whether it was forwarded or not: its id prevents a second effect.
    func resubmit(_ command: Command, of socket: UInt64) {
        guard let slot = sockets.slot(ofSerial: socket) else { return }
        let encoded = command.encode()
        guard commands.put(command, encoded: encoded, from: socket) else {
            return sockets.refuse(.busy("too many commands wait"), sign: command.sign, to: slot)
        }
        unanswered.insert(command.sign, of: socket, command: encoded, traced: command)
    }

    /// Counts against the user's limit over all sockets and programs; the socket's own limit was checked before.
    private func count(_ action: Command.Action, _ slot: UInt32) throws(Refusal) {
        if let kind = action.kind.rate { try count(kind, slot) }
    }

    private func count(_ kind: RateKind, _ slot: UInt32) throws(Refusal) {
        switch admission.take(kind, of: users[sockets[slot].user].id) {
        case .pass: return
        case .refuse(let wait): throw .tooMany(kind, milliseconds: wait)
        case .close(let wait):
            let refusal = Refusal.tooMany(kind, milliseconds: wait)
            sockets.close(slot, .policyViolation, refusal.message)
            throw refusal
        }
    }

    /// Each room of a `resume` counts as one request of the socket.
    private func count(rooms: Int, _ slot: UInt32) throws(Refusal) {
        guard rooms < 2 || sockets.takeMore(rooms - 1, slot) else {
            throw Refusal(.rateLimited, "more than \(settings.rate) rooms are resumed in a second", retryAfter: 1)
        }
    }

    private func submit(
        _ action: Command.Action, ofMessage message: UUID128, _ sign: String?, _ slot: UInt32
    ) throws(Refusal) {
        if let room = messageRooms[message] { return try submit(action, room, sign, slot) }
        // Count it before any look-up.
        try count(action, slot)
        let latent = LatentCommand(socket: sockets[slot].serial, sign: sign, action: action)
        guard lookups.ask(.room(ofMessage: message, latent)) else { throw .busy("too many look-ups wait") }
    }

    func found(_ room: UUID128?, ofMessage message: UUID128, _ latent: LatentCommand) {
        guard let slot = sockets.slot(ofSerial: latent.socket) else { return }
        guard let room else { return sockets.refuse(.messageNotFound, sign: latent.sign, to: slot) }
        messageRooms.remember(message, in: room)
        do {
            try submit(latent.action, room, latent.sign, slot, isCounted: true)
        } catch {
            sockets.refuse(error, sign: latent.sign, to: slot)
        }
    }

    // MARK: The relay's own

    /// Frames are dropped beyond the limit, and where the user may not post.
    private func type(in id: UUID128, _ slot: UInt32) throws(Refusal) {
        let user = sockets[slot].user
        guard let room = table[id], room.members.contains(user) else { throw .notAMember }
        guard !users[user].blocked.contains(id) else { return }
        let asker = users[user].id
        guard !users[user].silent.contains(id),
            typing.take(asker, in: id, members: room.members.count, now: clock.milliseconds)
        else { return counters.typingDropped += 1 }
        let body = FrameBody(room: id) {
            $0.map {
                $0.field("RoomID", id)
                $0.field("UserID", asker)
            }
        }
        ephemerals.publish(RoomFrame(seq: 0, kind: .typing, asker: asker, body: body), in: id)
    }

    /// The client has shown that it is alive.
    func showLife(_ slot: UInt32) {
        let user = sockets[slot].user
        if user != noIndex { ephemerals.noteLife(of: users[user].id, at: clock.unixMilliseconds) }
    }

    private func authenticate(_ token: String, _ sign: String?, _ slot: UInt32) throws(Refusal) {
        let identity = try admission.verify(token)
        guard identity.user == users[sockets[slot].user].id else {
            throw Refusal(.forbidden, "this token belongs to another user", field: "Token")
        }
        lookups.learn(identity)
        sockets.note(identity, slot)
        sockets.checkSoon(slot)
        sockets.reply(FrameBody { $0.null() }, sign: sign, to: slot)
    }
}
