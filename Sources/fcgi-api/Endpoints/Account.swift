import ChatCore
import Logging

/// What users keep for themselves.
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
            try doors.stored { () throws(StoreError) in try doors.accounts.register(device: token, of: me) }
            return .noContent
        }
        router.on("DELETE", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try device(call), try doors.user(call))
            try doors.stored { () throws(StoreError) in try doors.accounts.unregister(device: token, of: me) }
            return .noContent
        }
    }

    /// A WebSocket's `?ticket=` takes it once; the socket lives as long as the token that asked for it.
    private func ticket(_ call: Call) throws(Refusal) -> Response {
        let identity = try doors.identity(call)
        let ticket: String
        do { ticket = try tickets.issue(for: identity) } catch {
            doors.log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("the store of tickets")
        }
        return .data(status: 201) { writer in
            writer.beginMap(2)
            writer.key("Ticket")
            writer.string(ticket)
            writer.key("ExpiresIn")
            writer.int(Int64(Ticket.lifetime))
            writer.endMap()
        }
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let hides = try doors.read(call) { reader, me throws(StoreError) in try reader.hidesPresence(me) }
        return try account(call, hides)
    }

    /// `HidePresence`: true or false.
    private func change(_ call: Call) throws(Refusal) -> Response {
        let me = try doors.user(call)
        let fields = try call.request.fields(limit: doors.maxBody)
        guard fields.has("HidePresence") else { throw .invalid("HidePresence", "is missing") }
        let hides = try fields.flag("HidePresence")
        try doors.stored { () throws(StoreError) in try doors.accounts.set(hidesPresence: hides, of: me) }
        do { try events.tell(me, .presence(isHidden: hides)) } catch {
            // Stored it is; a socket that is open tells of it until it closes.
            doors.log.warning("relays were not told of a changed setting", metadata: ["error": "\(error)"])
        }
        return try account(call, hides)
    }

    private func account(_ call: Call, _ hides: Bool) throws(Refusal) -> Response {
        let me = try doors.user(call)
        return .data { writer in
            writer.beginMap(2)
            writer.key("UserID")
            writer.uuid(me)
            writer.key("HidePresence")
            writer.bool(hides)
            writer.endMap()
        }
    }

    private func device(_ call: Call) throws(Refusal) -> String {
        let token = call.text("token")
        guard token.utf8.count <= AccountEndpoints.longestDeviceToken, token.utf8.allSatisfy(isTokenByte)
        else { throw .invalid("token", "is not an FCM registration token") }
        return token
    }
}

/// What FCM makes its tokens of.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "."),
        UInt8(ascii: "-"):
        true
    default: false
    }
}
