import ChatAdapters
import ChatCore
import Logging
import TestSupport
import Testing

@Suite struct HostCommandTests {
    @Test func theHostSpeaksInTheRoomsOrderOnce() {
        var scene = Scene()
        let room = scene.room()
        let announce = scene.command(room, .zero, .announce("Closed tomorrow"), sign: "s")
        #expect(scene.batch.carryOut(announce).refusal == nil)
        let again = scene.command(room, .zero, .announce("Closed tomorrow"), sign: "s")
        #expect(scene.batch.carryOut(again).refusal == nil)
        #expect(scene.frames(room).map(\.seq) == [1])
        #expect(scene.batch.messages[announce.id]?.messageType == .system)
        #expect(scene.unread(room, scene.member) == 0)
        #expect(scene.act(scene.id(), .zero, .announce("x")).refusal == .notAMember)
    }

    @Test func whoIsErasedLeavesPlacesWithoutContent() throws {
        var scene = Scene()
        let room = scene.room()
        let (mine, theirs) = (scene.id(), scene.id())
        _ = scene.send(room, scene.owner, "secret", id: mine)
        _ = scene.send(room, scene.member, "answer", id: theirs)
        _ = scene.act(room, scene.owner, .react(message: theirs, reaction: "👍", remove: false))
        _ = scene.act(room, scene.member, .react(message: theirs, reaction: "👍", remove: false))
        #expect(scene.act(room, .zero, .erase(user: scene.owner)).refusal == nil)
        #expect(scene.batch.messages[mine]?.content == "" && scene.batch.messages[mine]?.deletedAt != nil)
        #expect(scene.batch.messages[theirs]?.content == "answer")
        #expect(scene.batch.messages[theirs]?.reactions.map(\.users) == [[scene.member]])
        // The room gets another owner.
        #expect(scene.batch.rooms[room]?.ownerID == scene.member)
        #expect(scene.batch.members[.init(room, scene.member)]?.role == .owner)
        #expect(scene.send(room, scene.owner).refusal == .notAMember)
        #expect(scene.frames(room).map(\.seq) == Array(1...UInt64(scene.frames(room).count)))
        #expect(scene.batch.wiped == [room])
        // Erasing the last member deletes the room.
        #expect(scene.act(room, .zero, .erase(user: scene.member)).refusal == nil)
        #expect(scene.batch.rooms[room]?.deletedAt != nil)
        #expect(scene.act(room, .zero, .erase(user: scene.member)).refusal == nil)
    }

    /// By a message to the other, or by opening it; a message to the room's id alone brings nobody back.
    @Test(arguments: [true, false]) func aPairWhoseOneWasErasedMeetsAgain(byMessage: Bool) {
        for opener in [\Scene.owner, \Scene.member] {
            var scene = Scene()
            let room = scene.room(.privateRoom)
            _ = scene.send(room, scene.member, "before")
            #expect(scene.act(room, .zero, .erase(user: scene.owner)).refusal == nil)
            #expect(
                scene.send(room, scene.owner).refusal == .notAMember && scene.send(room, scene.member).refusal == nil)
            let one = scene[keyPath: opener]
            let other = one == scene.owner ? scene.member : scene.owner
            let action =
                byMessage
                ? Command.Action.send(MessageDraft(content: "again"), receiver: other)
                : .createRoom(RoomDraft(type: .privateRoom, members: [other]))
            #expect(scene.act(room, one, action).refusal == nil)
            for user in [scene.owner, scene.member] {
                #expect(scene.batch.members[.init(room, user)]?.isActive == true)
                #expect(scene.batch.members[.init(room, user)]?.role == .member)
                #expect(scene.send(room, user).refusal == nil)
            }
            #expect(scene.batch.rooms[room]?.memberCount == 2)
            #expect(scene.frames(room).map(\.seq) == Array(1...UInt64(scene.frames(room).count)))
        }
    }

    @Test func whatIsPurgedCountsAsSeen() {
        var scene = Scene()
        let room = scene.room()
        for _ in 0..<3 { _ = scene.send(room, scene.owner) }
        _ = scene.send(room, scene.member)
        #expect(scene.unread(room, scene.member) == 3)
        scene.batch.oldMessages[room] = [
            .init(seq: 1, sender: scene.owner, counts: true), .init(seq: 2, sender: scene.owner, counts: true),
        ]
        #expect(scene.act(room, .zero, .purge(before: 5)).refusal == nil)
        #expect(scene.batch.purged == [room: 2])
        #expect(scene.unread(room, scene.member) == 1)
        #expect(scene.unread(room, scene.owner) == 1)
        let told = scene.frames(room).count
        #expect(scene.act(room, .zero, .purge(before: 5)).refusal == nil)
        #expect(scene.frames(room).count == told)
    }
}

/// The same on a real database, in parts.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct HostStoreTests {
    private let database: TestDatabase
    private let store: PostgresRoomBatchStore
    private let host: PostgresHostStore
    private let reader: PostgresRoomReader
    private var scene = Scene()

    init() throws {
        database = try TestDatabase()
        store = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        host = PostgresHostStore(database.connection())
        reader = PostgresRoomReader(database.connection())
    }

    @discardableResult
    private func run(_ commands: [Command], now: Int64 = 1_000_000) throws -> [WireValue] {
        var batch = try store.load(for: commands, now: now)
        let outcomes = commands.map { batch.carryOut($0) }
        try store.store(batch)
        #expect(outcomes.allSatisfy { $0.refusal == nil })
        return outcomes.map { (try? MessagePackReader.decode($0.answer.frame(.response)))?["Data"] ?? .null }
    }

    private mutating func text(_ room: UUID128, _ user: UUID128, _ text: String) -> Command {
        scene.command(room, user, .send(MessageDraft(content: text), receiver: nil))
    }

    @Test mutating func erasesPurgesAndExports() throws {
        let room = scene.id()
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member])
        try run([scene.command(room, scene.owner, .createRoom(draft), id: room)])
        let many = RoomBatch.hostPart + 20
        try run((0..<many).map { text(room, scene.owner, "\($0)") }, now: 1000)
        let kept = scene.id()
        let last = scene.command(room, scene.member, .send(MessageDraft(content: "kept"), receiver: nil), id: kept)
        try run(
            [last, scene.command(room, scene.owner, .react(message: kept, reaction: "👍", remove: false))], now: 3000)
        try run([scene.command(room, scene.member, .edit(message: kept, content: "kept still"))], now: 3001)

        // Half of the old messages are removed for good, and all counts are right.
        let purge = try run([scene.command(room, .zero, .purge(before: 2000))])[0]
        #expect(purge["Messages"] == .int(Int64(RoomBatch.hostPart)) && purge["More"] == .bool(true))
        #expect(try reader.room(room, for: scene.member)?.unread == 20)
        let rest = try run([scene.command(room, .zero, .purge(before: 1500))])[0]
        #expect(rest["Messages"] == .int(20) && rest["More"] == .bool(false))
        #expect(try reader.room(room, for: scene.member)?.unread == 0)
        #expect(try host.rooms(.group, withMessagesBefore: 2000, after: .zero, limit: 9).isEmpty)
        #expect(try host.rooms(.group, withMessagesBefore: 3500, after: .zero, limit: 9) == [room])

        let exported = try host.messages(of: room, after: 0, limit: 100)
        #expect(exported.first { $0.message.id == kept }?.edits.map(\.content) == ["kept"])
        #expect(try host.room(room)?.members.count == 2)
        #expect(try host.owner(of: room) == scene.owner)
        #expect(try host.roomsEver(of: scene.owner) == [room])

        try run([text(room, scene.owner, "mine")])
        let erased = try run([scene.command(room, .zero, .erase(user: scene.owner))])[0]
        #expect(erased["Messages"] == .int(2) && erased["More"] == .bool(false))
        let after = try host.messages(of: room, after: 0, limit: 100).filter { $0.message.messageType != .system }
        #expect(after.map(\.message.content) == ["kept still", ""])
        #expect(after.first?.message.reactions == [])
        #expect(try host.owner(of: room) == scene.member)
        try host.noteErasure(of: scene.owner)
        try host.noteErasure(of: scene.owner)
        try host.forget(scene.owner)
        let noted = try database.connection().query("SELECT count(*) FROM erased_users WHERE user_id = \(scene.owner)")
        #expect(noted[0].int8(0) == 1)
    }

    /// Behind messages of today an import appends older ones.
    @Test mutating func noMessageThatIsNewerIsPurged() throws {
        let room = scene.id()
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member])
        try run([scene.command(room, scene.owner, .createRoom(draft), id: room)])
        for (content, at) in [("old", Int64(1000)), ("new", 5000), ("old behind it", 1001)] {
            try run([text(room, scene.owner, content)], now: at)
        }
        let purge = try run([scene.command(room, .zero, .purge(before: 3000))])[0]
        #expect(purge["Messages"] == .int(1))
        let left = try host.messages(of: room, after: 0, limit: 9).filter { $0.message.messageType != .system }
        #expect(left.map(\.message.content) == ["new", "old behind it"])
    }

    /// The import is its only writer until it appears.
    @Test mutating func aRoomThatIsBeingImportedIsLeftAlone() throws {
        let room = scene.id()
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member])
        try run([scene.command(room, scene.owner, .createRoom(draft), id: room)])
        try run([text(room, scene.owner, "old")], now: 1000)
        #expect(try host.rooms(.group, withMessagesBefore: 2000, after: .zero, limit: 9) == [room])
        try database.connection().script("UPDATE rooms SET deleted_at = 'infinity' WHERE id = '\(room)'")
        #expect(try host.rooms(.group, withMessagesBefore: 2000, after: .zero, limit: 9).isEmpty)
        #expect(try host.room(room) == nil)
        for action in [Command.Action.purge(before: 2000), .erase(user: scene.owner)] {
            let command = scene.command(room, .zero, action)
            var batch = try PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
                .load(for: [command], now: 3000)
            #expect(batch.carryOut(command).refusal == .busy)
        }
        // Killed: nobody goes on with it, and an import that runs does.
        let other = database.connection()
        _ = try other.query("SELECT pg_advisory_lock(hashtextextended('import', 0))")
        #expect(try !host.removeBegunRoom())
        _ = try other.query("SELECT pg_advisory_unlock(hashtextextended('import', 0))")
        while try host.removeBegunRoom() {}
        #expect(try host.messages(of: room, after: 0, limit: 9).isEmpty)
        #expect(try host.roomsEver(of: scene.owner).isEmpty)
    }

    @Test mutating func aDeletedRoomIsRemovedForGoodInParts() throws {
        let (room, other) = (scene.id(), scene.id())
        let draft = RoomDraft(type: .group, name: "room", members: [scene.member])
        for id in [room, other] { try run([scene.command(id, scene.owner, .createRoom(draft), id: id)]) }
        for _ in 0..<3 { try run((0..<500).map { text(room, scene.owner, "\($0)") }) }
        try run([text(other, scene.owner, "stays")])
        try run([scene.command(room, scene.owner, .deleteRoom)], now: 5000)
        #expect(try !host.removeDeletedRoom(before: 5000))
        #expect(try host.removeDeletedRoom(before: 5001))
        #expect(try host.messages(of: room, after: 0, limit: 2000).count == 500)
        while try host.removeDeletedRoom(before: 5001) {}
        #expect(try host.room(room) == nil && host.roomsEver(of: scene.member) == [other])
        #expect(try host.messages(of: room, after: 0, limit: 1).isEmpty)
        #expect(try host.messages(of: other, after: 0, limit: 1).count == 1)
    }
}

@Suite struct KeepRetentionTests {
    private final class OldRooms: HostStore {
        var rooms: [UUID128] = []
        func rooms(
            _ type: RoomType, withMessagesBefore: Int64, after: UUID128, limit: Int
        ) throws(StoreError) -> [UUID128] { type == .group ? rooms.filter { $0 > after } : [] }
        func owner(of room: UUID128) throws(StoreError) -> UUID128? { nil }
        func roomsEver(of user: UUID128) throws(StoreError) -> [UUID128] { [] }
        func noteErasure(of user: UUID128) throws(StoreError) {}
        func forget(_ user: UUID128) throws(StoreError) {}
        func room(_ room: UUID128) throws(StoreError) -> (room: Room, members: [Member])? { nil }
        func messages(of room: UUID128, after: Int64, limit: Int) throws(StoreError) -> [ExportedMessage] { [] }
        var partsOfDeleted = 3
        var partsOfBegun = 2
        func removeBegunRoom() throws(StoreError) -> Bool {
            partsOfBegun -= 1
            return partsOfBegun >= 0
        }
        func removeDeletedRoom(before: Int64) throws(StoreError) -> Bool {
            guard partsOfDeleted > 0, before == 1_000_000_000_000 - 7 * 86_400_000 else { return false }
            partsOfDeleted -= 1
            return true
        }
    }

    /// Each room has two parts; one room's queue is unavailable.
    private final class Parts: CommandQueue {
        var purged: [UUID128] = []
        var away: UUID128?
        func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer {
            guard command.room != away else { throw .unavailable("the broker") }
            purged.append(command.room)
            let isMore = purged.count { $0 == command.room } < 2
            let data = WireValue.map([.init("Messages", .int(5)), .init("More", .bool(isMore))])
            return .answered(.map([.init("Success", .bool(true)), .init("Data", data)]))
        }
    }

    @Test func goesThroughAllRoomsAndLeavesWhatFails() throws {
        let (host, queue) = (OldRooms(), Parts())
        host.rooms = (1...3).map { UUID128(high: 1, low: $0) }
        queue.away = host.rooms[1]
        let days = Settings.test(
            ["RETENTION_GROUP_DAYS": "30", "RETENTION_DELETED_DAYS": "7"]
        ).retention
        let retention = KeepRetention(
            host: host, queue: queue, settings: days, clock: { 1_000_000_000_000 },
            log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        #expect(try retention.sweep { true } == 20)
        #expect(queue.purged == [host.rooms[0], host.rooms[0], host.rooms[2], host.rooms[2]])
        #expect(try retention.sweep { false } == 0)
        try retention.removeDeletedRooms { false }
        #expect(host.partsOfDeleted == 3)
        try retention.removeDeletedRooms { true }
        #expect(host.partsOfDeleted == 0)
        try retention.removeBegunRooms { false }
        #expect(host.partsOfBegun == 2)
        try retention.removeBegunRooms { true }
        #expect(host.partsOfBegun == -1)
    }
}
