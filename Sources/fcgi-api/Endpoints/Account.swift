import ChatCore
import Logging

/// Users' own data outside of rooms.
struct AccountEndpoints {
    let doors: Doors
    let tickets: any TicketStore
    let events: any UserEvents
    /// FCM registration tokens have about 160 bytes today and no promised limit.
    private static let longestDeviceToken = 4096

    func add(to router: inout Router) {
        router.on("POST", "/ws-ticket") { call throws(Refusal) in try ticket(call) }
        router.on("GET", "/account") { call throws(Refusal) in try show(call) }
        router.on("PATCH", "/account") { call throws(Refusal) in try change(call) }
        router.on("PUT", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try device(call), try doors.user(call))
            try doors.limit(.changes, call)
            let isRegistered = try doors.stored { () throws(StoreError) in
                try doors.accounts.register(device: token, of: me)
            }
            guard isRegistered else { throw Refusal(.conflict, "too many users have this device", field: "token") }
            return .noContent
        }
        router.on("DELETE", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try device(call), try doors.user(call))
            try doors.limit(.changes, call)
            try doors.stored { () throws(StoreError) in try doors.accounts.unregister(device: token, of: me) }
            return .noContent
        }
    }

    /// A ticket for a WebSocket's `?ticket=`, valid once. The socket lives as long as the token that asked for the
    /// ticket.
    private func ticket(_ call: Call) throws(Refusal) -> Response {
        let identity = try doors.identity(call)
        try doors.limit(.changes, call)
        let ticket: String
        do { ticket = try tickets.issue(for: identity) } catch {
            doors.log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("the store of tickets")
        }
        return .data(status: 201) {
            $0.map {
                $0.field("Ticket", ticket)
                $0.field("ExpiresIn", Ticket.lifetime)
            }
        }
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let account = try doors.read(call) { reader, me throws(StoreError) in try reader.account(of: me) }
        return answer(try doors.user(call), account)
    }

    /// `HidePresence`: true or false; `AddedBy`: everybody, shared or nobody. One of them or both.
    private func change(_ call: Call) throws(Refusal) -> Response {
        let me = try doors.user(call)
        let fields = try call.request.fields(limit: doors.maxBody)
        let patch = AccountPatch(
            hidesPresence: try fields.given("HidePresence") ? try fields.flag("HidePresence") : nil,
            addedBy: try fields.given("AddedBy")
                ? try fields.name("AddedBy", AddedBy.init(name:), "is not everybody, shared or nobody") : nil)
        guard patch != AccountPatch() else { throw .invalid("HidePresence", "is missing, and so is AddedBy") }
        try doors.limit(.changes, call)
        let account = try doors.stored { () throws(StoreError) in try doors.accounts.change(patch, of: me) }
        if patch.hidesPresence != nil { tell(me, account) }
        return answer(me, account)
    }

    private func tell(_ me: UUID128, _ account: Account) {
        do { try events.tell(me, .presence(isHidden: account.hidesPresence)) } catch {
            // The change is stored; open sockets show the old setting until they close.
            doors.log.warning("relays were not told of a changed setting", metadata: ["error": "\(error)"])
        }
    }

    private func answer(_ me: UUID128, _ account: Account) -> Response {
        .data {
            $0.map {
                $0.field("UserID", me)
                $0.field("HidePresence", account.hidesPresence)
                $0.field("AddedBy", account.addedBy.name)
            }
        }
    }

    private func device(_ call: Call) throws(Refusal) -> String {
        let token = call.text("token")
        guard token.utf8.count <= AccountEndpoints.longestDeviceToken, token.utf8.allSatisfy(isTokenByte)
        else { throw .invalid("token", "is not an FCM registration token") }
        return token
    }
}

/// The characters of FCM's tokens.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "."),
        UInt8(ascii: "-"):
        true
    default: false
    }
}
