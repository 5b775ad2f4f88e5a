import ChatCore
import Testing

@Suite struct MessagePackTests {
    static let values: [WireValue] = [
        .null, .bool(true), .bool(false), .int(0), .int(127), .int(128), .int(255), .int(256), .int(65_535),
        .int(65_536), .int(4_294_967_295), .int(4_294_967_296), .int(.max), .int(-1), .int(-32), .int(-33), .int(-128),
        .int(-129), .int(-32_768), .int(-32_769), .int(-2_147_483_648), .int(-2_147_483_649), .int(.min), .double(1.5),
        .string(""), .string(String(repeating: "ä", count: 15)), .string(String(repeating: "x", count: 31)),
        .string(String(repeating: "x", count: 32)), .string(String(repeating: "x", count: 256)),
        .string(String(repeating: "x", count: 65_536)), .binary([]), .binary([1, 2, 3]),
        .binary(.init(repeating: 7, count: 300)), .array((0..<20).map { .int($0) }),
        .map((0..<20).map { .init("k\($0)", .array([.int($0), .null])) }),
    ]

    @Test(arguments: values) func roundTrip(value: WireValue) throws {
        var writer = MessagePackWriter()
        writer.value(value)
        #expect(try MessagePackReader.decode(writer.bytes) == value)
    }

    @Test(arguments: values) func everyPrefixIsRefused(value: WireValue) {
        var writer = MessagePackWriter()
        writer.value(value)
        for length in 0..<min(writer.bytes.count, 400) {
            #expect(throws: WireError.self) { try MessagePackReader.decode(Array(writer.bytes[0..<length])) }
        }
    }

    @Test(
        arguments: [
            [0xc1], [0xc7, 1, 2, 3], [0xd4, 1, 2], [0x81, 0x01, 0x02], [0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2],
            [0xa1, 0xff], [0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff],
            [0xdb, 0x7f, 0xff, 0xff, 0xff],
            [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], [0x01, 0x01],
            .init(repeating: 0x91, count: 10_000), .init(repeating: 0x81, count: 10_000),
        ] as [[UInt8]])
    func junk(bytes: [UInt8]) {
        #expect(throws: WireError.self) { try MessagePackReader.decode(bytes) }
    }

    /// As in JSON: no whole number here, but the field around it can be named.
    @Test func whatNoInt64Holds() throws {
        let value = try MessagePackReader.decode([0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0])
        #expect(value == .double(9_223_372_036_854_775_808) && value.int == nil)
        #expect(try JSONReader.decode(Array("9223372036854775808".utf8)) == value)
        #expect(try MessagePackReader.decode([0xcf] + .init(repeating: 0xff, count: 8)).int == nil)
    }

    @Test func randomBytesNeverTrap() {
        var random = SplitMix(seed: 3)
        for _ in 0..<20_000 {
            let bytes = (0..<Int(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            _ = try? MessagePackReader.decode(bytes)
            _ = try? JSONReader.decode(bytes)
            _ = try? FrameChunk.decode(bytes)
            _ = try? UserEvent.decode(bytes)
            _ = try? RelayAnswer.decode(bytes)
            _ = try? Command.decodeAll(bytes)
        }
    }
}

@Suite struct JSONTests {
    @Test(arguments: [
        (
            #"{"a":1,"b":[true,false,null,-2,1.5e2],"c":"x\n\"\\\u00e4\ud83d\ude00"}"#,
            WireValue.map([
                .init("a", .int(1)),
                .init("b", .array([.bool(true), .bool(false), .null, .int(-2), .double(150)])),
                .init("c", .string("x\n\"\\ä😀")),
            ])
        ),
        (" [ ] ", .array([])), ("{}", .map([])), ("0", .int(0)), ("9223372036854775807", .int(.max)),
    ])
    func reads(text: String, value: WireValue) throws {
        #expect(try JSONReader.decode(Array(text.utf8)) == value)
    }

    @Test(arguments: [
        "", "{", "[", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "'a'", "01", "1.", "1e", "-", "+1", "nul",
        "\"a", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\u12\"", "\"\u{1}\"", "1 2", "{\"a\":1,\"a\":2}",
        "1e999", "NaN", String(repeating: "[", count: 1000),
    ])
    func refuses(text: String) {
        #expect(throws: WireError.self) { try JSONReader.decode(Array(text.utf8)) }
    }

    @Test func wrongUTF8IsRefused() {
        #expect(throws: WireError.self) { try JSONReader.decode([0x22, 0xc3, 0x28, 0x22]) }
    }

    @Test func writesWhatItReads() throws {
        for value in MessagePackTests.values {
            if case .binary = value { continue }
            var writer = JSONWriter()
            writer.value(value)
            #expect(try JSONReader.decode(writer.take()) == value)
        }
    }

    @Test func escapesEveryControlCharacter() throws {
        var writer = JSONWriter()
        let text = String(String.UnicodeScalarView((0..<0x80).map { Unicode.Scalar($0)! }))
        writer.string(text)
        let json = writer.take()
        #expect(!json.contains { $0 < 0x20 })
        #expect(try JSONReader.decode(json) == .string(text))
    }
}

@Suite struct RecordTests {
    private let room = UUID128(high: 1, low: 2)

    @Test func framesRoundTripAndEveryPrefixIsRefused() throws {
        let body = FrameBody(room: room, seq: 7) { $0.string("data") }
        let chunk = FrameChunk(
            room: room,
            frames: [
                RoomFrame(
                    seq: 7, kind: .newMessage, origin: SocketAddress(relay: 9, socket: 10), sign: "s", asker: room,
                    joined: [room], left: [UUID128.zero, room], body: body),
                RoomFrame(seq: 0, kind: .typing, body: body),
            ])
        let bytes = chunk.encode()
        #expect(try FrameChunk.decode(bytes) == chunk)
        for length in 0..<bytes.count {
            #expect(throws: WireError.self) { try FrameChunk.decode(bytes[0..<length]) }
        }
    }

    /// The previous version's format of an incomplete file.
    @Test func aFrameForOneUserIsSkippedByEverybody() throws {
        let body = FrameBody(room: room, seq: 7) { $0.string("secret") }
        let frame = RoomFrame(seq: 7, kind: .newMessage, body: body)
        var bytes = FrameChunk(room: room, frames: [frame]).encode()
        // version, room, count, seq, kind, origin twice, no sign, no asker; then the users who alone may see it.
        let place = 1 + 16 + 4 + 8 + 1 + 8 + 8 + 1 + 2
        bytes.replaceSubrange(place..<place + 2, with: [1, 0] + Array(repeating: 5, count: 16))
        #expect(try FrameChunk.decode(bytes).frames == [.skipped(7, in: room)])
    }

    @Test func oneBodyMakesTheFrameAndTheResponse() throws {
        let body = FrameBody(room: room, seq: 7) { $0.string("data") }
        let frame = try MessagePackReader.decode(body.frame(.newMessage))
        #expect(frame["Type"] == .string("new_message"))
        #expect(frame["Success"] == .bool(true))
        #expect(frame["Error"] == .string(""))
        #expect(frame["Seq"] == .int(7))
        #expect(frame["RoomID"] == .string(room.description))
        #expect(frame["Sign"] == nil)
        let response = try MessagePackReader.decode(body.frame(.response, sign: "s"))
        #expect(response["Type"] == .string("response"))
        #expect(response["Sign"] == .string("s"))
        #expect(response["Data"] == .string("data"))
        let refusal = try MessagePackReader.decode(FrameBody(.notAMember).frame(.response, sign: "s"))
        #expect(refusal["Success"] == .bool(false))
        #expect(refusal["Error"] == .string("not_a_member: you are not a member of this room"))
    }

    @Test func userEventsAndAnswersRoundTrip() throws {
        let created = FrameBody(room: room, seq: 0) { $0.null() }
        for event in [
            UserEvent.joined(room: room, seq: 0, created: created), .joined(room: room, seq: 12, created: nil),
            .presence(isHidden: true), .presence(isHidden: false), .blocked(room: .v7(at: 1), true),
        ] {
            #expect(try UserEvent.decode(event.encode()) == event)
        }
        let answer = RelayAnswer(socket: 5, frame: [1, 2, 3])
        #expect(try RelayAnswer.decode(answer.encode()) == answer)
    }

    @Test func commandsOfEveryKindRoundTrip() throws {
        let user = UUID128(high: 3, low: 4)
        let actions: [Command.Action] = [
            .send(MessageDraft(content: "x", contentType: .file, messageType: .replied, parent: user), receiver: user),
            .send(MessageDraft(content: "y"), receiver: nil), .seen(seq: 4), .seen(seq: nil),
            .edit(message: user, content: "z"), .delete(message: user),
            .react(message: user, reaction: "👍", remove: true),
            .createRoom(RoomDraft(type: .channel, name: "n", members: [user], memberLimit: 3)),
            .updateRoom(RoomPatch(name: "n")), .deleteRoom, .addMembers([user]), .removeMember(user),
            .setRole(user: user, role: .admin), .mute(user: user, until: 9), .ban(user: user, banned: true),
            .edit(message: user, content: "z", base: 8), .pin(message: user, pinned: true),
            .createInvitation(InvitationDraft(token: "t", expiresAt: 5, maxUses: 2)), .revokeInvitation(user),
            .join(invitation: user), .announce("a"), .erase(user: user), .purge(before: 7),
            .completeFile(message: user, file: FileInfo(name: "f", size: 1, contentType: "c")),
            .describeFile(
                message: user,
                file: FileInfo(
                    name: "f", size: 1, contentType: "c", thumbnailURL: "t",
                    media: FileMedia(width: 3, height: 4, orientation: 6, blurHash: "b", duration: 5))),
            .abandonFile(message: user),
        ]
        let commands = actions.enumerated().map { index, action in
            Command(
                id: UUID128(high: 0, low: UInt64(index)), room: room, actor: user, sign: index % 2 == 0 ? "s" : nil,
                origin: .socket(SocketAddress(relay: .max, socket: 1)), requestID: "r", acceptedAt: 5, action: action)
        }
        #expect(try Command.decodeAll(Command.joined(commands.map { $0.encode() })) == commands)
        var plain = commands[0]
        plain.origin = .reply(to: "q", correlation: "c")
        #expect(try Command.decodeAll(Command.joined([plain.encode()]), reply: plain.origin) == [plain])
    }
}

/// Whatever stands in a queue: a program that writes nonsense must not end the workers that read it.
@Suite struct StrangeNumbersTests {
    private let id = UUID128(high: 1, low: 2)

    private func isRefused(_ action: Command.Action, sign: String? = nil, acceptedAt: Int64 = 1) -> Bool {
        let command = Command(id: id, room: id, actor: id, sign: sign, acceptedAt: acceptedAt, action: action)
        return (try? Command.decodeAll(command.joinedAlone)) == nil
    }

    @Test(arguments: [Int.min, -1, 0, 1 << 31, 1 << 40, .max]) func aCommandsLimitsAreInRange(number: Int) {
        #expect(isRefused(.createRoom(RoomDraft(type: .group, members: [], memberLimit: number))))
        #expect(isRefused(.updateRoom(RoomPatch(memberLimit: number))))
        #expect(isRefused(.createInvitation(InvitationDraft(token: "t", maxUses: number))))
    }

    @Test func aCommandsLimitsOfUse() {
        #expect(!isRefused(.createRoom(RoomDraft(type: .group, members: [], memberLimit: 65_535))))
        #expect(!isRefused(.createInvitation(InvitationDraft(token: "t", maxUses: 1_000_000))))
        #expect(!isRefused(.deleteRoom, sign: String(repeating: "s", count: 64)))
    }

    @Test(arguments: [65, 254, 255, 256, 70_000]) func aCommandsSignIsShort(count: Int) {
        #expect(isRefused(.deleteRoom, sign: String(repeating: "s", count: count)))
    }

    @Test(arguments: [Int64.min, -1, 1 << 60, .max]) func aCommandsTimeIsOne(time: Int64) {
        #expect(isRefused(.deleteRoom, acceptedAt: time))
    }

    @Test(arguments: [Int64.min, -1, .max]) func aPushJobsNumbersAreInRange(number: Int64) {
        for job in [
            PushJob.messages(room: id, seq: number, at: 5), .messages(room: id, seq: 5, at: number),
            .seen(room: id, user: id, seq: number), .deleted(room: id, message: id, seq: number),
        ] {
            #expect(throws: WireError.self, "\(job)") { try PushJob.decode(PushJob.encode([job])) }
        }
    }

    @Test func randomPushJobsNeverTrap() {
        var random = SplitMix(seed: 4)
        let good = PushJob.encode([.messages(room: id, seq: 5, at: 6), .seen(room: id, user: id, seq: 7)])
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0..<3 {
                bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            _ = try? PushJob.decode(bytes)
        }
    }
}
