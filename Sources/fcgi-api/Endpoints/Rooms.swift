import ChatCore

struct RoomEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on("POST", "/rooms") { call throws(Refusal) in
            _ = try services.user(call)
            return try create(call, try call.request.fields(limit: services.maxBody))
        }
        router.on("GET", "/rooms", query: ["limit", "cursor", "messages", "Metadata.kind"], list)
        router.on("GET", "/rooms/{id}", show)
        router.on("PATCH", "/rooms/{id}", update)
        router.on("DELETE", "/rooms/{id}") { call throws(Refusal) in
            try services.submit(call, room: try call.uuid("id"), .deleteRoom).response()
        }
    }

    func create(_ call: Call, _ fields: RequestFields) throws(Refusal) -> Response {
        let user = try services.user(call)
        let draft = try RoomDraft(fields, members: try call.userIDs(fields, "Members"))
        let sign = try call.sign(fields)
        // The id of a PRIVATE room follows from its two members.
        guard draft.type == .privateRoom else {
            let id = UUID128.v7(at: services.clock())
            return try services.submit(call, room: id, id: id, sign: sign, of: fields, .createRoom(draft))
                .response(status: 201)
        }
        guard draft.members.count == 1, let room = privateRoomID(user, draft.members[0]) else {
            throw .invalid("Members", "of a PRIVATE room must be exactly the other user")
        }
        let outcome = try services.submit(call, room: room, sign: sign, of: fields, .createRoom(draft))
        return try services.room(after: outcome, room, call, 201)
    }

    private func list(_ call: Call) throws(Refusal) -> Response {
        let query = call.request.query
        let count = Int(try query.number("messages", in: 0...Int64(Self.maxMessages)) ?? 0)
        // A page with many messages per room has fewer rooms.
        let limit = min(try query.limit(), Self.maxOfPage / max(count, 1))
        var cursor: RoomCursor?
        if let text = try query.cursor("cursor") {
            cursor = RoomCursor(text: text)
            guard cursor != nil else { throw .invalid("cursor", "is not a Next value of a list") }
        }
        let kind = try query.kind()
        // One more than requested shows whether there is a next page.
        let found = try services.read(call) { reader, user throws(StoreError) in
            try reader.rooms(of: user, before: cursor, limit: limit + 1, kind: kind)
        }
        var page = Array(found.prefix(limit))
        let next = found.count > limit ? page.last.map { query.next("cursor", RoomCursor($0).text) } : nil
        if query["messages"] != nil { try put(count, into: &page, call) }
        return .list(page, next: next) { $1.write(to: &$0) }
    }

    /// Limits of messages: per room, and for all rooms of a page.
    private static let maxMessages = 50
    private static let maxOfPage = 1000

    private func put(_ count: Int, into page: inout [RoomView], _ call: Call) throws(Refusal) {
        let rooms = page.map(\.room.id)
        let newest = try services.read(call) { reader, user throws(StoreError) in
            count == 0 ? [:] : try reader.newestMessages(of: rooms, for: user, count: count)
        }
        for place in page.indices { page[place].messages = newest[page[place].room.id, default: []] }
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let view = try services.read(call, in: id) { reader, user throws(StoreError) in
            try reader.room(id, for: user)
        }
        guard let view else { throw .notAMember }
        return .data { view.write(to: &$0) }
    }

    private func update(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        // Description and Avatar may be emptied; a GROUP or CHANNEL always has a name.
        for name in ["Name", "MemberLimit", "SlowModeSeconds"] { _ = try fields.given(name) }
        for name in ["Description", "Avatar"] where fields.isNull(name) {
            throw .invalid(name, "is missing: send an empty text to clear it")
        }
        let room = try call.uuid("id")
        var patch = try RoomPatch(fields)
        patch.metadata = try fields.givenMetadata()
        guard patch != RoomPatch() else {
            throw .invalid(
                "Name",
                "or Description, Avatar, MemberLimit, SlowModeSeconds or Metadata is needed: there is nothing to change"
            )
        }
        return try services.room(after: services.submit(call, room: room, .updateRoom(patch)), room, call)
    }
}

extension RoomDraft {
    init(_ fields: RequestFields, members: [UUID128]) throws(Refusal) {
        let type = try fields.name("Type", RoomType.init(name:), "is not PRIVATE, GROUP or CHANNEL")
        guard let type else { throw .invalid("Type", "is missing: PRIVATE, GROUP or CHANNEL") }
        let patch = try RoomPatch(fields)
        self.init(
            type: type, name: patch.name ?? "", description: patch.description ?? "", avatar: patch.avatar ?? "",
            members: members, memberLimit: patch.memberLimit, metadata: try fields.metadata(),
            slowModeSeconds: patch.slowModeSeconds ?? 0)
        guard type != .privateRoom || slowModeSeconds == 0 else {
            throw .invalid("SlowModeSeconds", "is not for a PRIVATE room")
        }
        guard type == .privateRoom || !name.isEmpty else {
            throw .invalid("Name", "is missing: a \(type.name) has one")
        }
    }
}

extension RoomPatch {
    init(_ fields: RequestFields) throws(Refusal) {
        let name = try fields.line("Name", limit: RequestLimit.roomName)
        guard name?.isEmpty != false || name?.showsSomething == true else {
            throw .invalid("Name", "shows nothing: it has no visible character")
        }
        self.init(
            name: name,
            description: try fields.line("Description", limit: RequestLimit.roomDescription),
            avatar: try fields.line("Avatar", limit: RequestLimit.avatar),
            memberLimit: try fields.integer("MemberLimit", in: 2...Int64(RoomSettings.maxMembers)).map { Int($0) },
            slowModeSeconds: try fields.integer("SlowModeSeconds", in: 0...Int64(RequestLimit.slowMode)).map {
                Int($0)
            })
    }
}
