import ChatAdapters
import ChatCore
import TestSupport
import Testing

/// The writer, its store and the readers, on a real database.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RoomStoreTests {
    private let database: TestDatabase
    private let store: PostgresRoomBatchStore
    private let reader: PostgresRoomReader
    private let history: PostgresRoomHistory
    private var scene = Scene()

    init() throws {
        database = try TestDatabase()
        store = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        reader = PostgresRoomReader(database.connection())
        history = PostgresRoomHistory(database.connection())
    }

    @discardableResult
    private func run(_ commands: [Command], now: Int64 = 1_000_000) throws -> (RoomBatch, [CommandOutcome]) {
        let stored = try store.execute(commands, now: now)
        let (batch, outcomes) = (stored.batch, stored.outcomes)
        return (batch, outcomes)
    }

    private mutating func create(_ type: RoomType = .group) throws -> UUID128 {
        let id = scene.id()
        let draft = RoomDraft(type: type, name: "room", members: [scene.member])
        try run([scene.command(id, scene.owner, .createRoom(draft), id: id)])
        return id
    }

    private mutating func text(_ room: UUID128, _ user: UUID128, _ text: String, sign: String? = nil) -> Command {
        scene.command(room, user, .send(MessageDraft(content: text), receiver: nil), sign: sign)
    }

    /// One batch or many: the store and the frames end the same.
    @Test mutating func oneBatchOrManyAreTheSame() throws {
        let (one, other) = (try create(), try create())
        func script(_ room: UUID128) -> [Command] {
            let first = scene.id()
            let draft = MessageDraft(content: "first")
            return [
                scene.command(room, scene.owner, .send(draft, receiver: nil), sign: "\(room)", id: first),
                text(room, scene.member, "second"),
                scene.command(room, scene.member, .seen(seq: 1)),
                scene.command(room, scene.owner, .edit(message: first, content: "edited")),
                scene.command(room, scene.member, .react(message: first, reaction: "👍", remove: false)),
                scene.command(room, scene.owner, .addMembers([scene.stranger])),
                text(room, scene.stranger, "third"),
                scene.command(room, scene.member, .seen(seq: nil)),
                scene.command(room, scene.member, .seen(seq: 99)),
                scene.command(room, scene.owner, .delete(message: first)),
                scene.command(room, scene.stranger, .removeMember(scene.stranger)),
                text(room, scene.stranger, "refused"),
                text(room, scene.owner, "again", sign: "\(room)"),
            ]
        }
        let (batch, _) = try run(script(one))
        var told: [RoomFrame] = []
        for command in script(other) { told += try run([command]).0.frames[other] ?? [] }
        #expect(told.map(\.seq) == batch.frames[one]!.map(\.seq))
        #expect(told.map(\.kind) == batch.frames[one]!.map(\.kind))
        for user in [scene.owner, scene.member] {
            let views = [
                try #require(try reader.room(one, for: user)), try #require(try reader.room(other, for: user)),
            ]
            #expect(views[0].unread == views[1].unread)
            #expect(views[0].room.lastSeq == views[1].room.lastSeq)
            #expect(views[0].room.messageCount == 3)
            #expect(views[0].room.memberCount == 2)
            let pages = [
                try #require(try reader.history(of: one, for: user, .after(0), limit: 100)),
                try #require(try reader.history(of: other, for: user, .after(0), limit: 100)),
            ]
            #expect(try shown(pages[0], "Content", unless: .system) == ["", "second", "third"])
            #expect(pages[0].changeSeqs == pages[1].changeSeqs)
        }
        #expect(try reader.room(one, for: scene.stranger) == nil)
        #expect(try reader.history(of: one, for: scene.stranger, .newest, limit: 1) == nil)
    }

    @Test mutating func whatNobodyCanReadIsNotUnread() throws {
        let room = try create()
        let (file, late, gone) = (scene.id(), scene.id(), scene.id())
        func unread() throws -> Int64? { try reader.room(room, for: scene.member)?.unread }
        let picture = MessageDraft(content: "a.png", contentType: .image)
        try run([
            scene.command(room, scene.owner, .send(MessageDraft(content: "gone"), receiver: nil), id: gone),
            scene.command(room, scene.owner, .send(picture, receiver: nil), id: file),
            text(room, scene.owner, "there"), text(room, scene.member, "my own"),
        ])
        #expect(try unread() == 2)
        try run([scene.command(room, scene.owner, .delete(message: gone))])
        #expect(try unread() == 1)
        let complete = FileInfo(name: "a.png", size: 1, contentType: "image/png")
        try run([scene.command(room, scene.owner, .completeFile(message: file, file: complete))])
        #expect(try unread() == 2)
        try run([scene.command(room, scene.owner, .send(picture, receiver: nil), id: late)])
        try run([scene.command(room, scene.member, .seen(seq: nil))])
        #expect(try unread() == 0)
        // A deletion before the last seen Seq changes nothing; a file counts from its completion.
        try run([scene.command(room, scene.owner, .delete(message: file))])
        #expect(try unread() == 0)
        try run([scene.command(room, scene.owner, .completeFile(message: late, file: complete))])
        #expect(try unread() == 1)
        #expect(try reader.rooms(of: scene.member, before: nil, limit: 9).map(\.unread) == [1])
    }

    @Test mutating func membershipsSayWhoIsBlocked() throws {
        let accounts = PostgresAccountStore(database.connection(), limits: Scene.accounts)
        let pair = try #require(privateRoomID(scene.owner, scene.member))
        let draft = RoomDraft(type: .privateRoom, members: [scene.member])
        try run([scene.command(pair, scene.owner, .createRoom(draft), id: pair)])
        let group = try create()
        func blocked() throws -> [UUID128] {
            let all = try history.memberships(of: [scene.owner, scene.member])
            #expect(all.count == 4)
            return all.filter(\.isBlocked).map(\.room)
        }
        #expect(try blocked().isEmpty)
        _ = try accounts.block(scene.owner, by: scene.member)
        #expect(try blocked() == [pair, pair] && pair != group)
        _ = try accounts.block(scene.member, by: scene.owner)
        #expect(try accounts.unblock(scene.owner, by: scene.member))
        #expect(try blocked() == [pair, pair])
        #expect(try !accounts.unblock(scene.member, by: scene.owner))
        #expect(try blocked().isEmpty)
    }

    @Test mutating func aRedeliveredBatchTellsTheSameAndChangesNothing() throws {
        let room = try create()
        let commands = [
            text(room, scene.owner, "a", sign: "s"), text(room, scene.member, "b"),
            scene.command(room, scene.member, .seen(seq: nil)),
            scene.command(room, scene.owner, .addMembers([scene.stranger])),
        ]
        let (first, answers) = try run(commands)
        let before = try reader.room(room, for: scene.owner)
        let (again, repeated) = try run(commands, now: 2_000_000)
        #expect(again.isUnchanged)
        #expect(try reader.room(room, for: scene.owner) == before)
        #expect(repeated.map(\.answer) == answers.map(\.answer))
        #expect(Set(again.frames[room]!.map(\.seq)).isSubset(of: Set(first.frames[room]!.map(\.seq))))
        #expect(again.frames[room]!.first?.body == first.frames[room]!.first?.body)
    }

    @Test mutating func theSameSignIsStoredOnceAcrossRooms() throws {
        let (one, other) = (try create(), try create())
        let first = try run([text(one, scene.owner, "a", sign: "s")]).1[0]
        #expect(try run([text(other, scene.owner, "a", sign: "s")]).1[0].refusal == .idempotencyMismatch)
        #expect(try run([text(one, scene.owner, "b", sign: "s")]).1[0].refusal == .idempotencyMismatch)
        #expect(try run([text(one, scene.owner, "a", sign: "s")]).1[0].answer == first.answer)
        #expect(try reader.room(other, for: scene.owner)?.room.lastSeq == 0)
    }

    @Test mutating func theSameKeyMakesOneRoom() throws {
        let draft = RoomDraft(type: .group, members: [])
        let (one, other) = (scene.id(), scene.id())
        let first = try run([scene.command(one, scene.owner, .createRoom(draft), sign: "k", id: one)]).1[0]
        let retry = try run([scene.command(other, scene.owner, .createRoom(draft), sign: "k", id: other)]).1[0]
        #expect(first.refusal == nil)
        #expect(retry.answer == first.answer)
        #expect(try reader.rooms(of: scene.owner, before: nil, limit: 10).count == 1)
    }

    @Test mutating func historyTellsEverySeqAgainWithoutAGap() throws {
        let room = try create()
        let (file, never) = (scene.id(), scene.id())
        let draft = MessageDraft(content: "a.png", contentType: .image)
        let info = FileInfo(name: "a.png", size: 1, contentType: "image/png")
        let (batch, _) = try run([
            text(room, scene.owner, "a"), scene.command(room, scene.member, .seen(seq: nil)),
            scene.command(room, scene.owner, .send(draft, receiver: nil), id: file),
            scene.command(room, scene.owner, .addMembers([scene.stranger])),
            scene.command(room, scene.owner, .completeFile(message: file, file: info)),
            scene.command(room, scene.owner, .react(message: file, reaction: "👍", remove: false)),
            scene.command(room, scene.owner, .send(draft, receiver: nil), id: never),
            scene.command(room, scene.owner, .delete(message: never)),
            scene.command(room, scene.owner, .delete(message: file)),
            scene.command(room, scene.stranger, .removeMember(scene.stranger)),
        ])
        let told = batch.frames[room]!
        let again = try history.frames(of: room, after: 0, limit: 100)
        #expect(again.map(\.seq) == Array(1...UInt64(again.count)))
        #expect(again.map(\.seq) == told.map(\.seq))
        #expect(again.map(\.kind) == told.map(\.kind))
        #expect(again.map(\.joined) == told.map(\.joined))
        #expect(again.map(\.left) == told.map(\.left))
        #expect(told.count == 9)
        #expect(try history.frames(of: room, after: 2, limit: 2).map(\.seq) == [3, 4])
        #expect(try history.lastSeqs(of: [room, scene.stranger]) == [room: UInt64(told.count)])
        #expect(try history.memberships(of: [scene.member, scene.stranger]).map(\.user) == [scene.member])
        #expect(try history.roomOfMessage(file) == room)
    }

    /// Also where one backup is restored twice: then the epochs of before are in the tables again.
    @Test mutating func lostHistoryGivesEpochsThatNobodyHasSeen() throws {
        let rooms = [try create(), try create(.channel)]
        let epochs = PostgresEpochs(database.connection())
        func all() throws -> [Int64] {
            let views = try rooms.map { try #require(try reader.room($0, for: scene.member)).room.epoch }
            let told = try history.memberships(of: [scene.member]).map(\.epoch)
            #expect(Set(told) == Set(views) && told.count == rooms.count)
            return views
        }
        #expect(try all() == [1, 1])
        let began = try #require(
            try database.connection().query("SELECT extract(epoch FROM now())::bigint").first?.int8(0))
        #expect(try epochs.bump() == 2)
        let once = try all()
        #expect(once.allSatisfy { $0 >= began })
        #expect(try epochs.bump() == 2)
        #expect(zip(once, try all()).allSatisfy { $0 < $1 })
        // The rooms' writer leaves them alone, and tells them.
        let (batch, _) = try run([scene.command(rooms[0], scene.owner, .addMembers([scene.stranger]))])
        #expect(batch.frames[rooms[0]]?.isEmpty == false)
        #expect(zip(once, try all()).allSatisfy { $0 < $1 })
    }

    @Test mutating func aPendingFileIsInNothingButItsSendersList() throws {
        let room = try create()
        let (file, other) = (scene.id(), scene.id())
        let draft = MessageDraft(content: "holiday.png", contentType: .image)
        let info = FileInfo(name: "holiday.png", size: 1, contentType: "image/png")
        try run([
            text(room, scene.owner, "a"),
            scene.command(room, scene.owner, .send(draft, receiver: nil), sign: "f", id: file),
            scene.command(room, scene.owner, .send(draft, receiver: nil), id: other),
        ])
        let words = try #require(SearchWords("holiday"))
        for user in [scene.owner, scene.member] {
            for page in [HistoryPage.newest, .before(9), .after(0), .around(1), .changedSince(0)] {
                #expect(try reader.history(of: room, for: user, page, limit: 9)?.count == 1)
            }
            let view = try #require(try reader.room(room, for: user))
            #expect(view.lastMessage?.content == "a")
            #expect(view.room.lastSeq == 1)
            #expect(try reader.search(words, in: room, for: user, after: nil, limit: 9)?.count == 0)
        }
        #expect(try reader.room(room, for: scene.member)?.unread == 1)
        #expect(try reader.message(file, for: scene.member) == nil)
        #expect(try reader.message(file, for: scene.owner)?.hasPlace == false)
        #expect(try reader.receipts(of: file, for: scene.owner) == [])
        #expect(Set(try reader.uploads(of: scene.owner, before: nil, limit: 9).map(\.id)) == [file, other])
        let first = try reader.uploads(of: scene.owner, before: nil, limit: 1)
        #expect(try reader.uploads(of: scene.owner, before: first[0].id, limit: 9).count == 1)
        #expect(try reader.uploads(of: scene.member, before: nil, limit: 9).isEmpty)
        #expect(try history.frames(of: room, after: 0, limit: 9).map(\.seq) == [1])
        // Abandoned and sent again with the same Sign, in one batch; then one of them is completed.
        let again = scene.id()
        try run([
            scene.command(room, scene.owner, .abandonFile(message: file)),
            scene.command(room, scene.owner, .send(draft, receiver: nil), sign: "f", id: again),
            scene.command(room, scene.owner, .completeFile(message: again, file: info)),
            scene.command(room, scene.member, .seen(seq: nil)),
        ])
        #expect(try history.frames(of: room, after: 0, limit: 9).map(\.seq) == [1, 2, 3])
        #expect(try reader.room(room, for: scene.member)?.unread == 0)
        #expect(try reader.message(again, for: scene.member)?.seq == 2)
        #expect(try reader.uploads(of: scene.owner, before: nil, limit: 9).map(\.id) == [other])
        let hits = try reader.search(words, in: room, for: scene.member, after: nil, limit: 9)
        #expect(hits?.map(\.message.id) == [again])
    }

    @Test mutating func pagesOfHistory() throws {
        let room = try create()
        try run((1...9).map { text(room, scene.owner, "\($0)") })
        try run([scene.command(room, scene.member, .seen(seq: 4))])
        func page(_ page: HistoryPage, _ limit: Int) throws -> [String] {
            try shown(try #require(try reader.history(of: room, for: scene.member, page, limit: limit)), "Content")
        }
        #expect(try page(.newest, 3) == ["9", "8", "7"])
        #expect(try page(.before(3), 5) == ["2", "1"])
        #expect(try page(.after(7), 5) == ["8", "9"])
        #expect(try page(.around(5), 4) == ["4", "5", "6", "7"])
        #expect(try page(.changedSince(6), 2) == ["7", "8"])
        let statuses = try #require(try reader.history(of: room, for: scene.member, .after(2), limit: 3))
        #expect(try shown(statuses, "Status") == ["seen", "seen", "sent"])
    }

    @Test mutating func pinsEditsAndInvitationsAreStored() throws {
        let room = try create()
        let message = scene.id()
        let draft = InvitationDraft(token: "secret", expiresAt: 9_000_000_000_000, maxUses: 1)
        let made = scene.command(room, scene.owner, .createInvitation(draft), sign: "i")
        let send = scene.command(
            room, scene.owner, .send(MessageDraft(content: "one"), receiver: nil), id: message)
        let pin = scene.command(room, scene.owner, .pin(message: message, pinned: true))
        let (batch, answers) = try run([
            send, scene.command(room, scene.owner, .edit(message: message, content: "two")), pin, made,
        ])
        #expect(answers.map(\.refusal) == [nil, nil, nil, nil])
        #expect(try reader.pins(of: room, for: scene.member)?.map(\.content) == ["two"])
        #expect(try reader.edits(of: message, for: scene.member)?.map(\.content) == ["one"])
        let changed = try #require(try reader.history(of: room, for: scene.member, .changedSince(2), limit: 1))
        #expect(changed.place(0).changeSeq == 3)
        #expect(try reader.invitations(to: room, for: scene.member) == nil)
        let invitation = try #require(try reader.invitation(token: "secret"))
        #expect(try reader.invitations(to: room, for: scene.owner) == [invitation])
        // Repeated: the same answers, the same frames, nothing twice.
        let (again, repeated) = try run([pin, made])
        #expect(again.isUnchanged)
        #expect(repeated.map(\.answer) == answers.suffix(2).map(\.answer))
        #expect(again.frames[room]?.map(\.seq) == batch.frames[room]?.suffix(2).map(\.seq))
        // One use: the second user is refused, and the first one's join is repeated with its SYSTEM message.
        let join = scene.command(room, scene.stranger, .join(invitation: invitation.id))
        let (joined, joins) = try run([join, scene.command(room, scene.id(), .join(invitation: invitation.id))])
        #expect(joins.map(\.refusal) == [nil, .gone])
        let (joinedAgain, _) = try run([join])
        #expect(joinedAgain.frames[room]?.map(\.seq) == joined.frames[room]?.map(\.seq))
        #expect(joinedAgain.userEvents.map(\.user) == [scene.stranger])
        #expect(try reader.invitations(to: room, for: scene.owner) == [])
        // An edit conditional on a Seq; then a deletion also removes the edits and the pin.
        let stale = scene.command(room, scene.owner, .edit(message: message, content: "three", base: 1))
        let fresh = scene.command(room, scene.owner, .edit(message: message, content: "three", base: 2))
        #expect(try run([stale, fresh]).1.map(\.refusal) == [.conflict, nil])
        try run([scene.command(room, scene.owner, .delete(message: message))])
        #expect(try reader.edits(of: message, for: scene.member) == [])
        #expect(try reader.pins(of: room, for: scene.member) == [])
    }

    @Test mutating func wordsAreFoundRankedAndMarked() throws {
        let (room, other) = (try create(), try create())
        let hidden = scene.id()
        let foreign = scene.command(
            hidden, scene.stranger, .createRoom(RoomDraft(type: .group, members: [])), id: hidden)
        try run([foreign, text(hidden, scene.stranger, "bread and butter")])
        try run([
            text(room, scene.owner, "Bread, bread and more BREAD"), text(room, scene.owner, "a breadcrumb 👍 of wheat"),
            text(room, scene.owner, "nothing of it"), text(other, scene.owner, "breadth"),
        ])
        func found(_ text: String, _ room: UUID128?, limit: Int = 10, after: SearchHit? = nil) throws -> [SearchHit] {
            let words = try #require(SearchWords(text))
            return try #require(
                try reader.search(
                    words, in: room, for: scene.member, after: after?.place, limit: limit))
        }
        let all = try found("bread", nil)
        #expect(Set(all.map(\.message.content)).count == 3)
        #expect(all.map(\.rank) == all.map(\.rank).sorted(by: >))
        let shouted = all.first { $0.message.content.utf8.first == UInt8(ascii: "B") }
        #expect(shouted?.marks == [0..<5, 7..<12, 22..<27])
        #expect(try found("bread", room).count == 2)
        #expect(try found("of bre", room).map(\.message.content) == ["a breadcrumb 👍 of wheat"])
        #expect(try found("of bre", room).first?.marks == [2..<12, 15..<17])
        // Page by page it is the same list.
        var paged: [SearchHit] = []
        while let next = try found("bread", nil, limit: 1, after: paged.last).first { paged.append(next) }
        #expect(paged == all)
        for harmless in ["'", "\\", "a & | !", "👍", "<->:*"] { _ = try found(harmless, room) }
        let words = try #require(SearchWords("bread"))
        #expect(try reader.search(words, in: room, for: scene.stranger, after: nil, limit: 1) == nil)
        // The other language treats the plural as the same word.
        try run([text(other, scene.owner, "many loaves of rye breads are eaten")])
        #expect(try found("eat", other).count == 1)
        #expect(try found("eating", other).isEmpty)
        let language = PostgresSearchLanguage(database.connection())
        #expect(try language.use("english"))
        #expect(try !language.use("english"))
        #expect(try found("eating", other).count == 1)
        #expect(throws: (any Error).self) { try language.use("klingon") }
    }

    @Test mutating func roomsComeNewestActivityFirstInPages() throws {
        var rooms: [UUID128] = []
        for index in 0..<5 {
            let room = try create()
            try run([text(room, scene.owner, "x")], now: 1_000_000 + Int64(index))
            rooms.append(room)
        }
        var seen: [UUID128] = []
        var cursor: RoomCursor?
        repeat {
            let page = try reader.rooms(of: scene.member, before: cursor, limit: 2)
            seen += page.map(\.room.id)
            cursor = page.last.flatMap { RoomCursor(text: RoomCursor($0).text) }
            #expect(page.allSatisfy { $0.unread == 1 && $0.lastMessage?.content == "x" && $0.role == .member })
        } while cursor != nil
        #expect(seen == rooms.reversed())
    }
}

/// A text field of every message of a page, read from its JSON.
private func shown(_ page: any MessagePage, _ field: String, unless type: MessageType? = nil) throws -> [String] {
    try page.read().filter { $0["MessageType"]?.string != type?.name }.compactMap { $0[field]?.string }
}

extension MessagePage {
    fileprivate var changeSeqs: [Int64] { (0..<count).map { place($0).changeSeq } }

    fileprivate func read() throws -> [WireValue] {
        try (0..<count).map { index in
            var writer = JSONWriter()
            write(index, to: &writer)
            return try JSONReader.decode(writer.take())
        }
    }
}
