import ChatCore
import Glibc
import TestSupport
import Testing

@testable import ChatAdapters

/// Permissions, tested on the rules themselves; `docs/permissions.md` is generated from the answers.
@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct PermissionTests {
    @Test func theDocumentSaysWhatTheRulesDo() throws {
        let path = "docs/permissions.md"
        let text = try document()
        if getenv("UPDATE_DOCS") != nil {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
        #expect(readFile(path) == text, "make it again: UPDATE_DOCS=1 make test FILTER=PermissionTests")
    }

    private func document() throws -> String {
        var text = """
            # Permissions

            Made by `Tests/CommonTests/UseCases/PermissionTests.swift` from the rules, and compared with them by every
            `make test`. ✓ is allowed; a word is the code of the refusal. Nobody in the table but MUTED is muted.

            The OWNER may leave when nobody else is in the room. The first who then joins by a link is the new OWNER.

            """
        for type in RoomType.allCases {
            let actors = Cast.actors(in: type)
            text += "\n## \(type.name)\n\n| | " + actors.map(\.rawValue).joined(separator: " | ") + " |\n"
            text += "|---" + String(repeating: "|---", count: actors.count) + "|\n"
            for action in Deed.all { text += row(action.name, actors) { Cast(type).verdict(of: action, by: $0) } }
            let stored = try StoredCast(Cast(type))
            for look in Look.all { text += try row(look.name, actors) { try stored.verdict(of: look, by: $0) } }
        }
        return text
    }

    private func row(_ name: String, _ actors: [Cast.Actor], _ cell: (Cast.Actor) throws -> String) rethrows -> String {
        "| \(name) | " + (try actors.map { try cell($0) }).joined(separator: " | ") + " |\n"
    }
}

/// A room with one user of each kind, and a message by each of them.
private struct Cast {
    enum Actor: String, CaseIterable {
        case owner = "OWNER"
        case admin = "ADMIN"
        case member = "MEMBER"
        case muted = "MUTED"
        case left = "has left"
        case banned, stranger
        case blocked = "blocked by the other"
    }

    static func actors(in type: RoomType) -> [Actor] {
        type == .privateRoom
            ? [.member, .blocked, .stranger] : [.owner, .admin, .member, .muted, .left, .banned, .stranger]
    }

    var scene = Scene()
    let type: RoomType
    let room: UUID128
    var users: [Actor: UUID128] = [:]
    var messages: [Actor: UUID128] = [:]
    /// The targets of other users' actions.
    let someMember: UUID128
    let someAdmin: UUID128
    let someBanned: UUID128
    /// A message by a user who is none of the actors; in a PRIVATE room by the other member.
    var othersMessage = UUID128.zero
    var invitation = UUID128.zero

    init(_ type: RoomType) {
        self.type = type
        for actor in Actor.allCases { users[actor] = scene.id() }
        (users[.owner], someMember, someAdmin, someBanned) = (scene.owner, scene.id(), scene.id(), scene.id())
        let isPrivate = type == .privateRoom
        if isPrivate { users[.blocked] = users[.member] }
        room = isPrivate ? privateRoomID(scene.owner, users[.member]!)! : scene.id()
        let inside = isPrivate ? [users[.member]!] : [.admin, .member, .muted, .left, .banned].map { users[$0]! }
        act(.owner, .createRoom(RoomDraft(type: type, name: "room", members: inside + others)), id: room)
        for actor in isPrivate ? [.owner, .member] : [Actor.owner, .admin, .member, .muted] {
            if !isPrivate, actor != .owner { act(.owner, .setRole(user: users[actor]!, role: .admin)) }
            messages[actor] = scene.id()
            act(actor, .send(MessageDraft(content: "mine"), receiver: nil), id: messages[actor])
            if actor == .member || actor == .muted, !isPrivate {
                act(.owner, .setRole(user: users[actor]!, role: .member))
            }
        }
        othersMessage = messages[.owner]!
        guard !isPrivate else { return }
        othersMessage = scene.id()
        act(.owner, .setRole(user: someMember, role: .admin))
        act(by: someMember, .send(MessageDraft(content: "another's"), receiver: nil), id: othersMessage)
        act(.owner, .setRole(user: someMember, role: .member))
        act(.owner, .setRole(user: someAdmin, role: .admin))
        act(.owner, .mute(user: users[.muted]!, until: 4_000_000_000_000))
        act(.owner, .removeMember(users[.left]!))
        for user in [users[.banned]!, someBanned] { act(.owner, .ban(user: user, banned: true)) }
        invitation = scene.id()
        act(.owner, .createInvitation(InvitationDraft(token: "t")), id: invitation)
    }

    private var others: [UUID128] { type == .privateRoom ? [] : [someMember, someAdmin, someBanned] }

    private mutating func act(_ actor: Actor, _ action: Command.Action, id: UUID128? = nil) {
        act(by: users[actor]!, action, id: id)
    }

    private mutating func act(by user: UUID128, _ action: Command.Action, id: UUID128? = nil) {
        let outcome = scene.batch.carryOut(scene.command(room, user, action, id: id))
        #expect(outcome.refusal == nil, "\(action)")
    }

    func verdict(of deed: Deed, by actor: Actor) -> String {
        var copy = self
        if actor == .blocked { copy.scene.batch.blocks.insert(.init(blocker: scene.owner, blocked: users[.member]!)) }
        deed.before(&copy)
        guard let action = deed.action(copy, actor) else { return "" }
        let outcome = copy.scene.batch.carryOut(copy.scene.command(room, users[actor]!, action))
        return outcome.refusal?.rawValue ?? "✓"
    }
}

/// An action that a user may try; nil when the room has no target for it.
private struct Deed {
    let name: String
    /// Changes the room before the action.
    let before: (inout Cast) -> Void
    let action: (Cast, Cast.Actor) -> Command.Action?

    init(
        name: String, before: @escaping (inout Cast) -> Void = { _ in },
        action: @escaping (Cast, Cast.Actor) -> Command.Action?
    ) {
        (self.name, self.before, self.action) = (name, before, action)
    }

    /// Everybody has just sent a message. A PRIVATE room has no slow mode.
    private static func slowDown(_ cast: inout Cast) {
        guard cast.type != .privateRoom else { return }
        cast.scene.batch.rooms[cast.room]!.slowModeSeconds = 60
        for key in cast.scene.batch.members.keys { cast.scene.batch.members[key]!.lastSentAt = cast.scene.batch.now }
    }

    private static func toOnesOwn(_ name: String, _ make: @escaping (UUID128) -> Command.Action) -> Deed {
        Deed(name: name) { cast, actor in cast.messages[actor == .blocked ? .member : actor].map(make) }
    }

    private static func toAnothers(_ name: String, _ make: @escaping (UUID128) -> Command.Action) -> Deed {
        Deed(name: name) { cast, _ in make(cast.othersMessage) }
    }

    private static let patch = MetadataPatch(.map([.init("kind", .string("x"))]))!

    static var all: [Deed] {
        [
            Deed(name: "send") { _, _ in .send(MessageDraft(content: "x"), receiver: nil) },
            Deed(name: "send again at once in slow mode", before: slowDown) { _, _ in
                .send(MessageDraft(content: "x"), receiver: nil)
            },
            Deed(name: "reply") { cast, _ in
                .send(MessageDraft(content: "x", messageType: .replied, parent: cast.othersMessage), receiver: nil)
            },
            toOnesOwn("edit one's own message") { .edit(message: $0, content: "x") },
            toAnothers("edit another's message") { .edit(message: $0, content: "x") },
            toOnesOwn("delete one's own message") { .delete(message: $0) },
            toAnothers("delete another's message") { .delete(message: $0) },
            toAnothers("react") { .react(message: $0, reaction: "👍", remove: false) },
            toAnothers("pin") { .pin(message: $0, pinned: true) },
            Deed(name: "mark as seen") { _, _ in .seen(seq: nil) },
            Deed(name: "change name, description, avatar, limit") { _, _ in .updateRoom(RoomPatch(name: "x")) },
            Deed(name: "change slow mode") { _, _ in .updateRoom(RoomPatch(slowModeSeconds: 60)) },
            toOnesOwn("change Metadata of one's own message") { .messageMetadata(message: $0, patch) },
            toAnothers("change Metadata of another's message") { .messageMetadata(message: $0, patch) },
            Deed(name: "change Metadata of the room") { _, _ in .updateRoom(RoomPatch(metadata: patch)) },
            Deed(name: "change one's own Metadata in the room") { cast, actor in
                .memberMetadata(user: cast.users[actor]!, patch)
            },
            Deed(name: "change another member's Metadata") { cast, _ in
                .memberMetadata(user: cast.type == .privateRoom ? cast.scene.owner : cast.someMember, patch)
            },
            Deed(name: "delete the room") { _, _ in .deleteRoom },
            Deed(name: "invite a user") { cast, _ in .addMembers([cast.scene.stranger]) },
            Deed(name: "make an invitation link") { _, _ in .createInvitation(InvitationDraft(token: "x")) },
            Deed(name: "revoke an invitation link") { cast, _ in .revokeInvitation(cast.invitation) },
            Deed(name: "join by an invitation link") { cast, _ in .join(invitation: cast.invitation) },
            Deed(name: "leave") { cast, actor in .removeMember(cast.users[actor]!) },
            Deed(name: "remove a MEMBER") { cast, _ in .removeMember(cast.someMember) },
            Deed(name: "remove an ADMIN") { cast, _ in .removeMember(cast.someAdmin) },
            Deed(name: "give a role") { cast, _ in .setRole(user: cast.someMember, role: .admin) },
            Deed(name: "hand the room over") { cast, _ in .setRole(user: cast.someMember, role: .owner) },
            Deed(name: "mute a MEMBER") { cast, _ in .mute(user: cast.someMember, until: 4_000_000_000_000) },
            Deed(name: "mute an ADMIN") { cast, _ in .mute(user: cast.someAdmin, until: 4_000_000_000_000) },
            Deed(name: "ban a MEMBER") { cast, _ in .ban(user: cast.someMember, banned: true) },
            Deed(name: "ban an ADMIN") { cast, _ in .ban(user: cast.someAdmin, banned: true) },
            Deed(name: "lift a ban") { cast, _ in .ban(user: cast.someBanned, banned: false) },
        ]
    }
}

/// Reads, which the store checks: nil when the user may not see the result.
private struct Look {
    let name: String
    let read: (StoredCast, UUID128) throws -> Any?

    private init(_ name: String, _ read: @escaping (PostgresRoomReader, Cast, UUID128) throws -> Any?) {
        self.name = name
        self.read = { stored, user in try read(stored.reader, stored.cast, user) }
    }

    private init(_ name: String, of reports: @escaping (PostgresReports, Cast, UUID128) throws -> Any?) {
        self.name = name
        self.read = { stored, user in try reports(stored.reports, stored.cast, user) }
    }

    private static let page = ReportPage(state: .open, limit: 9)

    static var all: [Look] {
        [
            Look("see the room and its unread count") { try $0.room($1.room, for: $2) },
            Look("list the members") { try $0.members(of: $1.room, for: $2, after: nil, limit: 9) },
            Look("list who is banned") { try $0.banned(from: $1.room, for: $2, after: nil, limit: 9) },
            Look("list the invitation links") { try $0.invitations(to: $1.room, for: $2) },
            Look("read the history") { try $0.history(of: $1.room, for: $2, .newest, limit: 9) },
            Look("search") { try $0.search(SearchWords("mine")!, in: $1.room, for: $2, after: nil, limit: 9) },
            Look("list the pins") { try $0.pins(of: $1.room, for: $2) },
            Look("read a message's receipts") { try $0.receipts(of: $1.messages[.owner]!, for: $2) },
            Look("read a message's edits") { try $0.edits(of: $1.messages[.owner]!, for: $2) },
            Look("report another's message", of: { try $0.ground(ofMessage: $1.othersMessage, for: $2) }),
            Look("report a member", of: { try $0.ground(ofUser: $1.scene.owner, for: $2) }),
            Look("list the reports of the room's messages", of: { try $0.reports(in: $1.room, for: $2, page) }),
        ]
    }
}

/// The cast, stored in a database of its own.
private struct StoredCast {
    let cast: Cast
    let reader: PostgresRoomReader
    let reports: PostgresReports

    init(_ cast: Cast) throws {
        self.cast = cast
        let database = try TestDatabase()
        let store = PostgresRoomBatchStore(database.connection(), limits: Scene.limits)
        _ = try store.load(for: [], now: 0)
        try store.store(cast.scene.batch)
        reader = PostgresRoomReader(database.connection())
        reports = PostgresReports(database.connection(), keepsFor: .seconds(86_400), hasHooks: false)
    }

    func verdict(of look: Look, by actor: Cast.Actor) throws -> String {
        try look.read(self, cast.users[actor]!) == nil ? "not shown" : "✓"
    }
}
