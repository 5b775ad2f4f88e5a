import ChatCore
import TestSupport
import Testing

/// The rules, on a batch without a store: it contains all data.
struct Scene {
    static let limits = settings.rooms
    static let accounts = settings.account
    private static let settings = Settings.test()

    var batch = RoomBatch(limits: Scene.limits, now: 1_000_000)
    private var random = SplitMix(seed: 5)
    let owner: UUID128
    let member: UUID128
    let stranger: UUID128

    init() {
        owner = UUID128.v7(unixMilliseconds: 1, using: &random)
        member = UUID128.v7(unixMilliseconds: 2, using: &random)
        stranger = UUID128.v7(unixMilliseconds: 3, using: &random)
        batch.begin()
    }

    mutating func id() -> UUID128 { UUID128.v7(unixMilliseconds: 4, using: &random) }

    mutating func command(
        _ room: UUID128, _ actor: UUID128, _ action: Command.Action, sign: String? = nil, id: UUID128? = nil,
        origin: CommandOrigin = .nobody
    ) -> Command {
        Command(
            id: id ?? self.id(), room: room, actor: actor, sign: sign, origin: origin, acceptedAt: 0, action: action)
    }

    mutating func room(_ type: RoomType = .group) -> UUID128 {
        let id = type == .privateRoom ? privateRoomID(owner, member)! : self.id()
        let outcome = batch.carryOut(
            command(id, owner, .createRoom(RoomDraft(type: type, name: "room", members: [member])), id: id))
        #expect(outcome.refusal == nil)
        return id
    }

    mutating func send(
        _ room: UUID128, _ actor: UUID128, _ text: String = "hello", sign: String? = nil, id: UUID128? = nil
    ) -> CommandOutcome {
        batch.carryOut(command(room, actor, .send(MessageDraft(content: text), receiver: nil), sign: sign, id: id))
    }

    mutating func act(_ room: UUID128, _ actor: UUID128, _ action: Command.Action) -> CommandOutcome {
        batch.carryOut(command(room, actor, action))
    }

    func frames(_ room: UUID128) -> [RoomFrame] { batch.frames[room] ?? [] }
    func unread(_ room: UUID128, _ user: UUID128) -> Int64? {
        batch.members[.init(room, user)]?.unread(in: batch.rooms[room]!)
    }
}

@Suite struct SendMessageTests {
    @Test func takesTheNextPlaceAndTellsTheRoom() throws {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.send(room, scene.owner).refusal == nil)
        #expect(scene.send(room, scene.member).refusal == nil)
        #expect(scene.frames(room).map(\.seq) == [1, 2])
        #expect(scene.frames(room).allSatisfy { $0.kind == .newMessage })
        #expect(scene.batch.rooms[room]?.lastSeq == 2)
        #expect(scene.batch.rooms[room]?.messageCount == 2)
    }

    @Test func strangersAndMissingRoomsLookTheSame() {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.send(room, scene.stranger).refusal == .notAMember)
        #expect(scene.send(scene.id(), scene.owner).refusal == .notAMember)
        #expect(scene.frames(room).isEmpty)
    }

    @Test func theSameSignIsStoredOnceAndAnsweredTheSame() {
        var scene = Scene()
        let room = scene.room()
        let first = scene.send(room, scene.owner, sign: "a")
        let retry = scene.send(room, scene.owner, sign: "a")
        #expect(retry.answer == first.answer)
        #expect(!retry.isInFrame)
        #expect(scene.frames(room).count == 1)
        // A different message is a mismatch.
        #expect(scene.send(room, scene.owner, "another text", sign: "a").refusal == .idempotencyMismatch)
        #expect(scene.send(scene.room(), scene.owner, sign: "a").refusal == .idempotencyMismatch)
        // A Sign belongs to one sender.
        #expect(scene.send(room, scene.member, sign: "a").refusal == nil)
        #expect(scene.frames(room).count == 2)
    }

    @Test func aRedeliveredCommandRepeatsItsFrameNotTheWork() {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        let first = scene.send(room, scene.owner, sign: "a", id: id)
        let again = scene.send(room, scene.owner, sign: "a", id: id)
        #expect(again.answer == first.answer)
        #expect(again.isInFrame)
        #expect(scene.frames(room).map(\.seq) == [1, 1])
        #expect(scene.batch.newMessages.count == 1)
    }

    @Test func aPrivateRoomComesFromItsFirstMessageOnce() {
        var scene = Scene()
        let room = privateRoomID(scene.owner, scene.member)!
        for (sender, receiver) in [(scene.owner, scene.member), (scene.member, scene.owner)] {
            let command = scene.command(room, sender, .send(MessageDraft(content: "x"), receiver: receiver))
            #expect(scene.batch.carryOut(command).refusal == nil)
        }
        #expect(scene.batch.newRooms == [room])
        #expect(scene.frames(room).map(\.seq) == [1, 2])
        #expect(scene.batch.userEvents.map(\.user).sorted() == [scene.owner, scene.member].sorted())
        let wrong = scene.command(scene.id(), scene.owner, .send(MessageDraft(content: "x"), receiver: scene.member))
        #expect(scene.batch.carryOut(wrong).refusal == .invalid)
    }

    /// Everybody who knows the two can compute their room's id, and an import gives a room any id.
    @Test func aGroupWithThePairsIDIsNotTheirRoom() {
        var scene = Scene()
        let room = privateRoomID(scene.owner, scene.member)!
        #expect(
            scene.act(room, scene.owner, .createRoom(RoomDraft(type: .group, name: "x", members: [scene.member])))
                .refusal == nil)
        let first = scene.command(
            room, scene.owner, .send(MessageDraft(content: "for you alone"), receiver: scene.member))
        #expect(scene.batch.carryOut(first).refusal == .notAMember)
        let create = Command.Action.createRoom(RoomDraft(type: .privateRoom, members: [scene.member]))
        #expect(scene.act(room, scene.owner, create).refusal == .notAMember)
        #expect(scene.frames(room).isEmpty)
    }

    @Test func aRoomThatIsBeingImportedIsBusyForItsPair() {
        var scene = Scene()
        let room = scene.room(.privateRoom)
        // PostgreSQL's infinity, as it is read.
        scene.batch.rooms[room]?.deletedAt = Int64.max / 1000
        let create = Command.Action.createRoom(RoomDraft(type: .privateRoom, members: [scene.member]))
        #expect(scene.act(room, scene.owner, create).refusal == .busy)
        let first = scene.command(room, scene.owner, .send(MessageDraft(content: "x"), receiver: scene.member))
        #expect(scene.batch.carryOut(first).refusal == .busy)
        #expect(scene.send(room, scene.owner).refusal == .notAMember)
        scene.batch.rooms[room]?.deletedAt = 5000
        #expect(scene.act(room, scene.owner, create).refusal == .notAMember)
    }

    @Test func onlyOwnerAndAdminPostToAChannel() {
        var scene = Scene()
        let room = scene.room(.channel)
        #expect(scene.send(room, scene.member).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .setRole(user: scene.member, role: .admin)).refusal == nil)
        #expect(scene.send(room, scene.member).refusal == nil)
    }

    @Test func aBlockedPairDoesNotUseItsRoom() {
        var scene = Scene()
        let (room, group) = (scene.room(.privateRoom), scene.room())
        scene.batch.blocks.insert(.init(blocker: scene.member, blocked: scene.owner))
        #expect(scene.send(room, scene.owner).refusal == .blocked)
        #expect(scene.send(room, scene.member).refusal == .blocked)
        let again = RoomDraft(type: .privateRoom, members: [scene.member])
        #expect(scene.act(room, scene.owner, .createRoom(again)).refusal == .blocked)
        #expect(
            scene.act(room, scene.owner, .react(message: scene.id(), reaction: "👍", remove: false)).refusal == .blocked)
        // Existing groups still work.
        #expect(scene.send(group, scene.owner).refusal == nil)
    }

    @Test func repliesStayInTheirRoomAndForwardsKeepTheirOrigin() {
        var scene = Scene()
        let room = scene.room()
        let other = scene.room()
        let origin = scene.id()
        _ = scene.send(room, scene.owner, "origin", id: origin)
        let reply = MessageDraft(content: "re", messageType: .replied, parent: origin)
        #expect(scene.act(room, scene.member, .send(reply, receiver: nil)).refusal == nil)
        #expect(scene.act(other, scene.member, .send(reply, receiver: nil)).refusal == .messageNotFound)
        let forward = MessageDraft(content: "", messageType: .forwarded, parent: origin)
        #expect(scene.act(other, scene.member, .send(forward, receiver: nil)).refusal == .messageNotFound)
        scene.batch.readable.insert(.init(origin, scene.member))
        let id = scene.id()
        let command = scene.command(other, scene.member, .send(forward, receiver: nil), id: id)
        #expect(scene.batch.carryOut(command).refusal == nil)
        #expect(scene.batch.messages[id]?.content == "origin")
        #expect(scene.batch.messages[id]?.forwardedFrom == origin)
    }

    private static let file = FileInfo(name: "a.png", size: 3, contentType: "image/png")

    /// A file's message without its chunks.
    private func pending(_ scene: inout Scene, _ room: UUID128, sign: String? = nil) -> UUID128 {
        let id = scene.id()
        let draft = MessageDraft(content: "a.png", contentType: .image)
        let outcome = scene.batch.carryOut(
            scene.command(room, scene.owner, .send(draft, receiver: nil), sign: sign, id: id))
        #expect(outcome.refusal == nil)
        #expect(!outcome.isInFrame)
        return id
    }

    @Test func aFileTakesItsPlaceWhenItIsComplete() throws {
        var scene = Scene()
        let room = scene.room()
        let id = pending(&scene, room)
        #expect(scene.frames(room).isEmpty)
        #expect(scene.batch.rooms[room]?.lastSeq == 0)
        #expect(scene.unread(room, scene.member) == 0)
        _ = scene.send(room, scene.owner, "meanwhile")
        #expect(scene.act(room, scene.member, .completeFile(message: id, file: Self.file)).refusal == .messageNotFound)
        let completed = scene.act(room, scene.owner, .completeFile(message: id, file: Self.file))
        #expect(completed.refusal == nil)
        #expect(completed.isInFrame)
        let told = try #require(scene.frames(room).last)
        #expect(told.kind == .newMessage)
        #expect(told.seq == 2)
        #expect(scene.batch.messages[id]?.seq == 2)
        #expect(scene.batch.rooms[room]?.lastMessageSeq == 2)
        #expect(scene.unread(room, scene.member) == 2)
        #expect(scene.act(room, scene.member, .seen(seq: 1)).refusal == nil)
        #expect(scene.unread(room, scene.member) == 1)
        // Its worker may have died before the room was told: the same frame again, and no new one.
        let again = scene.act(room, scene.owner, .completeFile(message: id, file: Self.file))
        #expect(again.answer == completed.answer)
        #expect(scene.frames(room).last?.seq == 2)
        #expect(scene.batch.rooms[room]?.lastSeq == 3)
    }

    @Test func aPendingFileIsNobodyElses() {
        var scene = Scene()
        let room = scene.room()
        let id = pending(&scene, room)
        for (actor, refusal) in [(scene.owner, ErrorCode.conflict), (scene.member, .messageNotFound)] {
            #expect(scene.act(room, actor, .react(message: id, reaction: "👍", remove: false)).refusal == refusal)
        }
        #expect(scene.act(room, scene.member, .delete(message: id)).refusal == .messageNotFound)
        let reply = MessageDraft(content: "re", messageType: .replied, parent: id)
        #expect(scene.act(room, scene.owner, .send(reply, receiver: nil)).refusal == .messageNotFound)
        scene.batch.readable.insert(.init(id, scene.owner))
        let forward = MessageDraft(content: "", messageType: .forwarded, parent: id)
        #expect(scene.act(room, scene.owner, .send(forward, receiver: nil)).refusal == .messageNotFound)
        #expect(scene.act(room, scene.owner, .pin(message: id, pinned: true)).refusal == .gone)
        #expect(scene.frames(room).isEmpty)
    }

    @Test func theEndOfAPendingFileCostsNoSeq() {
        var scene = Scene()
        let room = scene.room()
        let (deleted, abandoned) = (pending(&scene, room, sign: "d"), pending(&scene, room, sign: "a"))
        #expect(scene.act(room, scene.owner, .delete(message: deleted)).refusal == nil)
        #expect(scene.act(room, scene.stranger, .abandonFile(message: abandoned)).refusal == .messageNotFound)
        #expect(scene.act(room, scene.owner, .abandonFile(message: abandoned)).refusal == nil)
        for id in [deleted, abandoned] {
            #expect(scene.batch.messages[id]?.status == .deleted)
            #expect(scene.act(room, scene.owner, .completeFile(message: id, file: Self.file)).refusal == .gone)
        }
        #expect(scene.frames(room).isEmpty)
        #expect(scene.batch.wiped.isEmpty)
        #expect(scene.batch.rooms[room]?.lastSeq == 0)
        // A deleted message keeps its Sign; the Sign of an abandoned upload is free.
        #expect(pending(&scene, room, sign: "a") == scene.batch.messagesBySign[.init(scene.owner, "a")]?.id)
        let draft = MessageDraft(content: "b.png", contentType: .image)
        _ = scene.batch.carryOut(scene.command(room, scene.owner, .send(draft, receiver: nil), sign: "d"))
        #expect(scene.batch.messagesBySign[.init(scene.owner, "d")]?.id == deleted)
    }

    @Test func aRetryOfAPendingFileIsThePendingFile() {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        let send = Command.Action.send(MessageDraft(content: "a.png", contentType: .image), receiver: nil)
        let first = scene.batch.carryOut(scene.command(room, scene.owner, send, sign: "s", id: id))
        let retry = scene.batch.carryOut(scene.command(room, scene.owner, send, sign: "s"))
        let redelivered = scene.batch.carryOut(scene.command(room, scene.owner, send, sign: "s", id: id))
        #expect(retry.answer == first.answer)
        #expect(redelivered.answer == first.answer)
        #expect(scene.batch.newMessages == [id])
        #expect(scene.frames(room).isEmpty)
    }

    @Test func whoMayNotPostAnyMoreCompletesNothing() {
        var scene = Scene()
        for change in [
            Command.Action.ban(user: scene.member, banned: true), .removeMember(scene.member),
            .mute(user: scene.member, until: 9_000_000_000_000), .deleteRoom,
        ] {
            let room = scene.room()
            let id = scene.id()
            let draft = MessageDraft(content: "a.png", contentType: .image)
            _ = scene.batch.carryOut(scene.command(room, scene.member, .send(draft, receiver: nil), id: id))
            #expect(scene.act(room, scene.owner, change).refusal == nil)
            let told = scene.frames(room).count
            #expect(scene.act(room, scene.member, .completeFile(message: id, file: Self.file)).refusal != nil)
            #expect(scene.frames(room).count == told)
            #expect(scene.act(room, scene.member, .abandonFile(message: id)).refusal == nil)
            #expect(scene.frames(room).count == told)
        }
    }

    @Test func aFileOfTheVersionBeforeLeavesAMarkAtItsOldPlace() throws {
        var scene = Scene()
        let room = scene.room()
        _ = scene.send(room, scene.owner)
        let id = scene.id()
        scene.batch.messages[id] = Message(
            id: id, roomID: room, senderID: scene.owner, seq: 1, changeSeq: 1, content: "a.png", contentType: .image,
            messageType: .direct, status: .uploading, createdAt: 0)
        #expect(scene.act(room, scene.owner, .completeFile(message: id, file: Self.file)).refusal == nil)
        #expect(scene.batch.messages[id]?.seq == 2)
        #expect(scene.batch.events.map(\.frame) == [.skipped(1, in: room)])
    }
}

@Suite struct SeenTests {
    @Test func unreadIsWhatOthersSentAfterMyMark() {
        var scene = Scene()
        let room = scene.room()
        for _ in 0..<3 { _ = scene.send(room, scene.owner) }
        for _ in 0..<2 { _ = scene.send(room, scene.member) }
        #expect(scene.unread(room, scene.owner) == 2)
        #expect(scene.unread(room, scene.member) == 3)
        #expect(scene.act(room, scene.member, .seen(seq: 2)).refusal == nil)
        #expect(scene.unread(room, scene.member) == 1)
        #expect(scene.act(room, scene.member, .seen(seq: nil)).refusal == nil)
        #expect(scene.unread(room, scene.member) == 0)
        _ = scene.send(room, scene.owner)
        #expect(scene.unread(room, scene.member) == 1)
    }

    @Test func aMarkNeverGoesBackAndNeverStandsOnItself() throws {
        var scene = Scene()
        let room = scene.room()
        _ = scene.send(room, scene.owner)
        #expect(scene.act(room, scene.member, .seen(seq: 99)).isInFrame)
        let told = scene.frames(room).count
        for seq in [nil, 0, 1, 99] as [Int64?] {
            let outcome = scene.act(room, scene.member, .seen(seq: seq))
            #expect(outcome.refusal == nil)
            #expect(!outcome.isInFrame)
        }
        #expect(scene.frames(room).count == told)
        #expect(scene.batch.members[.init(room, scene.member)]?.lastSeenSeq == 1)
    }
}

@Suite struct ChangeMessageTests {
    @Test func editAndDeleteTakeTheNextPlace() throws {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        _ = scene.send(room, scene.owner, id: id)
        #expect(scene.act(room, scene.member, .edit(message: id, content: "b")).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "b")).refusal == nil)
        #expect(scene.batch.messages[id]?.changeSeq == 2)
        #expect(scene.batch.edits.map(\.before) == ["hello"])
        #expect(scene.act(room, scene.stranger, .delete(message: id)).refusal == .notAMember)
        #expect(scene.act(room, scene.member, .delete(message: id)).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .delete(message: id)).refusal == nil)
        let message = try #require(scene.batch.messages[id])
        #expect(message.content == "" && message.status == .deleted && message.seq == 1 && message.changeSeq == 3)
        #expect(scene.batch.wiped == [room])
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "c")).refusal == .gone)
    }

    @Test func aPinIsTheRoomsAndGoesWithItsMessage() throws {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        _ = scene.send(room, scene.member, id: id)
        #expect(scene.act(room, scene.member, .pin(message: id, pinned: true)).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .pin(message: id, pinned: true)).isInFrame)
        #expect(!scene.act(room, scene.owner, .pin(message: id, pinned: true)).isInFrame)
        #expect(scene.batch.messages[id]?.changeSeq == 2)
        #expect(scene.frames(room).map(\.kind) == [.newMessage, .roomUpdated])
        #expect(scene.act(room, scene.owner, .pin(message: id, pinned: false)).isInFrame)
        #expect(scene.act(room, scene.owner, .pin(message: id, pinned: true)).isInFrame)
        #expect(scene.act(room, scene.owner, .delete(message: id)).refusal == nil)
        #expect(scene.batch.messages[id]?.pinnedAt == nil)
        #expect(scene.act(room, scene.owner, .pin(message: id, pinned: true)).refusal == .gone)
        for _ in 0..<Scene.limits.pins {
            let other = scene.id()
            _ = scene.send(room, scene.owner, id: other)
            #expect(scene.act(room, scene.owner, .pin(message: other, pinned: true)).refusal == nil)
        }
        let last = scene.id()
        _ = scene.send(room, scene.owner, id: last)
        #expect(scene.act(room, scene.owner, .pin(message: last, pinned: true)).refusal == .conflict)
    }

    @Test func anEditMayAskThatNobodyWasFaster() {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        _ = scene.send(room, scene.owner, id: id)
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "b", base: 1)).refusal == nil)
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "c", base: 1)).refusal == .conflict)
        // A reaction is not an edit.
        _ = scene.act(room, scene.member, .react(message: id, reaction: "👍", remove: false))
        #expect(scene.act(room, scene.owner, .edit(message: id, content: "c", base: 2)).refusal == nil)
    }

    @Test func mentionsAreReadFromTheContent() {
        let scene = Scene()
        let (one, other) = (scene.owner, scene.member)
        func mentions(_ text: String) -> [UUID128] {
            Message(
                id: one, roomID: one, senderID: one, seq: 1, changeSeq: 1, content: text, contentType: .text,
                messageType: .direct, createdAt: 0
            ).mentions
        }
        #expect(mentions("@\(one) and @\(other), @\(one) again") == [one, other])
        #expect(mentions("@@\(one)@\(other)") == [one, other])
        #expect(mentions("@, a@b, @\(one.description.dropLast()), \(other)").isEmpty)
        #expect(mentions("").isEmpty)
        let host = try! HostUser("4711").id
        #expect(mentions("<@4711> and <@4711>") == [host])
        #expect(mentions("<@\(one)>@\(other)<@4711><@Zoë 100%>") == [one, other, host, try! HostUser("Zoë 100%").id])
        // Each try costs a hash, on every page: those after the first hundred mention nobody.
        #expect(mentions(String(repeating: "<@a>", count: 99) + "<@b><@c>@\(one)").count == 3)
        #expect(mentions("@4711> <@> <@4711 <@a\nb> <@\(String(repeating: "a", count: 129))> < @4711>").isEmpty)
        #expect(mentions("<@\(String(repeating: "a", count: 128))>").count == 1)
        #expect(mentions("<@").isEmpty && mentions("@").isEmpty && mentions("<@4711").isEmpty)
    }

    @Test func oneReactionPerUserAndEmoji() throws {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        _ = scene.send(room, scene.owner, id: id)
        func react(_ user: UUID128, _ remove: Bool) -> CommandOutcome {
            scene.act(room, user, .react(message: id, reaction: "👍", remove: remove))
        }
        #expect(react(scene.member, false).isInFrame)
        #expect(!react(scene.member, false).isInFrame)
        #expect(react(scene.owner, false).isInFrame)
        #expect(scene.batch.messages[id]?.reactions.first?.users.count == 2)
        #expect(react(scene.member, true).isInFrame)
        #expect(react(scene.owner, true).isInFrame)
        #expect(scene.batch.messages[id]?.reactions.isEmpty == true)
        #expect(!react(scene.owner, true).isInFrame)
    }
}

@Suite struct MemberTests {
    @Test func whoJoinsGetsTheirOwnFrameAndWhoLeavesTheirLast() throws {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.act(room, scene.member, .addMembers([scene.stranger])).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .addMembers([scene.stranger])).refusal == nil)
        let joined = try #require(scene.frames(room).first)
        #expect(joined.kind == .roomUpdated && joined.joined == [scene.stranger])
        #expect(scene.frames(room).count == 2)  // and the SYSTEM message
        #expect(scene.send(room, scene.stranger).refusal == nil)
        #expect(scene.act(room, scene.stranger, .removeMember(scene.stranger)).refusal == nil)
        #expect(scene.frames(room)[3].left == [scene.stranger])
        #expect(scene.send(room, scene.stranger).refusal == .notAMember)
        #expect(scene.batch.rooms[room]?.memberCount == 2)
        #expect(scene.unread(room, scene.member) == 1)  // SYSTEM messages do not count
    }

    @Test func theLimitHolds() {
        var scene = Scene()
        let room = scene.room()
        for _ in 2..<50 { #expect(scene.act(room, scene.owner, .addMembers([scene.id()])).refusal == nil) }
        #expect(scene.act(room, scene.owner, .addMembers([scene.id()])).refusal == .roomFull)
    }

    @Test func bansKeepOut() {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.act(room, scene.member, .ban(user: scene.owner, banned: true)).refusal == .forbidden)
        #expect(scene.act(room, scene.owner, .ban(user: scene.member, banned: true)).refusal == nil)
        #expect(scene.send(room, scene.member).refusal == .banned)
        #expect(scene.act(room, scene.owner, .addMembers([scene.member])).refusal == .banned)
        #expect(scene.act(room, scene.owner, .ban(user: scene.member, banned: false)).refusal == nil)
        #expect(scene.send(room, scene.member).refusal == .notAMember)
        #expect(scene.act(room, scene.owner, .addMembers([scene.member])).refusal == nil)
        #expect(scene.send(room, scene.member).refusal == nil)
    }

    @Test func aLinkLetsInUntilItEnds() throws {
        var scene = Scene()
        let room = scene.room()
        func invite(_ actor: UUID128, _ draft: InvitationDraft) -> (UUID128, CommandOutcome) {
            let id = scene.id()
            return (id, scene.batch.carryOut(scene.command(room, actor, .createInvitation(draft), id: id)))
        }
        #expect(invite(scene.member, InvitationDraft(token: "a")).1.refusal == .forbidden)
        let (twice, made) = invite(scene.owner, InvitationDraft(token: "b", expiresAt: 1_000_001, maxUses: 2))
        #expect(made.refusal == nil)
        // Only the answer contains the token.
        #expect(String(decoding: made.answer.bytes, as: UTF8.self).contains("Token"))
        #expect(!String(decoding: try #require(scene.frames(room).last).body.bytes, as: UTF8.self).contains("Token"))
        #expect(scene.act(room, scene.stranger, .join(invitation: twice)).refusal == nil)
        #expect(scene.act(room, scene.stranger, .join(invitation: twice)).refusal == nil)
        #expect(scene.batch.invitations[twice]?.uses == 1)
        #expect(scene.act(room, scene.id(), .join(invitation: twice)).refusal == nil)
        #expect(scene.act(room, scene.id(), .join(invitation: twice)).refusal == .gone)
        let (expired, _) = invite(scene.owner, InvitationDraft(token: "c", expiresAt: 999_999))
        #expect(scene.act(room, scene.id(), .join(invitation: expired)).refusal == .gone)
        let (revoked, _) = invite(scene.owner, InvitationDraft(token: "d"))
        #expect(scene.act(room, scene.owner, .revokeInvitation(revoked)).refusal == nil)
        #expect(scene.act(room, scene.id(), .join(invitation: revoked)).refusal == .gone)
        #expect(scene.act(room, scene.owner, .ban(user: scene.stranger, banned: true)).refusal == nil)
        let (open, _) = invite(scene.owner, InvitationDraft(token: "e"))
        #expect(scene.act(room, scene.stranger, .join(invitation: open)).refusal == .banned)
        #expect(scene.act(scene.room(), scene.id(), .join(invitation: open)).refusal == .notFound)
        #expect(scene.act(room, scene.owner, .updateRoom(RoomPatch(memberLimit: 3))).refusal == nil)
        #expect(scene.act(room, scene.id(), .join(invitation: open)).refusal == .roomFull)
    }

    @Test func theOwnerHandsOverBeforeLeaving() {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.act(room, scene.owner, .removeMember(scene.owner)).refusal == .conflict)
        #expect(scene.act(room, scene.owner, .setRole(user: scene.member, role: .owner)).refusal == nil)
        #expect(scene.batch.rooms[room]?.ownerID == scene.member)
        #expect(scene.act(room, scene.owner, .removeMember(scene.owner)).refusal == nil)
    }
}
