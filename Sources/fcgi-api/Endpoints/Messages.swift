import ChatCore

struct MessageEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on(
            "GET", "/rooms/{id}/messages",
            query: ["limit", "before", "after", "around", "changed_since", "Metadata.kind"],
            history)
        router.on("POST", "/rooms/{id}/messages", send)
        router.on("GET", "/rooms/{id}/pins", pins)
        router.on("POST", "/rooms/{id}/seen", seen)
        router.on("GET", "/messages/{id}", show)
        router.on("PATCH", "/messages/{id}", edit)
        router.on("DELETE", "/messages/{id}") { call throws(Refusal) in
            let message = try call.uuid("id")
            return try services.submit(call, room: try services.roomOfMessage(message, call), .delete(message: message))
                .response()
        }
        router.on("GET", "/messages/{id}/edits", edits)
        router.on("PUT", "/messages/{id}/pin") { call throws(Refusal) in try pin(call, true) }
        router.on("DELETE", "/messages/{id}/pin") { call throws(Refusal) in try pin(call, false) }
        router.on("GET", "/messages/{id}/receipts", receipts)
        router.on("PUT", "/messages/{id}/reactions/{emoji}") { call throws(Refusal) in try react(call, remove: false) }
        router.on("DELETE", "/messages/{id}/reactions/{emoji}") { call throws(Refusal) in try react(call, remove: true)
        }
    }

    private func history(_ call: Call) throws(Refusal) -> Response {
        let room = try call.uuid("id")
        let limit = try call.request.query.limit()
        let (page, kind) = (try HistoryPage(call.request.query), try call.request.query.kind())
        // One more than requested shows whether there is a next page.
        let found = try services.read(call, in: room) { reader, user throws(StoreError) in
            try reader.history(of: room, for: user, page, limit: page.isOpenEnded ? limit + 1 : limit, kind: kind)
        }
        guard let found else { throw .notAMember }
        let next =
            found.count > limit
            ? call.request.query.next(page.parameter, page.cursor(found.place(limit - 1))) : nil
        return .list(0..<min(found.count, limit), next: next) { found.write($1, to: &$0) }
    }

    private func send(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        let draft = try MessageDraft(fields)
        let sign = try call.sign(fields)
        return try services.submit(call, room: try call.uuid("id"), sign: sign, .send(draft, receiver: nil))
            .response(status: 201)
    }

    private func seen(_ call: Call) throws(Refusal) -> Response {
        let fields = try call.request.fields(limit: services.maxBody)
        return try services.submit(call, room: try call.uuid("id"), .seen(seq: try fields.seq("Seq"))).response()
    }

    private func show(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let message = try services.read(call) { reader, user throws(StoreError) in try reader.message(id, for: user) }
        guard let message else { throw .messageNotFound }
        return .data { message.write(to: &$0) }
    }

    private func edit(_ call: Call) throws(Refusal) -> Response {
        let message = try call.uuid("id")
        let fields = try call.request.fields(limit: services.maxBody)
        let edit = try fields.edit(of: message)
        return try services.submit(call, room: try services.roomOfMessage(message, call), edit).response()
    }

    private func react(_ call: Call, remove: Bool) throws(Refusal) -> Response {
        let message = try call.uuid("id")
        let emoji = try RequestFields.check(reaction: call.text("emoji"))
        let room = try services.roomOfMessage(message, call)
        return try services.submit(call, room: room, .react(message: message, reaction: emoji, remove: remove))
            .response()
    }

    /// Returns the message after the change; the room's frame says only that it was pinned.
    private func pin(_ call: Call, _ pinned: Bool) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let room = try services.roomOfMessage(id, call)
        let outcome = try services.submit(call, room: room, .pin(message: id, pinned: pinned))
        guard case .done = outcome else { return outcome.response() }
        let message = try services.newest(id, call)
        return .data { message.write(to: &$0) }
    }

    private func pins(_ call: Call) throws(Refusal) -> Response {
        let room = try call.uuid("id")
        let found = try services.read(call, in: room) { reader, user throws(StoreError) in
            try reader.pins(of: room, for: user)
        }
        guard let found else { throw .notAMember }
        return .list(found, next: nil) { $1.write(to: &$0) }
    }

    private func edits(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let found = try services.read(call) { reader, user throws(StoreError) in try reader.edits(of: id, for: user) }
        guard let found else { throw .messageNotFound }
        return .list(found, next: nil) { $1.write(to: &$0) }
    }

    private func receipts(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        let marks = try services.read(call) { reader, user throws(StoreError) in try reader.receipts(of: id, for: user)
        }
        guard let marks else { throw .messageNotFound }
        return .list(marks, next: nil) { $1.write(to: &$0) }
    }
}

extension HistoryPage {
    /// Accepts at most one of before, after, around and changed_since.
    init(_ query: Query) throws(Refusal) {
        let given = ["before", "after", "around", "changed_since"].filter { query[$0] != nil }
        guard given.count <= 1 else { throw .invalid(given[1], "does not go together with \(given[0])") }
        guard let name = given.first, let seq = try query.seq(name) else {
            self = .newest
            return
        }
        switch name {
        case "before": self = .before(seq)
        case "after": self = .after(seq)
        case "around": self = .around(seq)
        default: self = .changedSince(seq)
        }
    }

    /// A page around a message has two ends; before and after continue it.
    var isOpenEnded: Bool { if case .around = self { false } else { true } }

    /// The parameter that holds the position of the next page.
    var parameter: String {
        switch self {
        case .newest, .before: "before"
        case .after, .around: "after"
        case .changedSince: "changed_since"
        }
    }

    /// The value of the same parameter for the next page.
    func cursor(_ last: (seq: Int64, changeSeq: Int64)) -> String {
        if case .changedSince = self { String(last.changeSeq) } else { String(last.seq) }
    }
}
