import ChatCore

/// Invitation links.
struct InvitationEndpoints {
    let services: EndpointServices
    /// The lifetime of an invitation that does not give one.
    let lifetime: Duration
    /// The longest lifetime: a year.
    private static let longest = Duration.seconds(31_536_000)

    func add(to router: inout Router) {
        router.on("GET", "/rooms/{id}/invitations", list)
        router.on("POST", "/rooms/{id}/invitations", create)
        router.on("DELETE", "/rooms/{id}/invitations/{invitation}") { call throws(Refusal) in
            let id = try call.uuid("invitation")
            return try services.submit(call, room: try call.uuid("id"), .revokeInvitation(id)).response()
        }
        router.on("POST", "/rooms/join", join)
    }

    private func list(_ call: Call) throws(Refusal) -> Response {
        let room = try call.uuid("id")
        let found = try services.read(call, in: room) { reader, user throws(StoreError) in
            try reader.invitations(to: room, for: user)
        }
        guard let found else { throw Refusal(.forbidden, "only OWNER and ADMIN may see a room's invitations") }
        return .list(found, next: nil) { $1.write(to: &$0) }
    }

    /// `ExpiresIn` (seconds) and `MaxUses`, both optional.
    private func create(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        let seconds = try fields.integer("ExpiresIn", in: 1...Self.longest.seconds) ?? lifetime.seconds
        let draft = InvitationDraft(
            token: Self.token(), expiresAt: services.clock() + seconds * 1000,
            maxUses: try fields.integer("MaxUses", in: 1...Int64(RequestLimit.invitationUses)).map { Int($0) })
        let sign = try call.sign(fields)
        return try services.submit(call, room: try call.uuid("id"), sign: sign, of: fields, .createInvitation(draft))
            .response(status: 201)
    }

    /// The token is in the body, because addresses are logged.
    private func join(_ call: Call) throws(Refusal) -> Response {
        guard let token = try call.request.fields(limit: services.maxBody).text("Token") else {
            throw .invalid("Token", "is missing")
        }
        // The database accepts no NUL, and need not be asked for a text that cannot be a token.
        guard token.utf8.count <= 64, token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw Self.unknown
        }
        let found = try services.read(call) { reader, _ throws(StoreError) in try reader.invitation(token: token) }
        guard let found else { throw Self.unknown }
        let outcome = try services.submit(call, room: found.roomID, .join(invitation: found.id))
        return try services.room(after: outcome, found.roomID, call)
    }

    private static let unknown = Refusal(.notFound, "there is no such invitation", field: "Token")

    /// 128 random bits, in characters that need no escaping in an address.
    private static func token() -> String {
        var random = SystemRandomNumberGenerator()
        let id = UUID128(high: random.next(), low: random.next())
        return id.description.filter { $0 != "-" }
    }
}
