import ChatCore

/// Users report messages and users; OWNER and ADMIN decide about the reports of their room's messages, and the host
/// application about all. A report is no part of its room's order: it is stored here, and not by queue-worker.
struct ReportEndpoints {
    let services: EndpointServices
    let store: any ReportStore
    /// Tries of one request: each failed try means that another one has changed the report or the message.
    private static let tries = 10

    private static let unknown = Refusal(.notFound, "there is no such report")
    private static let forAdmins = Refusal(.forbidden, "only OWNER and ADMIN may see a room's reports")

    func add(to router: inout Router) {
        router.on("PUT", "/messages/{id}/report") { call throws(Refusal) in
            let id = try call.uuid("id")
            return try report(call, unseen: .messageNotFound) { user throws(StoreError) in
                try store.ground(ofMessage: id, for: user)
            }
        }
        router.on("PUT", "/users/{id}/report") { call throws(Refusal) in
            let id = try call.userID("id")
            let unseen = Refusal(.notFound, "there is no such user in your rooms")
            return try report(call, unseen: unseen) { user throws(StoreError) in
                try store.ground(ofUser: id, for: user)
            }
        }
        router.on("GET", "/rooms/{id}/reports", query: ["state", "after", "limit"], listOfRoom)
        router.on("PATCH", "/rooms/{id}/reports/{report}", decideInRoom)
    }

    // MARK: Reporting

    /// 201 for a new report; a repeat replaces `Reason` and `Text`.
    private func report(
        _ call: Call, unseen: Refusal, _ ground: (UUID128) throws(StoreError) -> ReportGround?
    ) throws(Refusal) -> Response {
        let user = try services.user(call)
        let fields = try call.request.fields(limit: services.maxBody)
        let reason = try fields.name(
            "Reason", ReportReason.init(name:), "is not spam, abuse, violence, sexual, illegal or other")
        guard let reason else { throw .invalid("Reason", "is missing") }
        let text = try fields.lines("Text", limit: RequestLimit.reportText) ?? ""
        try services.limit(.changes, call)
        let now = services.clock()
        for _ in 0..<Self.tries {
            guard let found = try services.stored({ () throws(StoreError) in try ground(user) }) else { throw unseen }
            let change = try ReportContent.change(
                found, by: user, reason: reason, text: text, id: .v7(at: now), at: now)
            guard let change else { return answer(found.earlier!) }
            guard try services.stored({ () throws(StoreError) in try store.put(change) }) else { continue }
            return answer(change.report, status: found.earlier == nil ? 201 : 200)
        }
        throw .busy("the report or its message is changing too often")
    }

    private func answer(_ report: Report, status: Int = 200) -> Response {
        .data(status: status) { ReportView(report, for: .reporter).write(to: &$0) }
    }

    // MARK: The queue of a room

    private func listOfRoom(_ call: Call) throws(Refusal) -> Response {
        let (room, user) = (try call.uuid("id"), try services.user(call))
        return try list(call) { page throws(StoreError) in try store.reports(in: room, for: user, page) }
    }

    private func decideInRoom(_ call: Call) throws(Refusal) -> Response {
        let (room, id, user) = (try call.uuid("id"), try call.uuid("report"), try services.user(call))
        return try decide(call, by: .user(user)) { () throws(StoreError) in
            try store.report(id, in: room, for: user)
        }
    }

    // MARK: The queue of the host application

    func listAll(_ call: Call) throws(Refusal) -> Response {
        try list(call) { page throws(StoreError) in try store.reports(page) }
    }

    func decideAny(_ call: Call) throws(Refusal) -> Response {
        let id = try call.uuid("id")
        return try decide(call, by: .host(key: call.key?.name ?? "")) { () throws(StoreError) in
            try store.report(id)
        }
    }

    // MARK: Both queues

    /// Oldest first. Each page has one `state`.
    private func list(
        _ call: Call, _ read: (ReportPage) throws(StoreError) -> [ReportView]?
    ) throws(Refusal) -> Response {
        let query = call.request.query
        let limit = try query.limit()
        guard let state = query["state"].map({ ReportState(name: $0) }) ?? .open else {
            throw .invalid("state", "is not open, reviewing, resolved or dismissed")
        }
        var after: UUID128?
        if let text = try query.cursor("after") {
            after = UUID128(text)
            guard after != nil else { throw .invalid("after", "is not a Next value of a list") }
        }
        try services.limit(.reads, call)
        let found = try services.stored { () throws(StoreError) in
            try read(ReportPage(state: state, after: after, limit: limit + 1))
        }
        guard let found else { throw Self.forAdmins }
        let page = Array(found.prefix(limit))
        let next = found.count > limit ? page.last.map { query.next("after", "\($0.report.id)") } : nil
        return .list(page, next: next) { $1.write(to: &$0) }
    }

    /// `State` and `ExpectedState`, also `Note` and `Version`.
    private func decide(
        _ call: Call, by handler: ReportHandler, _ read: () throws(StoreError) -> ReportView?
    ) throws(Refusal) -> Response {
        let step = try ReportStep(try call.request.fields(limit: services.maxBody))
        try services.limit(.changes, call)
        for _ in 0..<Self.tries {
            guard var view = try services.stored(read) else { throw Self.unknown }
            if call.key != nil, case .host = handler { call.onBehalf = view.report.subject.user }
            view.report = try HandleReport.take(step, of: view.report, by: handler, at: services.clock())
            let report = view.report
            guard try services.stored({ () throws(StoreError) in try store.settle(report) }) else { continue }
            return .data { view.write(to: &$0) }
        }
        throw .busy("the report is changing too often")
    }
}

extension ReportStep {
    init(_ fields: RequestFields) throws(Refusal) {
        func state(_ key: String) throws(Refusal) -> ReportState {
            let found = try fields.name(
                key, ReportState.init(name:), "is not open, reviewing, resolved or dismissed")
            guard let found else { throw .invalid(key, "is missing") }
            return found
        }
        self.init(
            state: try state("State"),
            note: fields.has("Note") ? try fields.lines("Note", limit: RequestLimit.reportText) ?? "" : nil,
            expected: try state("ExpectedState"),
            version: try fields.integer("Version", in: 1...Int64(Int32.max)).map { Int($0) })
    }
}
