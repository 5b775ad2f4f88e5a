// The format of commands on the broker. One AMQP body is a MessagePack array of commands of one queue; each command is
// an array with fixed positions, so that a relay encodes each once and joins those of one tick.

extension Command {
    private static let version: Int64 = 1

    /// Encodes one command for ``joined(_:)``. The reply address is not part of it: it travels in the AMQP properties.
    public func encode() -> [UInt8] {
        var socket: SocketAddress?
        if case .socket(let address) = origin { socket = address }
        var writer = MessagePackWriter(reserving: 256)
        writer.record {
            $0.add(Self.version, id, room, actor, sign)
            $0.add(socket.map { Int64(bitPattern: $0.relay) }, socket.map { Int64(bitPattern: $0.socket) })
            $0.add(requestID, acceptedAt)
            action.describe(to: &$0)
            // Older programs ignore the fields from here on, and refuse a null: a field is written whenever a later one
            // is.
            let count = trace != nil ? 4 : digest != nil ? 3 : !names.isEmpty ? 2 : isHost ? 1 : 0
            if count > 0 { $0.add(isHost) }
            if count > 1 { $0.add(names) }
            // A missing digest is written as zero, which no request has.
            if count > 2 { $0.add(digest ?? .zero) }
            if let trace { $0.add(trace) }
        }
        return writer.bytes
    }

    /// A whole AMQP body with this one command.
    public var joinedAlone: [UInt8] { Self.joined([encode()]) }

    public static func joined(_ commands: [[UInt8]]) -> [UInt8] {
        var writer = MessagePackWriter(reserving: commands.reduce(8) { $0 + $1.count })
        writer.beginArray(commands.count)
        for command in commands { writer.bytes.append(contentsOf: command) }
        return writer.bytes
    }

    /// Reads a whole AMQP body. `reply` is the origin given by its properties.
    public static func decodeAll(_ body: [UInt8], reply: CommandOrigin = .nobody) throws(WireError) -> [Command] {
        guard case .array(let items) = try MessagePackReader.decode(body) else {
            throw WireError("the body is not an array of commands", at: 0)
        }
        var commands: [Command] = []
        for item in items {
            var fields = RecordFields(item)
            commands.append(try Command(&fields, reply: reply))
        }
        return commands
    }

    private init(_ fields: inout RecordFields, reply: CommandOrigin) throws(WireError) {
        guard try fields.next() == Self.version else { throw WireError("a command of an unknown version", at: 0) }
        let (id, room, actor): (UUID128, UUID128, UUID128) = (try fields.next(), try fields.next(), try fields.next())
        let sign: String? = try fields.next()
        guard (sign?.utf8.count ?? 0) <= RequestLimit.sign else {
            throw WireError("a command's Sign is too long", at: 0)
        }
        let (relay, socket): (Int64?, Int64?) = (try fields.next(), try fields.next())
        var origin = reply
        if let relay, let socket {
            origin = .socket(SocketAddress(relay: UInt64(bitPattern: relay), socket: UInt64(bitPattern: socket)))
        }
        self.init(
            id: id, room: room, actor: actor, sign: sign, origin: origin, requestID: try fields.next(),
            acceptedAt: try fields.number(in: 0...lastTime),
            action: try Action(number: try fields.next(), try fields.record()))
        isHost = try fields.nextIfAny() ?? false
        names = try fields.nextIfAny() ?? [:]
        digest = try fields.nextIfAny().flatMap { $0 == .zero ? nil : $0 }
        trace = try fields.nextIfAny()
    }
}

extension Command.Action {
    public var kind: Command.Kind {
        var form = KindAlone()
        describe(to: &form)
        return form.kind
    }

    // The fields of each command: written first, read below in the same order. A new field is the last one, and is read
    // by `nextOrNil`, since commands of the last release wait in the queues. Those with many fields have functions of
    // their own, in pairs, at the end of this file.

    fileprivate func describe<F: ActionForm>(to form: inout F) {
        switch self {
        case .send(let draft, let receiver): form.put(.send) { $0.send(draft, receiver) }
        case .seen(let seq): form.put(.seen) { $0.add(seq) }
        case .edit(let id, let text, let base, let metadata): form.put(.edit) { $0.edit(id, text, base, metadata) }
        case .delete(let message): form.put(.delete) { $0.add(message) }
        case .react(let message, let reaction, let remove): form.put(.react) { $0.add(message, reaction, remove) }
        case .createRoom(let room): form.put(.createRoom) { $0.createRoom(room) }
        case .updateRoom(let room): form.put(.updateRoom) { $0.updateRoom(room) }
        case .deleteRoom: form.put(.deleteRoom) { _ in }
        case .addMembers(let users): form.put(.addMembers) { $0.add(users) }
        case .removeMember(let user): form.put(.removeMember) { $0.add(user) }
        case .setRole(let user, let role): form.put(.setRole) { $0.add(user, role) }
        case .mute(let user, let until): form.put(.mute) { $0.add(user, until) }
        case .ban(let user, let banned): form.put(.ban) { $0.add(user, banned) }
        case .completeFile(let message, let file): form.put(.completeFile) { $0.file(file, of: message) }
        case .abandonFile(let message): form.put(.abandonFile) { $0.add(message) }
        case .describeFile(let message, let file): form.put(.describeFile) { $0.file(file, of: message) }
        case .pin(let message, let pinned): form.put(.pin) { $0.add(message, pinned) }
        case .createInvitation(let draft): form.put(.createInvitation) { $0.invitation(draft) }
        case .revokeInvitation(let id): form.put(.revokeInvitation) { $0.add(id) }
        case .join(let id): form.put(.join) { $0.add(id) }
        case .messageMetadata(let message, let patch): form.put(.messageMetadata) { $0.add(message, patch) }
        case .memberMetadata(let user, let patch): form.put(.memberMetadata) { $0.add(user, patch) }
        case .announce(let content): form.put(.announce) { $0.add(content) }
        case .erase(let user): form.put(.erase) { $0.add(user) }
        case .purge(let before): form.put(.purge) { $0.add(before) }
        }
    }

    fileprivate init(number: Int64, _ values: RecordFields) throws(WireError) {
        guard let kind = Command.Kind(rawValue: number) else { throw WireError("a command of an unknown kind", at: 0) }
        var fields = values
        switch kind {
        case .send: self = try fields.send()
        case .seen: self = .seen(seq: try fields.next())
        case .edit: self = try fields.edit()
        case .delete: self = .delete(message: try fields.next())
        case .react: self = .react(message: try fields.next(), reaction: try fields.next(), remove: try fields.next())
        case .createRoom: self = .createRoom(try fields.createRoom())
        case .updateRoom: self = .updateRoom(try fields.updateRoom())
        case .deleteRoom: self = .deleteRoom
        case .addMembers: self = .addMembers(try fields.next())
        case .removeMember: self = .removeMember(try fields.next())
        case .setRole: self = .setRole(user: try fields.next(), role: try fields.next())
        case .mute: self = .mute(user: try fields.next(), until: try fields.next())
        case .ban: self = .ban(user: try fields.next(), banned: try fields.next())
        case .completeFile: self = .completeFile(message: try fields.next(), file: try fields.file())
        case .abandonFile: self = .abandonFile(message: try fields.next())
        case .describeFile: self = .describeFile(message: try fields.next(), file: try fields.file())
        case .pin: self = .pin(message: try fields.next(), pinned: try fields.next())
        case .createInvitation: self = .createInvitation(try fields.invitation())
        case .revokeInvitation: self = .revokeInvitation(try fields.next())
        case .join: self = .join(invitation: try fields.next())
        case .messageMetadata: self = .messageMetadata(message: try fields.next(), try fields.next())
        case .memberMetadata: self = .memberMetadata(user: try fields.next(), try fields.next())
        case .announce: self = .announce(try fields.next())
        case .erase: self = .erase(user: try fields.next())
        case .purge: self = .purge(before: try fields.next())
        }
    }
}

/// Takes a command's kind and its fields.
private protocol ActionForm {
    mutating func put(_ kind: Command.Kind, _ fields: (inout MessagePackWriter) -> Void)
}

private struct KindAlone: ActionForm {
    var kind = Command.Kind.seen
    mutating func put(_ kind: Command.Kind, _: (inout MessagePackWriter) -> Void) { self.kind = kind }
}

extension MessagePackWriter: ActionForm {
    @inline(__always)
    fileprivate mutating func put(_ kind: Command.Kind, _ fields: (inout MessagePackWriter) -> Void) {
        add(kind.rawValue)
        addRecord(fields)
    }
}

// MARK: Commands with many fields

extension MessagePackWriter {
    fileprivate mutating func send(_ draft: MessageDraft, _ receiver: UUID128?) {
        add(draft.content, draft.contentType, draft.messageType, draft.parent, receiver)
        if let metadata = draft.metadata { add(metadata) }
    }
}

extension RecordFields {
    fileprivate mutating func send() throws(WireError) -> Command.Action {
        var draft = MessageDraft(
            content: try next(), contentType: try next(), messageType: try next(), parent: try next())
        let receiver: UUID128? = try next()
        draft.metadata = try nextOrNil()
        return .send(draft, receiver: receiver)
    }
}

extension MessagePackWriter {
    fileprivate mutating func edit(_ message: UUID128, _ content: String, _ base: Int64?, _ metadata: MetadataPatch?) {
        add(message, content, base)
        if let metadata { add(metadata) }
    }
}

extension RecordFields {
    fileprivate mutating func edit() throws(WireError) -> Command.Action {
        .edit(message: try next(), content: try next(), base: try nextOrNil(), metadata: try nextOrNil())
    }
}

extension MessagePackWriter {
    fileprivate mutating func createRoom(_ room: RoomDraft) {
        add(room.type, room.name, room.description, room.avatar, room.members, room.memberLimit)
        guard room.metadata != nil || room.slowModeSeconds > 0 else { return }
        add(room.metadata)
        if room.slowModeSeconds > 0 { add(room.slowModeSeconds) }
    }

    fileprivate mutating func updateRoom(_ room: RoomPatch) {
        add(room.name, room.description, room.avatar, room.memberLimit)
        guard room.metadata != nil || room.slowModeSeconds != nil else { return }
        add(room.metadata)
        if let seconds = room.slowModeSeconds { add(seconds) }
    }
}

extension RecordFields {
    fileprivate mutating func createRoom() throws(WireError) -> RoomDraft {
        RoomDraft(
            type: try next(), name: try next(), description: try next(), avatar: try next(), members: try next(),
            memberLimit: try memberLimit(), metadata: try nextOrNil(), slowModeSeconds: try slowMode() ?? 0)
    }

    fileprivate mutating func updateRoom() throws(WireError) -> RoomPatch {
        RoomPatch(
            name: try next(), description: try next(), avatar: try next(), memberLimit: try memberLimit(),
            metadata: try nextOrNil(), slowModeSeconds: try slowMode())
    }

    private mutating func memberLimit() throws(WireError) -> Int? {
        try numberOrNull(in: 2...Int64(RequestLimit.roomMembers)).map { Int($0) }
    }

    private mutating func slowMode() throws(WireError) -> Int? {
        try numberIfAny(in: 0...Int64(RequestLimit.slowMode)).map { Int($0) }
    }
}

extension MessagePackWriter {
    fileprivate mutating func file(_ file: FileInfo, of message: UUID128) {
        add(message, file.name, file.size, file.contentType, file.thumbnailURL, file.media)
    }
}

extension RecordFields {
    /// Follows the id of its message.
    fileprivate mutating func file() throws(WireError) -> FileInfo {
        FileInfo(
            name: try next(), size: try next(), contentType: try next(), thumbnailURL: try next(), media: try next())
    }
}

extension MessagePackWriter {
    fileprivate mutating func invitation(_ draft: InvitationDraft) { add(draft.token, draft.expiresAt, draft.maxUses) }
}

extension RecordFields {
    fileprivate mutating func invitation() throws(WireError) -> InvitationDraft {
        InvitationDraft(
            token: try next(), expiresAt: try next(),
            maxUses: try numberOrNull(in: 1...Int64(RequestLimit.invitationUses)).map { Int($0) })
    }
}
