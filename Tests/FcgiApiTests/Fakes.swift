import ChatCore

@testable import fcgi_api

let alice = UUID128("01900000-0000-7000-8000-000000000001")!
let bob = UUID128("01900000-0000-7000-8000-000000000002")!
let kitchen = UUID128("01900000-0000-7000-8000-0000000000aa")!

/// A token is its user's UUID.
final class PlainTokens: TokenVerifier {
    func verify(_ token: String) throws(Refusal) -> Identity {
        guard let user = UUID128(token) else { throw Refusal(.unauthorized, "no such token") }
        return Identity(user: user, expiresAt: .max)
    }
}

/// Records submitted commands and answers as configured.
final class RecordingQueue: CommandQueue {
    var commands: [Command] = []
    var answer: Result<CommandAnswer, Refusal> = .success(
        .answered(.map([.init("Success", .bool(true)), .init("Error", .string("")), .init("Data", .map([]))])))

    func submit(_ command: Command, timeout: Duration) throws(Refusal) -> CommandAnswer {
        commands.append(command)
        return try answer.get()
    }
}

/// One room with some messages; bob is a member.
final class OneRoom: RoomReader {
    var asked: [HistoryPage] = []
    var problem: StoreError?

    func rooms(of user: UUID128, before: RoomCursor?, limit: Int, kind: String?) throws(StoreError) -> [RoomView] {
        (0..<Int64(min(limit, 3))).map { index in
            RoomView(
                room: Room(
                    id: UUID128(high: 7, low: UInt64(index)), type: .group, ownerID: alice, lastActivityAt: 100 - index,
                    createdAt: 0))
        }
    }

    func room(_ id: UUID128, for user: UUID128) throws(StoreError) -> RoomView? {
        if let problem { throw problem }
        guard id == kitchen, user == bob else { return nil }
        return RoomView(room: Room(id: kitchen, type: .group, ownerID: bob, lastActivityAt: 0, createdAt: 0))
    }

    func newestMessages(
        of rooms: [UUID128], for user: UUID128, count: Int
    ) throws(StoreError) -> [UUID128: [Message]] {
        Dictionary(
            uniqueKeysWithValues: rooms.dropLast().map { ($0, (1...Int64(count)).reversed().map { message($0) }) })
    }

    func members(
        of id: UUID128, for user: UUID128, after: UUID128?, limit: Int, kind: String?
    ) throws(StoreError) -> [Member]? {
        user == bob ? [Member(roomID: id, userID: bob, role: .owner, joinedAt: 0)] : nil
    }

    func history(
        of id: UUID128, for user: UUID128, _ page: HistoryPage, limit: Int, kind: String?
    ) throws(StoreError) -> (any MessagePage)? {
        asked.append(page)
        guard user == bob else { return nil }
        return (1...Int64(min(limit, 3))).map { message($0) }
    }

    func message(_ seq: Int64) -> Message {
        Message(
            id: UUID128(high: 8, low: UInt64(seq)), roomID: kitchen, senderID: bob, seq: seq, changeSeq: seq + 10,
            content: "text \(seq)", contentType: .text, messageType: .direct, createdAt: 0)
    }

    func message(_ id: UUID128, for user: UUID128) throws(StoreError) -> Message? { nil }
    func uploads(of user: UUID128, before: UUID128?, limit: Int) throws(StoreError) -> [Message] {
        (1...Int64(min(limit, 3))).map { message(-$0) }
    }
    func upload(of user: UUID128, in room: UUID128, sign: String) throws(StoreError) -> Message? { nil }
    func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128? { message.high == 8 ? kitchen : nil }
    func receipts(of message: UUID128, for user: UUID128) throws(StoreError) -> [SeenMark]? { nil }
    func banned(from id: UUID128, for user: UUID128, after: UUID128?, limit: Int) throws(StoreError) -> [Member]? {
        nil
    }
    func edits(of message: UUID128, for user: UUID128) throws(StoreError) -> [EarlierContent]? { nil }
    func pins(of room: UUID128, for user: UUID128) throws(StoreError) -> [Message]? { user == bob ? [] : nil }
    func search(
        _ words: SearchWords, in room: UUID128?, for user: UUID128, after: SearchCursor?, limit: Int
    ) throws(StoreError) -> [SearchHit]? {
        (1...Int64(min(limit, 3))).map {
            SearchHit(
                message: message($0), place: SearchCursor(at: 9_000_000 - $0, room: message($0).roomID, seq: $0),
                marks: [0..<4])
        }
    }
    func invitations(to room: UUID128, for user: UUID128) throws(StoreError) -> [Invitation]? {
        user == bob ? [invitation] : nil
    }
    func invitation(token: String) throws(StoreError) -> Invitation? { token == "t" ? invitation : nil }

    private var invitation: Invitation {
        Invitation(id: UUID128(high: 9, low: 1), roomID: kitchen, token: "t", createdBy: bob, createdAt: 0)
    }
    var hidden: UUID128?
    func account(of user: UUID128) throws(StoreError) -> Account { Account(hidesPresence: hidden == user) }
    func presenceVisibility(of other: UUID128, for user: UUID128) throws(StoreError) -> PresenceVisibility {
        hidden == other ? .hidden : user == bob || other == bob ? .shown : .stranger
    }
    func check() throws(StoreError) {}
}

final class NoAccounts: AccountStore, PresenceReader, UserEvents {
    var told: [UserEvent] = []
    func tell(_ user: UUID128, _ event: UserEvent) throws(BusError) { told.append(event) }
    var account = Account()
    func change(_ patch: AccountPatch, of user: UUID128) throws(StoreError) -> Account {
        account.hidesPresence = patch.hidesPresence ?? account.hidesPresence
        account.addedBy = patch.addedBy ?? account.addedBy
        account.pushesMentionsOnly = patch.pushesMentionsOnly ?? account.pushesMentionsOnly
        account.quietHours = patch.quietHours ?? account.quietHours
        return account
    }
    func block(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool { true }
    func unblock(_ user: UUID128, by blocker: UUID128) throws(StoreError) -> Bool { false }
    var registered: [PushDevice] = []
    func register(device token: String, of user: UUID128) throws(StoreError) -> Bool { true }
    func register(_ device: PushDevice) throws(StoreError) -> Bool {
        registered.append(device)
        return true
    }
    func devices(of user: UUID128) throws(StoreError) -> [(device: PushDevice, registeredAt: Int64)] {
        registered.map { ($0, 0) }
    }
    func unregister(device: String, of user: UUID128) throws(StoreError) {}
    var silences: [(UUID128, Silence)] = []
    func silence(_ room: UUID128, for user: UUID128, _ silence: Silence) throws(StoreError) {
        silences.append((room, silence))
    }
    func unsilence(_ room: UUID128, for user: UUID128) throws(StoreError) {}
    func silence(thread message: UUID128, in room: UUID128, for user: UUID128, _ silence: Silence) throws(StoreError) {
        silences.append((message, silence))
    }
    func unsilence(thread message: UUID128, for user: UUID128) throws(StoreError) {}
    func isTimeZone(_ name: String) throws(StoreError) -> Bool { areSameBytes(name, "Europe/Berlin") }
    func presence(of user: UUID128, at now: Int64) throws(BusError) -> PresenceMark {
        PresenceMark(userID: user, isOnline: true)
    }
}

final class NumberedTickets: TicketStore {
    private var issued: [Identity] = []

    func issue(for identity: Identity) throws(BusError) -> String {
        issued.append(identity)
        return "\(issued.count - 1)"
    }

    func redeem(_ ticket: String) throws(BusError) -> Identity? { Int(ticket).map { issued[$0] } }
}

/// Allows this many.
final class Allowance: RateLimiter {
    var left = Int.max

    func take(_ kind: RateKind, _ user: UUID128) -> Int? {
        guard left > 0 else { return 1500 }
        left -= 1
        return nil
    }
}

/// The API with all of these fakes, called as nginx calls it.
final class TestApi {
    let queue = RecordingQueue()
    let store = OneRoom()
    let rates = Allowance()
    let accounts = NoAccounts()
    private var router: Router

    init(push: PushSettings? = nil) {
        let clock: Clock = { 1_795_386_496_000 }
        let services = EndpointServices(
            authentication: Authentication(tokens: PlainTokens(), clock: clock), readers: Readers(primary: store),
            accounts: accounts, presences: accounts, commands: queue, rates: rates, clock: clock)
        router = Router { call throws(Refusal) in _ = try services.user(call) }
        MessageEndpoints(services: services).add(to: &router)
        PendingFileEndpoints(services: services).add(to: &router)
        RoomEndpoints(services: services).add(to: &router)
        MemberEndpoints(services: services).add(to: &router)
        BlockEndpoints(services: services, events: accounts).add(to: &router)
        InvitationEndpoints(services: services, lifetime: .seconds(60)).add(to: &router)
        SearchEndpoints(services: services).add(to: &router)
        AccountEndpoints(services: services, tickets: NumberedTickets(), events: accounts).add(to: &router)
        if let push { DeviceEndpoints(services: services, settings: push).add(to: &router) }
        SilenceEndpoints(services: services).add(to: &router)
        HealthEndpoints(dependencies: []).add(to: &router)
    }

    struct Answer {
        var status: Int
        var json: WireValue
        var headers: [String: String]
        var code: String? { json["Error"]?["Code"]?.string }
        var field: String? { json["Error"]?["Field"]?.string }
    }

    func ask(
        _ method: String, _ uri: String, as user: UUID128? = bob, body: String = "", type: String = "application/json",
        bytes: [UInt8]? = nil, headers: [String: String] = [:]
    ) -> Answer {
        let response = respond(method, uri, as: user, bytes ?? Array(body.utf8), type, headers)
        return Answer(
            status: response.status, json: (try? JSONReader.decode(response.body)) ?? .null,
            headers: Dictionary(response.headers.map { ($0.name, $0.value) }) { first, _ in first })
    }

    /// The answer's body as it is sent.
    func text(_ method: String, _ uri: String, body: String) -> String {
        let response = respond(method, uri, as: bob, Array(body.utf8), "application/json", ["HTTP_X_REQUEST_ID": "r"])
        return String(decoding: response.body, as: UTF8.self)
    }

    private func respond(
        _ method: String, _ uri: String, as user: UUID128?, _ body: [UInt8], _ type: String, _ headers: [String: String]
    ) -> Response {
        var values = ["REQUEST_METHOD": method, "REQUEST_URI": "/api/v1" + uri, "CHAT_PREFIX": "/api/v1"]
        values["CONTENT_LENGTH"] = body.isEmpty ? "" : String(body.count)
        values["CONTENT_TYPE"] = body.isEmpty ? "" : type
        if let user { values["HTTP_AUTHORIZATION"] = "Bearer \(user)" }
        values.merge(headers) { _, new in new }
        let request = try! request(values, body: body)
        let call = Call(request, now: 1)
        do throws(Refusal) { return try call.route(router) } catch {
            return .refusal(error, requestID: call.requestID)
        }
    }
}

func request(_ values: [String: String], body: [UInt8] = []) throws(Refusal) -> Request {
    var rest = body[...]
    return try Request(
        parameter: { values[$0] },
        read: { buffer in
            // Small pieces, as from a network.
            let part = rest.prefix(min(buffer.count, 7))
            buffer.copyBytes(from: part)
            rest = rest.dropFirst(part.count)
            return part.count
        })
}
