import ChatCore
import Logging

/// Users' own data outside of rooms.
struct AccountEndpoints {
    let services: EndpointServices
    let tickets: any TicketStore
    let events: any UserEvents

    func add(to router: inout Router) {
        router.on("POST", "/ws-ticket", ticket)
        router.on("GET", "/account", show)
        router.on("PATCH", "/account", change)
    }

    /// A ticket for a WebSocket's `?ticket=`, valid once. The socket lives as long as the token that asked for the
    /// ticket.
    private func ticket(_ call: Call) throws(Refusal) -> Response {
        let identity = try services.authentication.identity(call)
        try services.limit(.changes, call)
        let ticket: String
        do { ticket = try tickets.issue(for: identity) } catch {
            services.log.error("Redis failed", metadata: ["error": "\(error)"])
            throw .unavailable("the store of tickets")
        }
        return .data(status: 201) {
            $0.map {
                $0.field("Ticket", ticket)
                $0.field("ExpiresIn", Int(Ticket.lifetime.seconds))
            }
        }
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let account = try services.read(call) { reader, me throws(StoreError) in try reader.account(of: me) }
        return answer(try services.user(call), account)
    }

    /// `HidePresence` and `PushMentionsOnly`: true or false; `AddedBy`: everybody, shared or nobody; `QuietHours`: a map
    /// or null. At least one of them.
    private func change(_ call: Call) throws(Refusal) -> Response {
        let me = try services.user(call)
        let fields = try call.request.fields(limit: services.maxBody)
        var patch = AccountPatch(
            hidesPresence: try fields.given("HidePresence") ? try fields.flag("HidePresence") : nil,
            addedBy: try fields.given("AddedBy")
                ? try fields.name("AddedBy", AddedBy.init(name:), "is not everybody, shared or nobody") : nil,
            pushesMentionsOnly: try fields.given("PushMentionsOnly") ? try fields.flag("PushMentionsOnly") : nil)
        if fields.isNull("QuietHours") {
            patch.quietHours = .some(nil)
        } else if try fields.given("QuietHours") {
            patch.quietHours = .some(try quietHours(RequestFields(try fields.map("QuietHours"))))
        }
        guard patch != AccountPatch() else {
            throw .invalid("HidePresence", "is missing, and so are AddedBy, PushMentionsOnly and QuietHours")
        }
        try services.limit(.changes, call)
        let account = try services.stored { () throws(StoreError) in try services.accounts.change(patch, of: me) }
        if patch.hidesPresence != nil { tell(me, account) }
        return answer(me, account)
    }

    private func quietHours(_ fields: RequestFields) throws(Refusal) -> QuietHours {
        func refused(_ why: String) -> Refusal { .invalid("QuietHours", why) }
        guard let from = try fields.text("From").flatMap({ QuietHours.minute($0) }),
            let to = try fields.text("To").flatMap({ QuietHours.minute($0) })
        else { throw refused("needs From and To, times of a day such as 22:00") }
        guard from != to else { throw refused("has no hours: From and To are the same") }
        guard let zone = try fields.text("TimeZone"), QuietHours.isZoneName(zone),
            try services.stored({ () throws(StoreError) in try services.accounts.isTimeZone(zone) })
        else { throw refused("needs TimeZone, a time zone such as Europe/Berlin") }
        return QuietHours(from: from, to: to, zone: zone)
    }

    private func tell(_ me: UUID128, _ account: Account) {
        do { try events.tell(me, .presence(isHidden: account.hidesPresence)) } catch {
            // The change is stored; open sockets show the old setting until they close.
            services.log.warning("relays were not told of a changed setting", metadata: ["error": "\(error)"])
        }
    }

    private func answer(_ me: UUID128, _ account: Account) -> Response {
        .data {
            $0.map {
                $0.field("UserID", me)
                $0.field("HidePresence", account.hidesPresence)
                $0.field("AddedBy", account.addedBy.name)
                $0.field("PushMentionsOnly", account.pushesMentionsOnly)
                $0.field("QuietHours", account.quietHours) { writer, quiet in
                    writer.map {
                        $0.field("From", QuietHours.text(quiet.from))
                        $0.field("To", QuietHours.text(quiet.to))
                        $0.field("TimeZone", quiet.zone)
                    }
                }
            }
        }
    }
}
