import ChatAdapters
import ChatCore
import TestSupport
import Testing

/// A writer's cache of its rooms, beside a second writer that does not know the first.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct KnownRoomsTests {
    private let database: TestDatabase
    private let connection: PostgresConnection
    private let store: PostgresRoomBatchStore
    private let other: PostgresRoomBatchStore
    private var scene = Scene()

    init() throws {
        database = try TestDatabase()
        connection = database.connection()
        store = PostgresRoomBatchStore(connection, limits: Scene.limits)
        other = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
    }

    private mutating func create(_ type: RoomType = .group) throws -> UUID128 {
        let id = type == .privateRoom ? try #require(privateRoomID(scene.owner, scene.member)) : scene.id()
        let draft = RoomDraft(type: type, name: "room", members: [scene.member])
        _ = try store.execute([scene.command(id, scene.owner, .createRoom(draft), id: id)], now: 1_000_000)
        return id
    }

    private mutating func text(_ room: UUID128, _ user: UUID128, sign: String? = nil) -> Command {
        scene.command(room, user, .send(MessageDraft(content: "text"), receiver: nil), sign: sign)
    }

    private func backend() throws -> Int64 { try connection.query("SELECT pg_backend_pid()::bigint").first!.int8(0) }

    /// Loads and executes separately, so that a test can act in between.
    private func act(_ commands: [Command]) throws -> RoomBatch {
        var batch = try store.load(for: commands, now: 2_000_000)
        for command in commands { _ = batch.carryOut(command) }
        return batch
    }

    @Test mutating func aSecondWriterIsNoticed() throws {
        let room = try create()
        let (first, second, third) = (text(room, scene.owner), text(room, scene.member), text(room, scene.owner))
        #expect(try store.execute([first], now: 2_000_000).seqs == [1])
        #expect(try other.execute([second], now: 2_000_000).seqs == [2])
        let before = try backend()
        let batch = try act([third])
        #expect(batch.rooms[room]?.lastSeq == 2)
        let error = #expect(throws: StoreError.self) { try store.store(batch) }
        #expect(error?.isConflict == true)
        #expect(try store.execute([third], now: 2_000_000).seqs == [3])
        // A conflict must not cause a reconnection: every repeated Sign would cost one.
        #expect(try backend() == before)
        let history = PostgresRoomHistory(database.connection())
        #expect(try history.frames(of: room, after: 0, limit: 9).map(\.seq) == [1, 2, 3])
    }

    @Test mutating func whoMayNotIsAskedAboutAgain() throws {
        let room = try create()
        let silence = scene.command(room, scene.owner, .mute(user: scene.member, until: 9_000_000))
        _ = try store.execute([text(room, scene.member), silence], now: 2_000_000)
        #expect(try store.execute([text(room, scene.member)], now: 2_000_000).outcomes[0].refusal == .muted)
        let voice = scene.command(room, scene.owner, .mute(user: scene.member, until: nil))
        _ = try other.execute([voice], now: 2_000_000)
        #expect(try store.execute([text(room, scene.member)], now: 2_000_000).outcomes[0].refusal == nil)
        let leave = scene.command(room, scene.member, .removeMember(scene.member))
        _ = try other.execute([leave], now: 2_000_000)
        let outcomes = try store.execute([text(room, scene.owner), text(room, scene.member)], now: 2_000_000).outcomes
        #expect(outcomes.map(\.refusal) == [nil, .notAMember])
    }

    @Test mutating func aBlockTakesNoSeqAndCounts() throws {
        let accounts = PostgresAccountStore(database.connection(), limits: Scene.accounts)
        let pair = try create(.privateRoom)
        #expect(try store.execute([text(pair, scene.owner)], now: 2_000_000).outcomes[0].refusal == nil)
        _ = try accounts.block(scene.owner, by: scene.member)
        for sender in [scene.owner, scene.member] {
            #expect(try store.execute([text(pair, sender)], now: 2_000_000).outcomes[0].refusal == .blocked)
        }
        _ = try accounts.unblock(scene.owner, by: scene.member)
        #expect(try store.execute([text(pair, scene.owner)], now: 2_000_000).outcomes[0].refusal == nil)
    }

    @Test mutating func aSignAndARedeliveryAreKnown() throws {
        let (room, elsewhere) = (try create(), try create())
        let once = text(room, scene.owner, sign: "s")
        let first = try store.execute([text(elsewhere, scene.owner), once], now: 2_000_000)
        let again = try store.execute([text(elsewhere, scene.owner, sign: "s"), once], now: 3_000_000)
        #expect(again.batch.isUnchanged)
        // The same Sign in another room is another request.
        #expect(again.outcomes[0].refusal == .idempotencyMismatch)
        #expect(again.outcomes[1].answer == first.outcomes[1].answer)
        let seq = try PostgresRoomHistory(database.connection()).lastSeqs(of: [room, elsewhere])
        #expect(seq == [room: 1, elsewhere: 1])
    }

    @Test mutating func aRoomThatIsGoneIsGone() throws {
        let room = try create()
        _ = try store.execute([text(room, scene.owner)], now: 2_000_000)
        _ = try connection.query("DELETE FROM rooms WHERE id = \(room)")
        #expect(try store.execute([text(room, scene.owner)], now: 2_000_000).outcomes[0].refusal == .notAMember)
    }

    /// Plain batches store the numbers for unread counts too.
    @Test mutating func itStoresWhatALoadedBatchStores() throws {
        let room = try create()
        let (owner, member, stranger) = (scene.owner, scene.member, scene.stranger)
        for round in 0..<3 {
            let batch = [
                text(room, owner, sign: "a\(round)"), text(room, member, sign: "b\(round)"), text(room, owner),
            ]
            _ = try store.execute(batch, now: 2_000_000)
        }
        let join = scene.command(room, owner, .addMembers([stranger]))
        _ = try store.execute([join, text(room, stranger)], now: 3_000_000)
        _ = try store.execute([text(room, stranger)], now: 3_000_000)
        let seen = scene.command(room, member, .seen(seq: 7))
        _ = try other.execute([seen, text(room, owner)], now: 3_000_000)
        let reader = PostgresRoomReader(database.connection())
        let view = try #require(try reader.room(room, for: member))
        #expect(view.room.messageCount == 12)
        // Not seen: 8 (their own), 9, two of the stranger's and one of the owner's.
        #expect(view.unread == 4)
        #expect(view.lastMessage?.seq == view.room.lastMessageSeq)
    }
}
