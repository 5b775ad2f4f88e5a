import ChatCore
import TestSupport
import Testing

@testable import ChatAdapters

/// The texts of all statements that read or write rooms, members and messages. A text that changes makes every
/// connection prepare it anew, and may choose another plan.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct GoldenStatementTests {
    private let database: TestDatabase
    private let connection: PostgresConnection

    init() throws {
        database = try TestDatabase()
        connection = database.connection()
    }

    @Test func statementsStayAsTheyAre() throws {
        var life = Life()
        try life.write(with: PostgresRoomBatchStore(connection, limits: Scene.limits, hooks: HookFamily.standard))
        try life.write(with: PostgresRoomBatchStore(connection, limits: Scene.limits))
        try life.read(from: connection)
        let rows = try connection.query("SELECT statement FROM pg_prepared_statements")
        let texts = rows.map { $0.text(0).split(whereSeparator: \.isWhitespace).joined(separator: " ") }
        let lines = Set(texts).sorted().map { (name: $0, text: "") }
        #expect(Golden.differences(from: "statements.txt", lines) == [])
    }
}

/// A life in which every kind of command occurs, and every reading.
private struct Life {
    var scene = Scene()
    var room = UUID128.zero
    var message = UUID128.zero

    mutating func write(with store: PostgresRoomBatchStore) throws {
        func run(_ commands: [Command]) throws { _ = try store.execute(commands, now: 1_000_000) }
        func add(_ room: UUID128, _ actor: UUID128, _ action: Command.Action, sign: String? = nil, id: UUID128? = nil)
            -> Command
        { scene.command(room, actor, action, sign: sign, id: id) }
        (room, message) = (scene.id(), scene.id())
        let (file, lost, erased) = (scene.id(), scene.id(), scene.id())
        let (owner, member, stranger) = (scene.owner, scene.member, scene.stranger)
        let info = FileInfo(name: "f.png", size: 1, contentType: "image/png", media: FileMedia(width: 1))
        let draft = RoomDraft(type: .group, name: "room", members: [member])
        var create = add(room, owner, .createRoom(draft), sign: "create \(room)", id: room)
        create.names = [scene.id(): "host"]
        create.digest = scene.id()
        try run([create])
        let upload = MessageDraft(content: "f.png", contentType: .image)
        let forward = MessageDraft(content: "", messageType: .forwarded, parent: message)
        let pair = privateRoomID(owner, stranger)!
        try run([
            add(room, owner, .send(MessageDraft(content: "one"), receiver: nil), sign: "one \(message)", id: message),
            add(pair, owner, .send(MessageDraft(content: "two"), receiver: stranger)),
            add(room, owner, .addMembers([stranger])),
            add(room, owner, .send(upload, receiver: nil), sign: "f \(file)", id: file),
            add(room, owner, .send(upload, receiver: nil), id: lost),
        ])
        try run([
            add(room, owner, .send(forward, receiver: nil)),
            add(room, member, .seen(seq: 1)), add(room, owner, .edit(message: message, content: "b", base: 9)),
            add(room, member, .react(message: message, reaction: "👍", remove: false)),
            add(room, owner, .pin(message: message, pinned: true)),
            add(room, owner, .completeFile(message: file, file: info)),
            add(room, owner, .describeFile(message: file, file: info)),
            add(room, owner, .abandonFile(message: lost)),
        ])
        let invitation = scene.id()
        try run([
            add(room, owner, .createInvitation(InvitationDraft(token: "\(invitation)")), sign: "i", id: invitation),
            add(room, owner, .setRole(user: member, role: .admin)), add(room, owner, .mute(user: stranger, until: 9)),
            add(room, owner, .ban(user: scene.id(), banned: true)), add(room, owner, .updateRoom(RoomPatch(name: "n"))),
            add(room, erased, .join(invitation: invitation)), add(room, owner, .announce("a")),
            add(room, owner, .removeMember(stranger)),
        ])
        try run([add(room, owner, .revokeInvitation(invitation)), add(room, owner, .delete(message: file))])
        for _ in 0..<3 { try run([add(room, member, .send(MessageDraft(content: "plain"), receiver: nil))]) }
        var erase = add(room, owner, .erase(user: erased))
        erase.isHost = true
        try run([erase])
        var purge = add(room, owner, .purge(before: 2_000_000))
        purge.isHost = true
        try run([purge])
        try run([add(pair, owner, .deleteRoom)])
    }

    mutating func read(from connection: PostgresConnection) throws {
        let user = scene.owner
        let reader = PostgresRoomReader(connection)
        _ = try reader.rooms(of: user, before: nil, limit: 5)
        _ = try reader.room(room, for: user)
        _ = try reader.members(of: room, for: user, after: nil, limit: 5)
        _ = try reader.banned(from: room, for: user, after: nil, limit: 5)
        _ = try reader.invitations(to: room, for: user)
        _ = try reader.invitation(token: "t")
        _ = try reader.rooms(of: user, before: nil, limit: 5, kind: "k")
        _ = try reader.members(of: room, for: user, after: nil, limit: 5, kind: "k")
        _ = try reader.history(of: room, for: user, .changedSince(1), limit: 5, kind: "k")
        for page in [HistoryPage.newest, .before(3), .after(1), .around(2), .changedSince(1)] {
            _ = try reader.history(of: room, for: user, page, limit: 5)
        }
        _ = try reader.message(message, for: user)
        _ = try reader.uploads(of: user, before: nil, limit: 5)
        _ = try reader.upload(of: user, in: room, sign: "s")
        _ = try reader.roomOfMessage(message)
        _ = try reader.receipts(of: message, for: user)
        _ = try reader.edits(of: message, for: user)
        _ = try reader.pins(of: room, for: user)
        _ = try reader.account(of: user)
        _ = try reader.presenceVisibility(of: scene.member, for: user)
        _ = try reader.newestMessages(of: [room], for: user, count: 2)
        let words = try #require(SearchWords("one"))
        _ = try reader.search(words, in: room, for: user, after: nil, limit: 5)
        _ = try reader.search(words, in: nil, for: user, after: nil, limit: 5)
        let history = PostgresRoomHistory(connection)
        _ = try history.memberships(of: [user])
        _ = try history.frames(of: room, after: 0, limit: 5)
        let host = PostgresHostStore(connection)
        _ = try host.room(room)
        _ = try host.messages(of: room, after: 0, limit: 5)
        let users = PostgresUsers(connection)
        _ = try users.users([scene.member], for: user)
        _ = try users.told(of: user, rooms: 5, members: 100)
        let uploads = PostgresUploadSweepRecords(connection)
        _ = try uploads.stale(before: 5, limit: 5)
        try uploads.removeEnded(before: 5)
    }
}
