import ChatCore
import Logging
import Testing

@Suite struct HookEventTests {
    @Test func whatTheRoomHearsTheHostHearsToo() throws {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        _ = scene.send(room, scene.owner, id: id)
        _ = scene.act(room, scene.owner, .edit(message: id, content: "b"))
        _ = scene.act(room, scene.member, .seen(seq: nil))
        _ = scene.act(room, scene.owner, .addMembers([scene.stranger]))
        _ = scene.act(room, scene.owner, .pin(message: id, pinned: true))
        _ = scene.act(room, scene.owner, .delete(message: id))
        _ = scene.act(room, scene.owner, .send(MessageDraft(content: "a.png", contentType: .image), receiver: nil))
        _ = scene.act(room, scene.owner, .deleteRoom)
        let events = scene.batch.hookEvents()
        #expect(
            events.map(\.name) == [
                "room.created", "message.created", "message.updated", "member.joined", "room.pinned", "message.deleted",
                "room.deleted",
            ])
        let body = try JSONReader.decode(events[1].body)
        #expect(body["ID"]?.string == "\(room)/1")
        #expect(body["Event"]?.string == "message.created")
        #expect(body["Data"]?["Content"]?.string == "hello")
        #expect(Set(events.map(\.key.text)).count == events.count)
    }

    @Test func onlyNamedFamiliesAreStored() throws {
        var scene = Scene()
        let room = scene.room()
        let id = scene.id()
        let draft = MessageDraft(content: "a.png", contentType: .image)
        _ = scene.batch.carryOut(scene.command(room, scene.owner, .send(draft, receiver: nil), id: id))
        let file = FileInfo(name: "a.png", size: 5, contentType: "image/png")
        _ = scene.act(room, scene.owner, .completeFile(message: id, file: file))
        _ = scene.act(room, scene.owner, .addMembers([scene.stranger]))
        func names(_ families: Set<HookFamily>) -> [String] { scene.batch.hookEvents(families).map(\.name) }
        #expect(names([.file]) == ["file.stored"])
        #expect(names([.room, .file]) == ["room.created", "file.stored"])
        #expect(names(HookFamily.standard) == ["room.created", "message.created", "member.joined"])
        #expect(names([.push, .presence]) == [])
        let stored = try #require(scene.batch.hookEvents([.file]).first)
        let body = try JSONReader.decode(stored.body)
        #expect(body["ID"]?.string == "\(id)/0" && body["RoomID"]?.string == "\(room)" && body["Seq"]?.int == 1)
        #expect(body["Data"]?["File"]?["Size"]?.int == 5)
    }

    @Test func theHostMayRejectAndRewrite() {
        var scene = Scene()
        let room = scene.room()
        let (one, other, third) = (scene.id(), scene.id(), scene.id())
        scene.batch.verdicts = [one: .reject(reason: "no"), other: .rewrite(content: "***"), third: .unavailable]
        let refused = scene.send(room, scene.owner, id: one)
        #expect(refused.refusal == .rejected)
        #expect(String(decoding: refused.answer.bytes, as: UTF8.self).contains("rejected: no"))
        #expect(scene.send(room, scene.owner, sign: "s", id: other).refusal == nil)
        #expect(scene.batch.messages[other]?.content == "***")
        #expect(scene.send(room, scene.owner, id: third).refusal == .unavailable)
        #expect(scene.frames(room).count == 1)
        // A stored command is answered as before, whatever the host says now.
        let again = scene.id()
        scene.batch.verdicts[again] = .reject(reason: "no")
        #expect(scene.send(room, scene.owner, sign: "s", id: again).refusal == nil)
        let edit = scene.command(room, scene.owner, .edit(message: other, content: "bad"))
        scene.batch.verdicts[edit.id] = .reject(reason: "no")
        #expect(scene.batch.carryOut(edit).refusal == .rejected)
    }

    @Test func theHostDecidesWhoComesIntoRoomsAndWhichRoomsThereAre() {
        var scene = Scene()
        let room = scene.room()
        func refusal(_ command: Command, _ verdict: Verdict, _ id: UUID128? = nil) -> ErrorCode? {
            scene.batch.verdicts = [id ?? command.id: verdict]
            return scene.batch.carryOut(command).refusal
        }
        let (frames, rooms) = (scene.frames(room).count, scene.batch.rooms.count)
        let added = scene.command(room, scene.owner, .addMembers([scene.stranger]))
        #expect(refusal(added, .reject(reason: "no")) == .rejected)
        #expect(refusal(added, .unavailable) == .unavailable)
        let created = scene.command(scene.id(), scene.owner, .createRoom(RoomDraft(type: .group, members: [])))
        #expect(refusal(created, .reject(reason: "no")) == .rejected)
        let pair = privateRoomID(scene.owner, scene.stranger)!
        let draft = MessageDraft(content: "hello")
        let first = scene.command(pair, scene.owner, .send(draft, receiver: scene.stranger))
        #expect(refusal(first, .reject(reason: "no"), pair) == .rejected)
        #expect(scene.frames(room).count == frames && scene.batch.rooms.count == rooms)
        // Allowed, they happen; and once they have, the host is not heard any more.
        #expect(refusal(first, .rewrite(content: "hello")) == nil)
        let second = scene.command(pair, scene.owner, .send(draft, receiver: scene.stranger))
        #expect(refusal(second, .reject(reason: "no"), pair) == nil)
        #expect(refusal(added, .rewrite(content: "")) == nil)
        let again = scene.command(room, scene.owner, .addMembers([scene.stranger]))
        #expect(refusal(again, .reject(reason: "no")) == nil)
    }
}

@Suite struct DeliverHooksTests {
    private final class Outbox: HookOutbox {
        var waiting: [PendingHook]
        var again: [Int?] = []
        init(_ count: Int) {
            waiting = (0..<count).map {
                PendingHook(
                    key: HookKey(room: .zero, seq: Int64($0)), name: "x", body: [UInt8($0)], attempts: 0)
            }
        }
        func claim(_ most: Int, lease: Int) throws(StoreError) -> [PendingHook] {
            for index in waiting.indices { waiting[index].attempts += 1 }
            return Array(waiting.prefix(most))
        }
        func delivered(_ hook: HookKey) throws(StoreError) { waiting.removeAll { $0.key == hook } }
        func failed(_ hook: HookKey, _ error: String, again: Int?) throws(StoreError) { self.again.append(again) }
        func dead(_ most: Int) throws(StoreError) -> [PendingHook] { [] }
        func retryDead() throws(StoreError) -> Int { 0 }
        func dropDead() throws(StoreError) -> Int { 0 }
        func add(_ events: [HookEvent]) throws(StoreError) {}
        func replace(with items: [UserNewsItem]) throws(StoreError) {}
    }

    private func deliver(_ outbox: Outbox, _ send: @escaping (PendingHook) -> String?) -> DeliverHooks {
        DeliverHooks(
            outbox: outbox, attempts: 3, timeout: .milliseconds(10),
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            send: send)
    }

    @Test func whatIsTakenIsGoneAndWhatIsNotComesAgainThenDies() throws {
        let outbox = Outbox(3)
        let delivery = deliver(outbox) { $0.body == [1] ? "it answered 500" : nil }
        #expect(try delivery.run { true } == (2, 1))
        #expect(try delivery.run { true } == (0, 1))
        #expect(try delivery.run { true } == (0, 1))
        #expect(outbox.again == [2000, 4000, nil])
    }

    @Test func aQuitLeavesTheRest() throws {
        var sent = 0
        let delivery = deliver(Outbox(5)) { _ in
            sent += 1
            return nil
        }
        #expect(try delivery.run { sent < 2 } == (2, 0))
    }

    @Test func pausesGrowToAnHour() {
        let pauses = (1...14).map { DeliverHooks.pause(after: $0) }
        #expect(pauses == pauses.sorted() && pauses.last == 3_600_000)
    }
}

@Suite struct PublicAddressTests {
    @Test(arguments: [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
        "192.168.1.1", "198.18.0.1", "224.0.0.1", "255.255.255.255",
    ])
    func isNotPublic(_ text: String) { #expect(!PublicAddress.is4(number(text))) }

    @Test(arguments: [
        "1.1.1.1", "9.255.255.255", "100.63.255.255", "128.0.0.1", "172.15.0.1", "172.32.0.1", "223.255.255.255",
    ])
    func isPublic(_ text: String) { #expect(PublicAddress.is4(number(text))) }

    @Test func ofIPv6OnlyWhatIsGivenOut() {
        func address(_ head: [UInt8], _ tail: [UInt8] = []) -> [UInt8] {
            head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
        }
        #expect(PublicAddress.is6(address([0x2a, 0x00, 0x14, 0x50], [1])))
        for refused: [UInt8] in [
            address([], [1]), address([]), address([0xFE, 0x80], [1]), address([0xFD], [1]),
            address([0xFF, 0x02], [1]),
            address([0x20, 0x01, 0x0D, 0xB8], [1]), address([], [0xFF, 0xFF, 10, 0, 0, 1]),
            address([0x00, 0x64, 0xFF, 0x9B], [127, 0, 0, 1]), [1, 2, 3],
        ] { #expect(!PublicAddress.is6(refused)) }
        #expect(PublicAddress.is6(address([], [0xFF, 0xFF, 1, 1, 1, 1])))
    }

    private func number(_ text: String) -> UInt32 { text.split(separator: ".").reduce(0) { $0 << 8 | UInt32($1)! } }
}
