// The format of commands on the broker. One AMQP body is a MessagePack array of commands of one queue; each command is
// an array with fixed positions, so that a relay encodes each once and joins those of one tick.

extension Command {
    private static let version: Int64 = 1

    /// Encodes one command for ``joined(_:)``. The reply address is not part of it: it travels in the AMQP properties.
    public func encode() -> [UInt8] {
        var writer = MessagePackWriter(reserving: 256)
        writer.beginArray(trace != nil ? 15 : digest != nil ? 14 : names.isEmpty ? isHost ? 12 : 11 : 13)
        writer.int(Self.version)
        writer.id(id)
        writer.id(room)
        writer.id(actor)
        writer.optional(sign) { $0.string($1) }
        if case .socket(let address) = origin {
            writer.int(Int64(bitPattern: address.relay))
            writer.int(Int64(bitPattern: address.socket))
        } else {
            writer.null()
            writer.null()
        }
        writer.optional(requestID) { $0.string($1) }
        writer.int(acceptedAt)
        writer.int(action.number)
        action.write(to: &writer)
        // Older programs ignore these fields.
        if isHost || !names.isEmpty || digest != nil || trace != nil { writer.bool(isHost) }
        if !names.isEmpty || digest != nil || trace != nil {
            writer.beginArray(names.count * 2)
            for (user, name) in names {
                writer.id(user)
                writer.string(name)
            }
        }
        // Older programs refuse a null: no digest is the zero one, which no request has.
        if digest != nil || trace != nil { writer.id(digest ?? .zero) }
        if let trace { writer.trace(trace) }
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
            var fields = CommandFields(item)
            commands.append(try Command(&fields, reply: reply))
        }
        return commands
    }

    private init(_ fields: inout CommandFields, reply: CommandOrigin) throws(WireError) {
        guard try fields.int() == Self.version else { throw WireError("a command of an unknown version", at: 0) }
        let (id, room, actor) = (try fields.id(), try fields.id(), try fields.id())
        let sign = try fields.optionalText()
        let (relay, socket) = (try fields.optionalInt(), try fields.optionalInt())
        var origin = reply
        if let relay, let socket {
            origin = .socket(SocketAddress(relay: UInt64(bitPattern: relay), socket: UInt64(bitPattern: socket)))
        }
        self.init(
            id: id, room: room, actor: actor, sign: sign, origin: origin, requestID: try fields.optionalText(),
            acceptedAt: try fields.int(), action: try Action(number: try fields.int(), &fields))
        isHost = fields.isAtEnd ? false : try fields.flag()
        names = fields.isAtEnd ? [:] : try fields.names()
        let digest = fields.isAtEnd ? .zero : try fields.id()
        self.digest = digest == .zero ? nil : digest
        trace = fields.isAtEnd ? nil : try fields.trace()
    }
}

extension MessagePackWriter {
    /// 16 bytes instead of 36 characters: clients never see these.
    fileprivate mutating func id(_ id: UUID128) {
        bytes.append(0xc4)
        bytes.append(16)
        id.appendBytes(to: &bytes)
    }

    /// 16 bytes of the trace, 8 of the span, the flags.
    fileprivate mutating func trace(_ place: TraceParent) {
        bytes.append(0xc4)
        bytes.append(25)
        place.trace.appendBytes(to: &bytes)
        withUnsafeBytes(of: place.span.bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(place.isSampled ? 1 : 0)
    }

    fileprivate mutating func ids(_ ids: [UUID128]) {
        beginArray(ids.count)
        for id in ids { self.id(id) }
    }
}

extension Command.Action {
    fileprivate var number: Int64 {
        switch self {
        case .send: 1
        case .seen: 2
        case .edit: 3
        case .delete: 4
        case .react: 5
        case .createRoom: 6
        case .updateRoom: 7
        case .deleteRoom: 8
        case .addMembers: 9
        case .removeMember: 10
        case .setRole: 11
        case .mute: 12
        case .ban: 13
        case .completeFile: 14
        case .abandonFile: 15
        case .describeFile: 16
        case .pin: 20
        case .createInvitation: 21
        case .revokeInvitation: 22
        case .join: 23
        case .announce: 30
        case .erase: 31
        case .purge: 32
        }
    }

    fileprivate func write(to writer: inout MessagePackWriter) {
        switch self {
        case .send(let draft, let receiver):
            writer.beginArray(5)
            writer.string(draft.content)
            writer.int(Int64(draft.contentType.rawValue))
            writer.int(Int64(draft.messageType.rawValue))
            writer.optional(draft.parent) { $0.id($1) }
            writer.optional(receiver) { $0.id($1) }
        case .seen(let seq):
            writer.beginArray(1)
            writer.optional(seq) { $0.int($1) }
        case .edit(let message, let content, let base):
            writer.beginArray(3)
            writer.id(message)
            writer.string(content)
            writer.optional(base) { $0.int($1) }
        case .delete(let message), .abandonFile(let message):
            writer.beginArray(1)
            writer.id(message)
        case .react(let message, let reaction, let remove):
            writer.beginArray(3)
            writer.id(message)
            writer.string(reaction)
            writer.bool(remove)
        case .createRoom(let draft):
            writer.beginArray(6)
            writer.int(Int64(draft.type.rawValue))
            writer.string(draft.name)
            writer.string(draft.description)
            writer.string(draft.avatar)
            writer.ids(draft.members)
            writer.optional(draft.memberLimit) { $0.int(Int64($1)) }
        case .updateRoom(let patch):
            writer.beginArray(4)
            writer.optional(patch.name) { $0.string($1) }
            writer.optional(patch.description) { $0.string($1) }
            writer.optional(patch.avatar) { $0.string($1) }
            writer.optional(patch.memberLimit) { $0.int(Int64($1)) }
        case .deleteRoom:
            writer.beginArray(0)
        case .addMembers(let users):
            writer.beginArray(1)
            writer.ids(users)
        case .removeMember(let user):
            writer.beginArray(1)
            writer.id(user)
        case .setRole(let user, let role):
            writer.beginArray(2)
            writer.id(user)
            writer.int(Int64(role.rawValue))
        case .mute(let user, let until):
            writer.beginArray(2)
            writer.id(user)
            writer.optional(until) { $0.int($1) }
        case .ban(let user, let banned):
            writer.beginArray(2)
            writer.id(user)
            writer.bool(banned)
        case .completeFile(let message, let file), .describeFile(let message, let file):
            writer.beginArray(6)
            writer.id(message)
            writer.string(file.name)
            writer.int(file.size)
            writer.string(file.contentType)
            writer.optional(file.thumbnailURL) { $0.string($1) }
            writer.optional(file.media) { $1.write(to: &$0) }
        case .pin(let message, let pinned):
            writer.beginArray(2)
            writer.id(message)
            writer.bool(pinned)
        case .createInvitation(let draft):
            writer.beginArray(3)
            writer.string(draft.token)
            writer.optional(draft.expiresAt) { $0.int($1) }
            writer.optional(draft.maxUses) { $0.int(Int64($1)) }
        case .revokeInvitation(let id), .join(let id), .erase(let id):
            writer.beginArray(1)
            writer.id(id)
        case .announce(let content):
            writer.beginArray(1)
            writer.string(content)
        case .purge(let before):
            writer.beginArray(1)
            writer.int(before)
        }
    }

    fileprivate init(number: Int64, _ outer: inout CommandFields) throws(WireError) {
        var fields = CommandFields(try outer.next())
        switch number {
        case 1:
            let content = try fields.text()
            let contentType = try fields.raw(ContentType.self)
            let messageType = try fields.raw(MessageType.self)
            let parent = try fields.optionalID()
            let draft = MessageDraft(
                content: content, contentType: contentType, messageType: messageType, parent: parent)
            self = .send(draft, receiver: try fields.optionalID())
        case 2: self = .seen(seq: try fields.optionalInt())
        case 3:
            // Older programs wrote two fields.
            self = .edit(
                message: try fields.id(), content: try fields.text(),
                base: fields.isAtEnd ? nil : try fields.optionalInt())
        case 4: self = .delete(message: try fields.id())
        case 5: self = .react(message: try fields.id(), reaction: try fields.text(), remove: try fields.flag())
        case 6:
            self = .createRoom(
                RoomDraft(
                    type: try fields.raw(RoomType.self), name: try fields.text(), description: try fields.text(),
                    avatar: try fields.text(), members: try fields.ids(),
                    memberLimit: try fields.optionalInt().map(Int.init)))
        case 7:
            self = .updateRoom(
                RoomPatch(
                    name: try fields.optionalText(), description: try fields.optionalText(),
                    avatar: try fields.optionalText(), memberLimit: try fields.optionalInt().map(Int.init)))
        case 8: self = .deleteRoom
        case 9: self = .addMembers(try fields.ids())
        case 10: self = .removeMember(try fields.id())
        case 11: self = .setRole(user: try fields.id(), role: try fields.raw(Role.self))
        case 12: self = .mute(user: try fields.id(), until: try fields.optionalInt())
        case 13: self = .ban(user: try fields.id(), banned: try fields.flag())
        case 14:
            self = .completeFile(message: try fields.id(), file: try fields.file())
        case 15: self = .abandonFile(message: try fields.id())
        case 16: self = .describeFile(message: try fields.id(), file: try fields.file())
        case 20: self = .pin(message: try fields.id(), pinned: try fields.flag())
        case 21:
            self = .createInvitation(
                InvitationDraft(
                    token: try fields.text(), expiresAt: try fields.optionalInt(),
                    maxUses: try fields.optionalInt().map(Int.init)))
        case 22: self = .revokeInvitation(try fields.id())
        case 23: self = .join(invitation: try fields.id())
        case 30: self = .announce(try fields.text())
        case 31: self = .erase(user: try fields.id())
        case 32: self = .purge(before: try fields.int())
        default: throw WireError("a command of an unknown kind", at: 0)
        }
    }
}

/// The positions of one command's array, in order.
private struct CommandFields {
    private let values: [WireValue]
    private var position = 0

    init(_ value: WireValue) { values = value.array ?? [] }

    var isAtEnd: Bool { position >= values.count }

    mutating func next() throws(WireError) -> WireValue {
        guard position < values.count else { throw WireError("a command is cut off", at: position) }
        defer { position += 1 }
        return values[position]
    }

    private func wrong() -> WireError { WireError("a command's field has the wrong type", at: position) }

    mutating func int() throws(WireError) -> Int64 {
        guard let value = try next().int else { throw wrong() }
        return value
    }

    mutating func optionalInt() throws(WireError) -> Int64? {
        let value = try next()
        guard !value.isNull else { return nil }
        guard let int = value.int else { throw wrong() }
        return int
    }

    mutating func text() throws(WireError) -> String {
        guard let value = try next().string else { throw wrong() }
        return value
    }

    mutating func optionalText() throws(WireError) -> String? {
        let value = try next()
        guard !value.isNull else { return nil }
        guard let text = value.string else { throw wrong() }
        return text
    }

    mutating func flag() throws(WireError) -> Bool {
        guard let value = try next().bool else { throw wrong() }
        return value
    }

    mutating func id() throws(WireError) -> UUID128 {
        guard let id = try optionalID() else { throw wrong() }
        return id
    }

    mutating func optionalID() throws(WireError) -> UUID128? {
        let value = try next()
        guard !value.isNull else { return nil }
        guard case .binary(let bytes) = value, let id = UUID128(bytes: bytes) else { throw wrong() }
        return id
    }

    mutating func trace() throws(WireError) -> TraceParent {
        guard case .binary(let bytes) = try next(), bytes.count >= 25, let trace = UUID128(bytes: bytes[..<16]) else {
            throw wrong()
        }
        let span = bytes[16..<24].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return TraceParent(trace: trace, span: span, isSampled: bytes[24] & 1 == 1)
    }

    mutating func file() throws(WireError) -> FileInfo {
        var file = FileInfo(
            name: try text(), size: try int(), contentType: try text(), thumbnailURL: try optionalText())
        let media = try next()
        if !media.isNull { file.media = FileMedia(media) }
        return file
    }

    /// Pairs of an id and a text, one behind the other.
    mutating func names() throws(WireError) -> [UUID128: String] {
        var pairs = CommandFields(try next())
        var names: [UUID128: String] = [:]
        while !pairs.isAtEnd { names[try pairs.id()] = try pairs.text() }
        return names
    }

    mutating func ids() throws(WireError) -> [UUID128] {
        guard let values = try next().array else { throw wrong() }
        var ids: [UUID128] = []
        for value in values {
            guard case .binary(let bytes) = value, let id = UUID128(bytes: bytes) else { throw wrong() }
            ids.append(id)
        }
        return ids
    }

    mutating func raw<T: RawRepresentable<Int16>>(_: T.Type) throws(WireError) -> T {
        guard let number = Int16(exactly: try int()), let value = T(rawValue: number) else { throw wrong() }
        return value
    }
}
