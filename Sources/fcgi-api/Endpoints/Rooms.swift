import ChatCore

struct RoomEndpoints {
    let doors: Doors

    func add(to router: inout Router) {
        router.on("POST", "/rooms") { call throws(Refusal) in
            _ = try doors.user(call)
            return try create(call, try call.request.fields(limit: doors.maxBody))
        }
        router.on("GET", "/rooms") { call throws(Refusal) in try list(call) }
        router.on("GET", "/rooms/{id}") { call throws(Refusal) in try show(call) }
        router.on("PATCH", "/rooms/{id}") { call throws(Refusal) in try update(call) }
        router.on("DELETE", "/rooms/{id}") { call throws(Refusal) in
            try doors.submit(call, room: try call.uuid("id"), .deleteRoom).response()
        }
    }

    func create(_ call: Call, _ fields: RequestFields) throws(Refusal) -> Response {
        let user = try doors.user(call)
        let draft = try RoomDraft(fields)
        let sign = try call.sign(fields)
        // One pair, one room: its id follows from the two.
        guard draft.type == .privateRoom else {
            let id = UUID128.v7(at: doors.clock())
            return try doors.submit(call, room: id, id: id, sign: sign, .createRoom(draft))
                .response(status: 201)
        }
        guard draft.members.count == 1, let room = privateRoomID(user, draft.members[0]) else {
            throw .invalid("Members", "of a PRIVATE room is the one other user")
        }
        return try doors.room(after: doors.submit(call, room: room, .createRoom(draft)), room, call, 201)
    }

    private func list(_ call: Call) throws(Refusal) -> Response {
        let limit = try call.request.query.limit()
        var cursor: RoomCursor?
        if let text = call.request.query["cursor"] {
            cursor = RoomCursor(text: text)
            guard cursor != nil else { throw .invalid("cursor", "is not one that a list has given as Next") }
        }
        // One more than asked tells whether there is a next page.
        let found = try doors.read(call) { reader, user throws(StoreError) in
            try reader.rooms(of: user, before: cursor, limit: limit + 1)
        }
        let page = Array(found.prefix(limit))
        let next = found.count > limit ? page.last.map { RoomCursor($0).text } : nil
        return .list(page, next: next) { $1.write(to: &$0) }
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let view = try doors.read(call) { reader, user throws(StoreError) in try reader.room(id, for: user) }
        guard let view else { throw .notAMember }
        return .data { view.write(to: &$0) }
    }

    private func update(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: doors.maxBody)
        let (room, patch) = (try call.uuid("id"), try RoomPatch(fields))
        guard patch != RoomPatch() else {
            throw .invalid("Name", "or Description, Avatar or MemberLimit is needed: there is nothing to change")
        }
        return try doors.room(after: doors.submit(call, room: room, .updateRoom(patch)), room, call)
    }
}

extension RoomDraft {
    init(_ fields: RequestFields) throws(Refusal) {
        let type = try fields.name("Type", RoomType.init(name:), "is not PRIVATE, GROUP or CHANNEL")
        guard let type else { throw .invalid("Type", "is missing: PRIVATE, GROUP or CHANNEL") }
        let patch = try RoomPatch(fields)
        self.init(
            type: type, name: patch.name ?? "", description: patch.description ?? "", avatar: patch.avatar ?? "",
            members: try fields.uuids("Members", limit: 1000), memberLimit: patch.memberLimit)
        guard type == .privateRoom || !name.isEmpty else {
            throw .invalid("Name", "is missing: a \(type.name) has one")
        }
    }
}

extension RoomPatch {
    init(_ fields: RequestFields) throws(Refusal) {
        self.init(
            name: try fields.line("Name", limit: RequestLimit.roomName),
            description: try fields.line("Description", limit: RequestLimit.roomDescription),
            avatar: try fields.line("Avatar", limit: RequestLimit.avatar),
            memberLimit: try fields.integer("MemberLimit", in: 2...Int64(RoomSettings.mostMembers)).map { Int($0) })
    }
}
