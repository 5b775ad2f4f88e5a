import ChatCore

/// The host application's own endpoints, behind its keys. They act as the room's owner.
struct AdminEndpoints {
    let services: EndpointServices
    let host: any HostStore
    let keys: HostKeys
    let reports: ReportEndpoints
    /// After this time a long task returns `More` instead of continuing.
    private static let timeout = Duration.seconds(15)

    func add(to router: inout Router) {
        func on(_ method: String, _ path: String, query: [String] = [], _ handle: @escaping Router.Handler) {
            // A key replaces a token.
            router.on(method, "/admin" + path, open: true, query: nil) { call throws(Refusal) in
                try admit(call)
                try call.request.query.refuse(except: query)
                return try handle(call)
            }
        }
        on("POST", "/rooms", createRoom)
        on("DELETE", "/rooms/{id}") { call throws(Refusal) in try asOwner(call, .deleteRoom).response() }
        on("POST", "/rooms/{id}/members") { call throws(Refusal) in
            let users = try MemberEndpoints.users(call, try call.request.fields(limit: services.maxBody))
            return try asOwner(call, .addMembers(users)).response(status: 201)
        }
        on("DELETE", "/rooms/{id}/members/{user}") { call throws(Refusal) in
            let user = try call.userID("user")
            call.onBehalf = user
            return try asOwner(call, .removeMember(user)).response()
        }
        on("POST", "/rooms/{id}/messages", announce)
        on("POST", "/rooms/{id}/purge", purge)
        on("GET", "/rooms/{id}/export", query: ["after", "limit"], export)
        on("GET", "/reports", query: ["state", "after", "limit"], reports.listAll)
        on("PATCH", "/reports/{id}", reports.decideAny)
        on("GET", "/audit", query: ["before", "limit"], audit)
        on("DELETE", "/users/{id}", erase)
    }

    private func admit(_ call: Call) throws(Refusal) {
        guard call.key == nil else { return }
        guard keys.hasSetting else { throw Refusal(.notFound, "there is nothing at this address") }
        throw Refusal(.unauthorized, "send a key of the server: Authorization: Bearer <key>")
    }

    /// `before`: an entry's ID.
    private func audit(_ call: Call) throws(Refusal) -> Response {
        let query = call.request.query
        let (before, limit) = (try query.seq("before"), try query.limit())
        let found = try services.stored { () throws(StoreError) in
            try keys.store.audit(before: before, limit: limit + 1)
        }
        let page = Array(found.prefix(limit))
        let next = found.count > limit ? page.last.map { query.next("before", "\($0.id)") } : nil
        return .list(page, next: next) { $1.write(to: &$0) }
    }

    /// Reads `OwnerID` and the fields of a user's request.
    private func createRoom(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        call.user = call.note(try fields.requiredUser("OwnerID"))
        return try RoomEndpoints(services: services).create(call, fields)
    }

    private func asOwner(_ call: Call, _ action: Command.Action) throws(Refusal) -> SubmitOutcome {
        let room = try call.uuid("id")
        call.user = try services.stored { () throws(StoreError) in try host.owner(of: room) }
        guard call.user != nil else { throw Refusal(.notFound, "there is no such room") }
        return try services.submit(call, room: room, action)
    }

    private func announce(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        let content = try fields.content(of: .text)
        return try services.submit(call, room: try call.uuid("id"), sign: try call.sign(fields), .announce(content))
            .response(status: 201)
    }

    /// `Before`: older messages are removed for good.
    private func purge(_ call: Call) throws(Refusal) -> Response {
        let text = try call.request.fields(limit: services.maxBody).text("Before")
        guard let before = text.flatMap({ parseTimestamp($0) }), before <= services.clock() else {
            throw .invalid("Before", "is not an RFC 3339 time of the past such as 2020-01-31T12:00:00Z")
        }
        let result = try work(call, on: [try call.uuid("id")], .purge(before: before))
        return done(result)
    }

    /// Erases a user in every room, then their data outside of rooms.
    private func erase(_ call: Call) throws(Refusal) -> Response {
        let user = try call.userID("id")
        call.onBehalf = user
        let rooms = try services.stored { () throws(StoreError) in
            try host.noteErasure(of: user)
            return try host.roomsEver(of: user)
        }
        let result = try work(call, on: rooms, .erase(user: user))
        if !result.isMore { try services.stored { () throws(StoreError) in try host.forget(user) } }
        return done(result)
    }

    private typealias Work = (messages: Int64, isMore: Bool)

    /// Works in parts, so that rooms stay usable; the caller repeats the request until it is done.
    private func work(_ call: Call, on rooms: [UUID128], _ action: Command.Action) throws(Refusal) -> Work {
        let end = services.clock() + Self.timeout.milliseconds
        var result: Work = (0, false)
        for room in rooms {
            var isMore = true
            while isMore {
                guard services.clock() < end, case .done(let part) = try services.submit(call, room: room, action)
                else {
                    return (result.messages, true)
                }
                result.messages += part["Messages"]?.int ?? 0
                isMore = part["More"]?.bool ?? true
            }
        }
        return result
    }

    /// 202 while more is to do.
    private func done(_ work: Work) -> Response {
        .data(status: work.isMore ? 202 : 200) {
            $0.map {
                $0.field("Messages", work.messages)
                $0.field("More", work.isMore)
            }
        }
    }

    /// Exports in pages (`after`, `limit`); the first page also has the room and its members.
    private func export(_ call: Call) throws(Refusal) -> Response {
        let (id, query) = (try call.uuid("id"), call.request.query)
        let (after, limit) = (try query.seq("after") ?? 0, try query.limit())
        let found = try services.stored { () throws(StoreError) in try host.room(id) }
        guard let found else { throw Refusal(.notFound, "there is no such room") }
        let messages = try services.stored { () throws(StoreError) in
            try host.messages(of: id, after: after, limit: limit + 1)
        }
        let page = messages.prefix(limit)
        let next = messages.count > limit ? page.last.map { query.next("after", "\($0.message.seq)") } : nil
        var writer = JSONWriter(reserving: 64 + page.count * 640)
        writer.map {
            $0.field("Success", true)
            $0.map("Data") {
                if after == 0 { write(found, to: &$0) }
                $0.array("Messages", page) { $1.write(to: &$0) }
            }
            $0.field("Next", next)
        }
        return Response(status: 200, type: Response.json, body: writer.take())
    }

    private func write(_ found: (room: Room, members: [Member]), to writer: inout JSONWriter) {
        writer.field("Room", RoomView(room: found.room))
        writer.field("Members", found.members)
    }
}

extension AuditEntry {
    func write(to writer: inout JSONWriter) {
        writer.map {
            $0.field("ID", id)
            $0.field("At", time: at)
            $0.field("Key", key)
            $0.field("Operation", operation)
            $0.field("Path", path)
            $0.field("UserID", user)
            $0.field("ExternalID", externalID)
            $0.field("Status", status)
            $0.field("RequestID", requestID)
        }
    }
}
