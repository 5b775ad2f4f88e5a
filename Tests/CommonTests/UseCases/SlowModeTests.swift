import ChatAdapters
import ChatCore
import TestSupport
import Testing

/// The rules, on a batch without a store; its time is 1,000,000.
@Suite struct SlowModeTests {
    private var scene = Scene()
    private let room: UUID128

    init() {
        room = scene.room()
        #expect(scene.act(room, scene.owner, .updateRoom(RoomPatch(slowModeSeconds: 10))).refusal == nil)
    }

    private mutating func send(
        at time: Int64, by user: UUID128? = nil, _ draft: MessageDraft = MessageDraft(content: "x"), sign: String? = nil
    ) -> CommandOutcome {
        var command = scene.command(room, user ?? scene.member, .send(draft, receiver: nil), sign: sign)
        command.acceptedAt = time
        return scene.batch.carryOut(command)
    }

    @Test mutating func aMemberWaitsExactly() throws {
        #expect(send(at: 980_000).refusal == nil)
        #expect(send(at: 989_999).refusal == .slowMode)
        #expect(send(at: 990_000).refusal == nil)
        // Refused messages do not lengthen the wait.
        #expect(send(at: 999_999).refusal == .slowMode)
        #expect(send(at: 1_000_000).refusal == nil)
    }

    @Test mutating func theRefusalSaysHowLong() throws {
        #expect(send(at: 997_000).refusal == nil)
        let refused = send(at: 998_000)
        #expect(refused.refusal == .slowMode)
        let text = String(decoding: refused.answer.bytes, as: UTF8.self)
        #expect(text.contains("slow_mode: a MEMBER may send one message in 10 seconds here"))
    }

    @Test mutating func ownerAndAdminAreExemptAndOneWhoIsNoLongerWaits() {
        for _ in 0..<3 { #expect(send(at: 1_000_000, by: scene.owner).refusal == nil) }
        _ = scene.act(room, scene.owner, .setRole(user: scene.member, role: .admin))
        for _ in 0..<3 { #expect(send(at: 1_000_000).refusal == nil) }
        _ = scene.act(room, scene.owner, .setRole(user: scene.member, role: .member))
        #expect(send(at: 1_000_000).refusal == .slowMode)
    }

    @Test mutating func theSameSignIsAnsweredAgain() {
        let first = send(at: 1_000_000, sign: "s")
        #expect(send(at: 1_000_000, sign: "s").answer == first.answer)
        #expect(send(at: 1_000_000, sign: "t").refusal == .slowMode)
    }

    @Test mutating func leavingAndComingBackDoesNotHelp() {
        #expect(send(at: 1_000_000).refusal == nil)
        _ = scene.act(room, scene.member, .removeMember(scene.member))
        _ = scene.act(room, scene.owner, .addMembers([scene.member]))
        #expect(send(at: 1_000_000).refusal == .slowMode)
        _ = scene.act(room, scene.owner, .ban(user: scene.member, banned: true))
        _ = scene.act(room, scene.owner, .ban(user: scene.member, banned: false))
        _ = scene.act(room, scene.owner, .addMembers([scene.member]))
        #expect(send(at: 1_000_000).refusal == .slowMode)
    }

    @Test mutating func filesAndRepliesCountAndEditsDoNot() {
        let message = scene.id()
        #expect(scene.send(room, scene.owner, id: message).refusal == nil)
        #expect(send(at: 1_000_000, MessageDraft(content: "a.png", contentType: .image)).refusal == nil)
        let reply = MessageDraft(content: "x", messageType: .replied, parent: message)
        #expect(send(at: 1_000_000, reply).refusal == .slowMode)
        let own = scene.batch.messages.values.first { $0.senderID == scene.member }!
        // The file may be completed at any time: it was accepted already.
        let file = FileInfo(name: "a.png", size: 1, contentType: "image/png")
        #expect(scene.act(room, scene.member, .completeFile(message: own.id, file: file)).refusal == nil)
        #expect(scene.act(room, scene.member, .react(message: message, reaction: "👍", remove: false)).refusal == nil)
    }

    @Test mutating func clocksThatDifferLockNobodyOut() {
        // Accepted by a host whose clock is an hour ahead.
        #expect(send(at: 4_600_000).refusal == nil)
        #expect(scene.batch.members[.init(room, scene.member)]?.lastSentAt == 1_000_000)
        // And numbers from outside.
        for time in [Int64.min, -1, 0] { #expect(send(at: time).refusal == .slowMode) }
        scene.batch.members[.init(room, scene.member)]!.lastSentAt = .min
        #expect(send(at: .max).refusal == nil)
    }

    /// A host whose clock was ahead has stored the time, or this one's clock was set back.
    @Test(arguments: [4_600_000, 1_010_001, .max] as [Int64])
    mutating func aTimeThatIsFarAheadLocksNobodyOut(_ time: Int64) {
        scene.batch.members[.init(room, scene.member)]!.lastSentAt = time
        #expect(send(at: 1_000_000).refusal == nil)
        #expect(send(at: 1_000_000).refusal == .slowMode)
        #expect(scene.batch.members[.init(room, scene.member)]?.lastSentAt == 1_000_000)
    }

    @Test mutating func clocksThatDifferALittleDoNotShortenTheWait() {
        scene.batch.members[.init(room, scene.member)]!.lastSentAt = 1_005_000
        #expect(send(at: 1_000_000).refusal == .slowMode)
        scene.batch.members[.init(room, scene.member)]!.lastSentAt = 990_001
        #expect(send(at: 1_000_000).refusal == .slowMode)
    }

    @Test mutating func itEndsAtOnceAndIsTold() throws {
        #expect(send(at: 1_000_000).refusal == nil)
        let update = scene.act(room, scene.owner, .updateRoom(RoomPatch(slowModeSeconds: 0)))
        #expect(update.refusal == nil && scene.batch.rooms[room]?.slowModeSeconds == 0)
        let frame = try MessagePackReader.decode(update.answer.frame(.response))
        #expect(frame["Data"]?["Room"]?["SlowModeSeconds"] == .int(0))
        for _ in 0..<3 { #expect(send(at: 1_000_000).refusal == nil) }
        #expect(scene.act(room, scene.member, .updateRoom(RoomPatch(slowModeSeconds: 5))).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .erase(user: scene.member)).refusal == nil)
        #expect(scene.batch.members[.init(room, scene.member)]?.lastSentAt == nil)
    }
}

/// On a real database: a worker that takes the room over refuses the same messages.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct StoredSlowModeTests {
    @Test func anotherWorkerRefusesTheSame() throws {
        let database = try TestDatabase()
        var scene = Scene()
        let room = scene.id()
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member], slowModeSeconds: 60)
        let first = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        _ = try first.execute([scene.command(room, scene.owner, .createRoom(draft), id: room)], now: 1_000_000)
        func text(at time: Int64) -> Command {
            var command = scene.command(room, scene.member, .send(MessageDraft(content: "x"), receiver: nil))
            command.acceptedAt = time
            return command
        }
        // The first loads the room, the second comes from the cache.
        for time: Int64 in [1_000_000, 1_060_000] {
            #expect(try first.execute([text(at: time)], now: time).outcomes[0].refusal == nil)
        }
        #expect(try first.execute([text(at: 1_119_999)], now: 1_119_999).outcomes[0].refusal == .slowMode)
        let second = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        #expect(try second.execute([text(at: 1_119_999)], now: 1_119_999).outcomes[0].refusal == .slowMode)
        // Two that were accepted far enough apart, in one batch.
        let outcomes = try second.execute([text(at: 1_120_000), text(at: 1_180_000)], now: 1_500_000).outcomes
        #expect(outcomes.map(\.refusal) == [nil, nil])
        #expect(try first.execute([text(at: 1_200_000)], now: 1_500_000).outcomes[0].refusal == .slowMode)
        let view = try PostgresRoomReader(database.connection()).room(room, for: scene.member)
        #expect(view?.room.slowModeSeconds == 60)
    }
}
