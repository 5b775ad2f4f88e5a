import Testing

@testable import ChatCore

private func json(_ text: String) throws -> WireValue { try JSONReader.decode(Array(text.utf8)) }

private func text(_ value: WireValue) -> String {
    var writer = JSONWriter()
    writer.value(value)
    return String(decoding: writer.take(), as: UTF8.self)
}

private func patch(_ text: String) throws -> MetadataPatch { try #require(MetadataPatch(try json(text))) }

@Suite struct MetadataTests {
    /// The test cases of RFC 7396, appendix A.
    @Test(arguments: [
        (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
        (#"{"a":"b"}"#, #"{"a":null}"#, "{}"),
        (#"{"a":"b","b":"c"}"#, #"{"a":null}"#, #"{"b":"c"}"#),
        (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
        (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
        (#"{"a":[{"b":"c"}]}"#, #"{"a":[1]}"#, #"{"a":[1]}"#),
        (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
        (#"{"a":"b"}"#, #"["c"]"#, #"["c"]"#),
        (#"{"a":"foo"}"#, "null", "null"),
        (#"{"a":"foo"}"#, #""bar""#, #""bar""#),
        (#"{"e":null}"#, #"{"a":1}"#, #"{"e":null,"a":1}"#),
        ("[1,2]", #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
        ("{}", #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
    ])
    func mergesAsTheStandardSays(_ target: String, _ patch: String, _ result: String) throws {
        #expect(text(Metadata.merge(try json(patch), into: try json(target))) == result)
    }

    @Test func keepsWhatWasWritten() throws {
        let whole = #"{"z":1,"a":[1.5,-0.25,9223372036854775807,null,true,{"b":"ä"}],"":""}"#
        let stored = try #require(try Metadata.merged(try patch(whole), into: nil))
        #expect(stored.text == whole)
        #expect(text(stored.value) == whole)
        #expect(try Metadata.merged(try patch(#"{"z":null,"a":null,"":null}"#), into: stored) == nil)
        #expect(try Metadata.merged(nil, into: stored) == stored)
        // Bytes: another spelling of a letter is another key.
        let keys = try #require(try Metadata.merged(try patch(#"{"e\u0301":1,"\u00e9":2}"#), into: nil))
        #expect(try Metadata.merged(try patch(#"{"\u00e9":null}"#), into: keys)?.text == "{\"e\u{301}\":1}")
    }

    @Test(arguments: [
        #"{"a":"\u0000"}"#, #"{"\u0000":1}"#, #"{"a":[{"b":"\u0000"}]}"#, #"{"a":9223372036854775808}"#,
        #"{"a":1e300}"#, "[]", "7", #""text""#, "null", "true", #"{"a":[[[[[[[[1]]]]]]]]}"#,
        #"{"a":"# + String(repeating: #"{"a":"#, count: 8) + "1" + String(repeating: "}", count: 9),
        #"{"a":""# + String(repeating: "x", count: MetadataPatch.limit) + #""}"#,
    ])
    func isNoPatch(_ value: String) throws { #expect(MetadataPatch(try json(value)) == nil) }

    @Test func theResultIsBounded() throws {
        let full = try #require(try Metadata.merged(try patch(#"{"a":""# + filler(4088) + #""}"#), into: nil))
        #expect(full.text.utf8.count == Metadata.limit)
        #expect(throws: Refusal.self) { try Metadata.merged(try patch(#"{"b":1}"#), into: full) }
        // A patch may be larger than what it leaves.
        let swap = try patch(#"{"a":null,"b":""# + filler(4080) + #""}"#)
        #expect(try Metadata.merged(swap, into: full)?.text.utf8.count == 4088)
        #expect(throws: Refusal.self) { try Metadata.merged(try patch(#"{"a":""# + filler(4089) + #""}"#), into: nil) }
        func keys(_ range: Range<Int>) throws -> MetadataPatch {
            try patch("{" + range.map { #""k\#($0)":1"# }.joined(separator: ",") + "}")
        }
        let many = try #require(try Metadata.merged(try keys(0..<64), into: nil))
        #expect(try Metadata.merged(try keys(0..<64), into: many) == many)
        #expect(throws: Refusal.self) { try Metadata.merged(try keys(64..<65), into: many) }
    }

    private func filler(_ count: Int) -> String { String(repeating: "x", count: count) }

    @Test func requestsSayWhatIsWrong() throws {
        func refusal(_ text: String) throws -> Refusal? {
            do throws(Refusal) {
                _ = try RequestFields(try! json(text)).metadata()
                return nil
            } catch { return error }
        }
        for wrong in [#"{"Metadata":[]}"#, #"{"Metadata":"x"}"#, #"{"Metadata":1}"#, #"{"Metadata":{"a":"\u0000"}}"#] {
            #expect(try refusal(wrong)?.code == .invalid)
            #expect(try refusal(wrong)?.field == "Metadata")
        }
        for none in ["{}", #"{"Metadata":null}"#, #"{"Metadata":{}}"#, #"{"Metadata":{"a":null}}"#] {
            #expect(try RequestFields(try json(none)).metadata() == nil)
        }
        #expect(throws: Refusal.self) { try RequestFields(try json(#"{"Metadata":null}"#)).givenMetadata() }
        let message = UUID128(high: 1, low: 2)
        func edit(_ text: String) throws -> Command.Action { try RequestFields(try json(text)).edit(of: message) }
        let kind = try patch(#"{"kind":"a"}"#)
        #expect(try edit(#"{"Metadata":{"kind":"a"}}"#) == .messageMetadata(message: message, kind))
        #expect(
            try edit(#"{"Content":"x","BaseSeq":3,"Metadata":{"kind":"a"}}"#)
                == .edit(message: message, content: "x", base: 3, metadata: kind))
        #expect(try edit(#"{"Content":"x"}"#) == .edit(message: message, content: "x"))
        for wrong in ["{}", #"{"Metadata":null}"#, #"{"Metadata":{},"BaseSeq":3}"#] {
            #expect(throws: Refusal.self) { try edit(wrong) }
        }
    }

    @Test func aRowOfTheLastReleaseIsRead() throws {
        let (room, user) = (UUID128(high: 1, low: 2), UUID128(high: 3, low: 4))
        func sent(_ action: Command.Action) throws -> Command.Action {
            let command = Command(id: user, room: room, actor: user, acceptedAt: 1, action: action)
            return try #require(try Command.decodeAll(command.joinedAlone).first).action
        }
        let (kind, change) = (Metadata(stored: #"{"kind":"a"}"#), try patch(#"{"kind":"a"}"#))
        for action in [
            Command.Action.send(MessageDraft(content: "x", metadata: kind), receiver: user),
            .send(MessageDraft(content: "x", metadata: kind), receiver: nil),
            .send(MessageDraft(content: "x"), receiver: nil),
            .edit(message: user, content: "x", metadata: change), .edit(message: user, content: "x"),
            .createRoom(RoomDraft(type: .group, name: "n", members: [user], metadata: kind)),
            .updateRoom(RoomPatch(metadata: change)), .messageMetadata(message: user, change),
            .memberMetadata(user: user, change),
        ] { #expect(try sent(action) == action) }
    }
}

@Suite struct MetadataRulesTests {
    private func patch(_ text: String) throws -> MetadataPatch {
        try #require(MetadataPatch(try JSONReader.decode(Array(text.utf8))))
    }

    @Test func twoPatchesBothCount() throws {
        var scene = Scene()
        let (room, message) = (scene.room(), scene.id())
        let draft = MessageDraft(content: "x", metadata: Metadata(stored: #"{"kind":"a","n":1}"#))
        #expect(
            scene.batch.carryOut(scene.command(room, scene.owner, .send(draft, receiver: nil), id: message)).refusal
                == nil)
        #expect(scene.act(room, scene.owner, .messageMetadata(message: message, try patch(#"{"b":2}"#))).refusal == nil)
        #expect(
            scene.act(
                room, scene.owner, .edit(message: message, content: "y", metadata: try patch(#"{"n":null,"c":3}"#))
            ).refusal == nil)
        let stored = try #require(scene.batch.messages[message])
        #expect(stored.metadata?.text == #"{"kind":"a","b":2,"c":3}"#)
        #expect(stored.content == "y")
        #expect(stored.changeSeq == 3)
        #expect(scene.batch.edits.count == 1)
        // Nothing to change: no frame.
        #expect(
            scene.act(room, scene.owner, .messageMetadata(message: message, try patch(#"{"b":2}"#))).isInFrame == false)
        #expect(scene.frames(room).count == 3)
        #expect(scene.act(room, scene.owner, .delete(message: message)).refusal == nil)
        #expect(scene.batch.messages[message]?.metadata == nil)
        let late = scene.act(room, scene.owner, .messageMetadata(message: message, try patch(#"{"b":3}"#)))
        #expect(late.refusal == .gone)
    }

    @Test func onlyMetadataChangedIsNoEdit() throws {
        var scene = Scene()
        let (room, message) = (scene.room(), scene.id())
        _ = scene.send(room, scene.owner, id: message)
        _ = scene.act(room, scene.owner, .messageMetadata(message: message, try patch(#"{"b":2}"#)))
        #expect(scene.batch.messages[message]?.editedAt == nil)
        #expect(scene.batch.messages[message]?.metadata != nil)
        #expect(scene.batch.edits.isEmpty)
    }

    @Test func theHostChangesEveryThing() throws {
        var scene = Scene()
        let (room, pair, message) = (scene.room(), scene.room(.privateRoom), scene.id())
        _ = scene.send(room, scene.owner, id: message)
        let change = try patch(#"{"kind":"a"}"#)
        for (room, action) in [
            (room, Command.Action.messageMetadata(message: message, change)),
            (room, .updateRoom(RoomPatch(metadata: change))),
            (pair, .updateRoom(RoomPatch(metadata: change))), (room, .memberMetadata(user: scene.owner, change)),
        ] {
            #expect(scene.act(room, scene.member, action).refusal == .forbidden)
            var command = scene.command(room, scene.member, action)
            command.isHost = true
            #expect(scene.batch.carryOut(command).refusal == nil)
        }
        var rename = scene.command(room, scene.member, .updateRoom(RoomPatch(name: "x", metadata: change)))
        rename.isHost = true
        #expect(scene.batch.carryOut(rename).refusal == .forbidden)
        #expect(scene.batch.rooms[pair]?.metadata?.text == #"{"kind":"a"}"#)
    }

    @Test func aMemberWhoComesBackHasNone() throws {
        var scene = Scene()
        let room = scene.room()
        let key = RoomBatch.MemberKey(room, scene.member)
        _ = scene.act(room, scene.member, .memberMetadata(user: scene.member, try patch(#"{"kind":"a"}"#)))
        #expect(scene.batch.members[key]?.metadata != nil)
        _ = scene.act(room, scene.owner, .setRole(user: scene.member, role: .admin))
        #expect(scene.batch.members[key]?.metadata != nil)
        _ = scene.act(room, scene.member, .removeMember(scene.member))
        _ = scene.act(room, scene.owner, .addMembers([scene.member]))
        #expect(scene.batch.members[key]?.metadata == nil)
    }

    @Test func aRetryWithOtherMetadataIsAnotherRequest() throws {
        var scene = Scene()
        let room = scene.room()
        func send(_ metadata: String?) -> ErrorCode? {
            let draft = MessageDraft(content: "x", metadata: metadata.map { Metadata(stored: $0) })
            return scene.batch.carryOut(scene.command(room, scene.owner, .send(draft, receiver: nil), sign: "s"))
                .refusal
        }
        #expect(send(#"{"a":1}"#) == nil)
        #expect(send(#"{"a":1}"#) == nil)
        #expect(send(#"{"a":2}"#) == .idempotencyMismatch)
        #expect(send(nil) == .idempotencyMismatch)
    }
}
