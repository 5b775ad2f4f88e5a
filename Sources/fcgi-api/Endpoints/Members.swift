import ChatCore

struct MemberEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on("GET", "/rooms/{id}/members", query: ["limit", "cursor", "banned", "Metadata.kind"]) {
            call throws(Refusal) in
            try list(call)
        }
        router.on("POST", "/rooms/{id}/members", invite)
        router.on("PATCH", "/rooms/{id}/members/{user}", change)
        router.on("DELETE", "/rooms/{id}/members/{user}") { call throws(Refusal) in
            let user = try call.userID("user")
            return try services.submit(call, room: try call.uuid("id"), .removeMember(user)).response()
        }
        router.on("GET", "/users/{id}/presence", presence)
    }

    private func list(_ call: Call) throws(Refusal) -> Response {
        let limit = try call.request.query.limit()
        let room = try call.uuid("id")
        var after: UUID128?
        if let text = try call.request.query.cursor("cursor") {
            after = UUID128(text)
            guard after != nil else { throw .invalid("cursor", "is not a Next value of a list") }
        }
        let (wantsBanned, kind) = (try call.request.query.flag("banned"), try call.request.query.kind())
        let found = try services.read(call, in: room) { reader, user throws(StoreError) in
            wantsBanned
                ? try reader.banned(from: room, for: user, after: after, limit: limit + 1)
                : try reader.members(of: room, for: user, after: after, limit: limit + 1, kind: kind)
        }
        guard let found else {
            throw wantsBanned ? Refusal(.forbidden, "only OWNER and ADMIN may see who is banned") : .notAMember
        }
        // Only members have Metadata, so no banned user has a kind.
        let page = wantsBanned && kind != nil ? [] : Array(found.prefix(limit))
        let next = found.count > limit ? page.last.map { call.request.query.next("cursor", "\($0.userID)") } : nil
        return .list(page, next: next) { $1.write(to: &$0) }
    }

    /// `Members`, or `UserID` for one.
    static func users(_ call: Call, _ fields: RequestFields) throws(Refusal) -> [UUID128] {
        var users = try call.userIDs(fields, "Members")
        if let user = try fields.user("UserID").map(call.note), !users.contains(user) { users.append(user) }
        guard !users.isEmpty else { throw .invalid("Members", "is missing") }
        return users
    }

    private func invite(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        let users = try Self.users(call, fields)
        let sign = try call.sign(fields)
        let room = try call.uuid("id")
        let outcome = try services.submit(call, room: room, sign: sign, of: fields, .addMembers(users))
        return try services.room(after: outcome, room, call, 201)
    }

    /// One change per request: `Role`, `MutedUntil` (null ends it), `Banned` or `Metadata`.
    private func change(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        let (room, user) = (try call.uuid("id"), try call.userID("user"))
        let given = ["Role", "MutedUntil", "Banned", "Metadata"].filter(fields.has)
        guard given.count == 1 else {
            throw .invalid("Role", "or MutedUntil, Banned or Metadata is needed, and only one of them")
        }
        switch given[0] {
        case "Role":
            _ = try fields.given("Role")
            let role = try fields.name("Role", Role.init(name:), "is not OWNER, ADMIN or MEMBER")
            guard let role else { throw .invalid("Role", "is missing") }
            return try services.submit(call, room: room, .setRole(user: user, role: role)).member.response()
        case "MutedUntil":
            return try services.submit(call, room: room, .mute(user: user, until: try mutedUntil(fields))).member
                .response()
        case "Metadata":
            guard let patch = try fields.givenMetadata() else { throw .invalid("Metadata", "is missing") }
            return try services.submit(call, room: room, .memberMetadata(user: user, patch)).member.response()
        default:
            _ = try fields.given("Banned")
            let banned = try fields.flag("Banned")
            return try services.submit(call, room: room, .ban(user: user, banned: banned)).member.response()
        }
    }

    private func mutedUntil(_ fields: RequestFields) throws(Refusal) -> Int64? {
        guard let text = try fields.text("MutedUntil") else { return nil }
        guard let time = parseTimestamp(text) else {
            throw .invalid("MutedUntil", "is not an RFC 3339 time such as 2030-01-31T12:00:00Z")
        }
        return time > services.clock() ? time : nil
    }

    /// Only for users who share a room with the asking user.
    private func presence(_ call: Call) throws(Refusal) -> Response {
        let user = try call.userID("id")
        let visibility = try services.read(call) { reader, me throws(StoreError) in
            try reader.presenceVisibility(of: user, for: me)
        }
        guard visibility != .stranger else { throw Refusal(.notFound, "there is no such user in your rooms") }
        // A user who hides their presence looks like somebody who has never been online.
        let mark =
            visibility == .hidden ? PresenceMark(userID: user, isOnline: false) : try services.presence(of: user)
        return .data { mark.write(to: &$0) }
    }
}
