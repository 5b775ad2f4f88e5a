import ChatCore
import Testing

/// Consent to being added to rooms, the effects of rejoining, and the limit of rooms.
@Suite struct ConsentTests {
    @Test func aMuteOutlastsLeaving() {
        var scene = Scene()
        let room = scene.room()
        #expect(scene.act(room, scene.owner, .mute(user: scene.member, until: 9_000_000)).refusal == nil)
        #expect(scene.act(room, scene.member, .removeMember(scene.member)).refusal == nil)
        #expect(scene.act(room, scene.owner, .addMembers([scene.member])).refusal == nil)
        let outcome = scene.send(room, scene.member)
        #expect(outcome.refusal == .muted)
        #expect(scene.batch.members[.init(room, scene.member)]?.mutedUntil == 9_000_000)
    }

    @Test func theWaitOfAMuteIsInTheAnswer() throws {
        var scene = Scene()
        let room = scene.room()
        _ = scene.act(room, scene.owner, .mute(user: scene.member, until: 1_060_500))
        let frame = try MessagePackReader.decode(scene.send(room, scene.member).answer.frame(.response))
        #expect(frame["RetryAfter"] == .int(60_500))
        let refusal = Refusal(
            answer: frame["Error"]?.string ?? "", retryAfterMilliseconds: frame["RetryAfter"]?.int)
        #expect(refusal.code == .muted && refusal.retryAfter == 61)
    }

    @Test func whoHasBlockedMeIsAddedByOthersAlone() {
        var scene = Scene()
        let room = scene.room()
        scene.batch.blocks.insert(.init(blocker: scene.stranger, blocked: scene.owner))
        #expect(scene.act(room, scene.owner, .addMembers([scene.stranger])).refusal == .blocked)
        let draft = RoomDraft(type: .group, name: "x", members: [scene.stranger])
        #expect(scene.act(scene.id(), scene.owner, .createRoom(draft)).refusal == .blocked)
        #expect(scene.act(room, scene.owner, .setRole(user: scene.member, role: .admin)).refusal == nil)
        #expect(scene.act(room, scene.member, .addMembers([scene.stranger])).refusal == nil)
        // A user may still add somebody whom they have blocked.
        var other = Scene()
        let theirs = other.room()
        other.batch.blocks.insert(.init(blocker: other.owner, blocked: other.stranger))
        #expect(other.act(theirs, other.owner, .addMembers([other.stranger])).refusal == nil)
    }

    @Test func whoLetsNobodyAddThemIsNotAdded() {
        var scene = Scene()
        let room = scene.room()
        scene.batch.refusedAdds.insert(.init(scene.owner, scene.stranger))
        #expect(scene.act(room, scene.owner, .addMembers([scene.stranger])).refusal == .forbidden)
        let draft = RoomDraft(type: .channel, name: "x", members: [scene.stranger])
        #expect(scene.act(scene.id(), scene.owner, .createRoom(draft)).refusal == .forbidden)
        let pair = privateRoomID(scene.owner, scene.stranger)!
        let message = Command.Action.send(MessageDraft(content: "x"), receiver: scene.stranger)
        #expect(scene.act(pair, scene.owner, message).refusal == .forbidden)
        #expect(scene.batch.rooms[pair] == nil)
        // The host application needs no consent, nor does the user.
        var command = scene.command(room, scene.owner, .addMembers([scene.stranger]))
        command.isHost = true
        #expect(scene.batch.carryOut(command).refusal == nil)
        let back = Command.Action.send(MessageDraft(content: "x"), receiver: scene.owner)
        #expect(scene.act(pair, scene.stranger, back).refusal == nil)
    }

    @Test func roomsOfOneUserAreBounded() {
        var scene = Scene()
        let room = scene.room()
        let most = Scene.limits.roomsPerUser
        scene.batch.roomCounts[scene.stranger] = most
        #expect(scene.act(room, scene.owner, .addMembers([scene.stranger])).refusal == .conflict)
        let draft = RoomDraft(type: .group, name: "x", members: [])
        #expect(scene.act(scene.id(), scene.stranger, .createRoom(draft)).refusal == .conflict)
        scene.batch.roomCounts[scene.stranger] = most - 1
        let last = scene.id()
        #expect(scene.act(last, scene.stranger, .createRoom(draft)).refusal == nil)
        #expect(scene.act(scene.id(), scene.stranger, .createRoom(draft)).refusal == .conflict)
    }

    @Test func aForwardKeepsItsWords() {
        var scene = Scene()
        let (room, original, forward) = (scene.room(), scene.id(), scene.id())
        _ = scene.send(room, scene.owner, "I like cats", id: original)
        scene.batch.readable.insert(.init(original, scene.member))
        let draft = MessageDraft(content: "", messageType: .forwarded, parent: original)
        let sent = scene.batch.carryOut(scene.command(room, scene.member, .send(draft, receiver: nil), id: forward))
        #expect(sent.refusal == nil)
        #expect(scene.act(room, scene.member, .edit(message: forward, content: "I hate cats")).refusal == .forbidden)
        #expect(scene.batch.messages[forward]?.content == "I like cats")
    }

    @Test func commandsOfTheHostTravelAsSuch() throws {
        var scene = Scene()
        var command = scene.command(scene.id(), scene.owner, .deleteRoom)
        for isHost in [false, true] {
            command.isHost = isHost
            #expect(try Command.decodeAll(command.joinedAlone) == [command])
        }
    }
}
