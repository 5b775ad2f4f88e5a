import ChatCore
import TestSupport
import Testing

@testable import ChatAdapters

private protocol Shape {
    func write<W: WireWriter>(to writer: inout W)
}

extension FileInfo: Shape {}
extension FileMedia: Shape {}
extension Reaction: Shape {}
extension EarlierContent: Shape {}
extension RoomView: Shape {}
extension Member: Shape {}
extension SeenMark: Shape {}
extension RoomUpdate: Shape {}
extension Message: Shape {}
extension UserView: Shape {}
extension PresenceMark: Shape {}
extension ExportedMessage: Shape {}
extension SearchHit: Shape {}

private struct PublicInvitation: Shape {
    var invitation: Invitation
    var isPublic: Bool
    func write<W: WireWriter>(to writer: inout W) { invitation.write(to: &writer, isPublic: isPublic) }
}

private struct SenderShape: Shape {
    var profile: Profile
    func write<W: WireWriter>(to writer: inout W) { profile.write(as: Things.user, to: &writer) }
}

private struct TreeShape: Shape {
    var value: WireValue
    func write<W: WireWriter>(to writer: inout W) { writer.value(value) }
}

/// One of everything, with and without what may be missing.
private enum Things {
    static let user = UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0001)
    static let other = UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_0002)
    static let room = UUID128(high: 0x0190_0000_0000_7000, low: 0x8000_0000_0000_00aa)
    static let text = "ä \"quoted\"\n\u{7f} " + String(repeating: "long ", count: 60)
    static let profile = Profile(externalID: "host-1", name: "Ann", avatar: "https://a.example/b.png", version: 3)
    static let media = FileMedia(width: 640, height: 480, orientation: 6, blurHash: "LKO2", duration: 5_000)
    static let files = [
        FileInfo(name: "a.txt", size: 0, contentType: "text/plain"),
        FileInfo(name: "b.jpg", size: 70_000, contentType: "image/jpeg", thumbnailURL: "/api/v1/t", media: media),
        FileInfo(
            name: "c", size: 5_000_000_000, contentType: "c", thumbnailURL: "https://old.example/t",
            media: FileMedia(duration: 1)),
    ]
    static let plain = Message(
        id: user, roomID: room, senderID: other, seq: 1, changeSeq: 1, content: "hello", contentType: .text,
        messageType: .direct, createdAt: 1_795_386_496_123)
    static let rich = Message(
        id: user, roomID: room, senderID: other, seq: 70_000, changeSeq: 5_000_000_000,
        content: text + " @\(user) @\(other)", contentType: .image, messageType: .replied, parentMessageID: other,
        forwardedFrom: user, sign: "sign-1", status: .seen, file: files[1],
        reactions: [Reaction(emoji: "👍", users: [user, other]), Reaction(emoji: "x", users: [])], editedAt: 1,
        deletedAt: 2, pinnedAt: 1_795_386_496_000, createdAt: 0, sender: profile)
    static var pending: Message {
        var message = plain
        (message.seq, message.changeSeq, message.status) = (-7, -7, .uploading)
        return message
    }
    static let fullRoom = Room(
        id: room, type: .channel, name: "News", description: text, avatar: "a", ownerID: user, memberCount: 300,
        memberLimit: 5_000, lastSeq: 9, messageCount: 4, lastMessageSeq: 8, lastActivityAt: 5, createdAt: 6,
        createdSign: "s", deletedAt: 7, epoch: 2, slowModeSeconds: 60)
    static let member = Member(
        roomID: room, userID: user, role: .admin, lastSeenSeq: 200, mutedUntil: 5, bannedAt: 6, joinedAt: 7, leftAt: 8,
        profile: profile)
    static let stranger = Member(roomID: room, userID: other, role: .member, joinedAt: 7)
    static let invitation = Invitation(
        id: user, roomID: room, token: "secret", createdBy: other, sign: "s", expiresAt: 5, maxUses: 300, uses: 2,
        createdAt: 1, revokedAt: 9)
    static var view: RoomView {
        var view = RoomView(room: fullRoom, lastMessage: rich, unread: 3, role: .owner, mutedUntil: 4)
        view.messages = [plain, rich]
        return view
    }

    static var shapes: [(String, any Shape)] {
        var shapes: [(String, any Shape)] = []
        shapes += files.enumerated().map { ("file \($0)", $1) }
        shapes += [("media", media), ("no media", FileMedia())]
        shapes += [("message", plain), ("message with everything", rich), ("pending message", pending)]
        shapes += rich.reactions.enumerated().map { ("reaction \($0)", $1) }
        shapes += [("earlier content", EarlierContent(content: text, replacedAt: 1, changeSeq: 300))]
        shapes += [
            ("room", RoomView(room: Room(id: room, type: .group, ownerID: user, lastActivityAt: 0, createdAt: 0)))
        ]
        shapes += [("room with everything", view), ("member", member), ("unknown member", stranger)]
        shapes += [("sender", SenderShape(profile: profile)), ("unknown sender", SenderShape(profile: Profile()))]
        shapes += [("seen mark", SeenMark(roomID: room, userID: user, seq: 65_536, at: 1))]
        shapes += [true, false].map { ("invitation \($0)", PublicInvitation(invitation: invitation, isPublic: $0)) }
        shapes += updates.enumerated().map { ("room update \($0)", $1) }
        shapes += [("user", UserView(id: user, profile: profile, metadata: #"{"a":[1,{"b":null}]}"#))]
        shapes += [("presence", PresenceMark(userID: user, isOnline: true))]
        shapes += [("absence", PresenceMark(userID: user, isOnline: false, lastSeenAt: 9))]
        let edits = [EarlierContent(content: "a", replacedAt: 1, changeSeq: 2)]
        shapes += [("exported message", ExportedMessage(message: rich, edits: edits))]
        let place = SearchCursor(at: 9_000, room: room, seq: 4)
        shapes += [("search hit", SearchHit(message: plain, place: place, marks: [0..<4, 7..<300]))]
        // Heads of each size.
        for count in [0, 1, 15, 16, 17, 300] {
            shapes.append(("map of \(count)", TreeShape(value: .map((0..<count).map { .init("k\($0)", .int(1)) }))))
            shapes.append(("array of \(count)", TreeShape(value: .array((0..<count).map { .int(Int64($0)) }))))
        }
        shapes += [("message with metadata", described), ("member with metadata", describedMember)]
        shapes += [("room with metadata", RoomView(room: describedRoom))]
        let inner = WireValue.map((0..<16).map { .init("i\($0)", .map([.init("x", .null)])) })
        shapes.append(("maps in maps", TreeShape(value: .map([.init("a", inner), .init("b", inner)]))))
        return shapes
    }

    static let metadata = Metadata(stored: #"{"kind":"order","n":[1,2.5,null,{"ä":true}]}"#)
    static var described: Message {
        var message = plain
        message.metadata = metadata
        return message
    }
    static var describedMember: Member {
        var member = stranger
        member.metadata = metadata
        return member
    }
    static var describedRoom: Room {
        Room(id: room, type: .group, ownerID: user, lastActivityAt: 0, createdAt: 0, metadata: metadata)
    }

    static var updates: [RoomUpdate] {
        [
            RoomUpdate(roomID: room, change: .skipped, seq: 1),
            RoomUpdate(roomID: room, change: .created, room: view, seq: 0),
            RoomUpdate(roomID: room, change: .role, member: member, seq: 300),
            RoomUpdate(roomID: room, change: .unpinned, invitation: invitation, purgedThrough: 5, seq: 9),
        ]
    }

    static var actions: [Command.Action] {
        let draft = MessageDraft(content: text, contentType: .file, messageType: .replied, parent: user)
        let invitation = InvitationDraft(token: "t", expiresAt: 5, maxUses: 2)
        let rooms = [
            RoomDraft(type: .channel, name: "n", description: "d", avatar: "a", members: [user], memberLimit: 300),
            RoomDraft(type: .privateRoom, members: []),
        ]
        let patches = [
            RoomPatch(), RoomPatch(name: "n", description: "d", avatar: "a", memberLimit: 4),
        ]
        var all: [Command.Action] = [
            .send(draft, receiver: user), .send(MessageDraft(content: "y"), receiver: nil), .seen(seq: 4),
            .seen(seq: nil), .edit(message: user, content: "z"), .edit(message: user, content: "z", base: 8),
            .delete(message: user), .react(message: user, reaction: "👍", remove: true),
            .createRoom(rooms[0]), .createRoom(rooms[1]), .updateRoom(patches[0]), .updateRoom(patches[1]),
            .deleteRoom, .addMembers([user, other]), .addMembers([]), .removeMember(user),
            .setRole(user: user, role: .admin), .mute(user: user, until: 9), .mute(user: user, until: nil),
            .ban(user: user, banned: true), .pin(message: user, pinned: true), .createInvitation(invitation),
            .createInvitation(InvitationDraft(token: "t")), .revokeInvitation(user), .join(invitation: user),
            .announce(text), .erase(user: user), .purge(before: 7), .abandonFile(message: user),
        ]
        for file in files {
            all += [.completeFile(message: user, file: file), .describeFile(message: user, file: file)]
        }
        let patch = MetadataPatch(.map([.init("kind", .null), .init("n", .int(1))]))!
        all += [
            .send(MessageDraft(content: "y", metadata: metadata), receiver: nil),
            .edit(message: user, content: "z", metadata: patch),
            .createRoom(RoomDraft(type: .group, name: "n", members: [], metadata: metadata)),
            .updateRoom(RoomPatch(metadata: patch)), .messageMetadata(message: user, patch),
            .memberMetadata(user: user, patch),
            .createRoom(RoomDraft(type: .group, name: "n", members: [], slowModeSeconds: 30)),
            .updateRoom(RoomPatch(slowModeSeconds: 0)),
            .updateRoom(RoomPatch(metadata: patch, slowModeSeconds: 21_600)),
        ]
        return all
    }

    static func command(_ action: Command.Action) -> Command {
        Command(id: user, room: room, actor: other, acceptedAt: 1_795_386_496_123, action: action)
    }

    /// Every form of a command's head.
    static var heads: [Command] {
        let plain = command(.deleteRoom)
        var commands = [plain]
        for bits in 0..<16 {
            var next = plain
            (next.sign, next.requestID) = ("s", "r")
            next.origin = .socket(SocketAddress(relay: .max, socket: 300))
            next.isHost = bits & 1 != 0
            if bits & 2 != 0 { next.names = [user: "host-1"] }
            if bits & 4 != 0 { next.digest = other }
            if bits & 8 != 0 { next.trace = TraceParent(trace: user, span: 0x1234, isSampled: bits & 1 != 0) }
            commands.append(next)
        }
        return commands
    }

    static var spans: [UInt8] {
        let spans = [
            Span(trace: user, id: 1, parent: nil, name: "a", kind: .server, start: 1, end: 2),
            Span(
                trace: user, id: 0xff, parent: 2, isParentRemote: true, name: "b", kind: .client, start: 3, end: 4,
                attributes: [.init("t", .text("\"")), .init("n", .number(5))], hasFailed: true),
        ]
        return SpanJSON(resource: [.init("service.name", .text("x"))], scope: "s", version: "1").encode(spans)
    }

    /// Formats between our own programs, and frames.
    static var bodies: [(String, [UInt8])] {
        let body = FrameBody(room: room, seq: 300) { plain.write(to: &$0) }
        let refusals: [Refusal] = [
            .notAMember, .invalid("Content", "is empty"), .tooMany(.sends, milliseconds: 1500), .busy("full"),
        ]
        var all: [(String, [UInt8])] = [
            ("frame", body.frame(.newMessage)), ("response", body.frame(.response, sign: "s")),
            ("frame without a room", FrameBody { $0.null() }.frame(.response)),
            ("frame body", [body.fieldCount] + body.bytes),
            ("dead letter", DeadLetter(id: user, queue: "q", at: 5, reason: "r", stack: "s", body: [1, 2]).encode()),
            ("spans", spans),
            ("joined", UserEvent.joined(room: room, seq: 3, created: body).encode()),
            ("relay answer", RelayAnswer(socket: 5, frame: body.frame(.response)).encode()),
            ("reactions column", Array((rich.reactions.json ?? "").utf8)), ("media column", Array(media.json.utf8)),
        ]
        all += refusals.enumerated().map { ("refusal \($0)", FrameBody($1).frame(.response, sign: "s")) }
        let frame = RoomFrame(
            seq: 300, kind: .newMessage, origin: SocketAddress(relay: 7, socket: 8), sign: "s", asker: user,
            joined: [user], left: [other], body: body)
        all.append(("chunk", FrameChunk(room: room, frames: [frame, .skipped(301, in: room)]).encode()))
        let jobs: [PushJob] = [
            .messages(room: room, seq: 1, at: 300), .seen(room: room, user: user, seq: 2),
            .deleted(room: room, message: user, seq: 3),
        ]
        all.append(("push jobs", PushJob.encode(jobs)))
        let entries = [nil, "r"].map {
            TrailStep.StoredCommand(
                id: user, room: room, seq: 300, acceptedAt: 1, requestID: $0, what: "send", refusal: $0)
        }
        let steps: [TrailStep] = [
            .stored(.init(process: 1, takenAt: 2, storedAt: 3, commands: entries)),
            .delivered(relay: .max, room: room, first: 1, last: 2, sockets: 3, at: 4),
            .pushed(room: room, seq: 1, devices: 2, at: 300),
        ]
        all += steps.enumerated().map { ("trail \($0)", $1.encode()) }
        all += actions.enumerated().map { ("command \($0) \($1.kind.name)", command($1).encode()) }
        all += heads.enumerated().map { ("command head \($0)", $1.encode()) }
        all.append(
            ("joined commands", Command.joined([command(.deleteRoom).encode(), command(.seen(seq: 1)).encode()])))
        return all
    }

    /// Events for the host application, and frames, from a room's whole life.
    static var hooks: [(String, [UInt8])] {
        var scene = Scene()
        let (room, message) = (scene.room(), scene.id())
        _ = scene.send(room, scene.owner, id: message)
        _ = scene.act(room, scene.owner, .edit(message: message, content: "b"))
        _ = scene.act(room, scene.owner, .addMembers([scene.stranger]))
        _ = scene.act(room, scene.owner, .pin(message: message, pinned: true))
        _ = scene.act(room, scene.owner, .pin(message: message, pinned: false))
        _ = scene.act(room, scene.owner, .createInvitation(InvitationDraft(token: "t")))
        _ = scene.act(room, scene.owner, .delete(message: message))
        _ = scene.act(room, scene.owner, .deleteRoom)
        // A SYSTEM message has another id each time.
        let frames = scene.frames(room).filter { $0.body.bytes.firstRange(of: Array("system".utf8)) == nil }
        return scene.batch.hookEvents().enumerated().map { ("hook \($0) \($1.name)", $1.body) }
            + frames.enumerated().map { ("room's frame \($0)", $1.body.frame($1.kind)) }
    }
}

@Suite struct GoldenTests {
    @Test func shapesStayAsTheyAre() {
        var lines: [Golden.Line] = []
        for (name, shape) in Things.shapes {
            var json = JSONWriter()
            shape.write(to: &json)
            lines.append(("\(name), JSON", String(decoding: json.take(), as: UTF8.self)))
            var packed = MessagePackWriter()
            shape.write(to: &packed)
            lines.append(("\(name), MessagePack", Golden.hex(packed.bytes)))
        }
        #expect(Golden.differences(from: "shapes.txt", lines) == [])
    }

    @Test func framesCommandsAndRecordsStayAsTheyAre() {
        let lines = (Things.bodies + Things.hooks).map { (name: $0, text: Golden.hex($1)) }
        #expect(Golden.differences(from: "records.txt", lines) == [])
    }

    /// The last release's commands wait in the queues while the programs are replaced.
    @Test func recordedCommandsAreRead() throws {
        #expect(Set(Things.actions.map(\.kind)) == Set(Command.Kind.allCases))
        for command in Things.actions.map({ Things.command($0) }) + Things.heads {
            #expect(try Command.decodeAll(command.joinedAlone) == [command])
        }
    }

    // MARK: The release before, on another host

    /// The bytes between programs, as the release before wrote them.
    private var before: [Golden.Line] { Golden.lines(of: "release-before.txt") }
    /// Of these, the ones that this release writes otherwise; the release before must be able to read them.
    private let changed: Set<String> = []

    /// Read and written again it is what this release writes: nothing of it is lost.
    @Test func whatTheReleaseBeforeWritesIsRead() throws {
        let own = Dictionary(Things.bodies) { first, _ in first }
        #expect(before.count > 50)
        for (name, text) in before {
            #expect(try again(name, Golden.bytes(text)) == own[name], "\(name)")
        }
    }

    @Test func whatTheReleaseBeforeKnowsIsWrittenAsItReadsIt() {
        let own = Dictionary(Things.bodies) { first, _ in first }
        for (name, text) in before where !changed.contains(name) {
            #expect(own[name].map { Golden.hex($0) } == text, "\(name)")
        }
    }

    private func again(_ name: String, _ bytes: [UInt8]) throws -> [UInt8]? {
        switch name.split(separator: " ")[0] {
        case "command": return try Command.decodeAll(Command.joined([bytes])).first?.encode()
        case "joined" where name == "joined": return try UserEvent.decode(bytes).encode()
        case "joined": return Command.joined(try Command.decodeAll(bytes).map { $0.encode() })
        case "relay": return try RelayAnswer.decode(bytes).encode()
        case "chunk": return try FrameChunk.decode(bytes).encode()
        case "push": return PushJob.encode(try PushJob.decode(bytes))
        case "dead": return try DeadLetter.decode(bytes).encode()
        case "trail": return TrailStep.decode(bytes)?.encode()
        default: return nil
        }
    }
}
