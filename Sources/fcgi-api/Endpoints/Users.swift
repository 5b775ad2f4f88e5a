import ChatCore

/// Users as the host application describes them.
struct UserEndpoints {
    let services: EndpointServices
    let store: any UserStore
    let news: any UserNews
    /// The users whom a user may find by name.
    let search: UserSearch
    /// Users of one request.
    private static let limit = 100

    func add(to router: inout Router) {
        router.on("GET", "/users", query: ["ids", "q", "limit"]) { call throws(Refusal) in
            call.request.query["q"] == nil ? try list(call) : try find(call)
        }
        router.on("PUT", "/users/{id}") { call throws(Refusal) in try change(call, merges: false) }
        router.on("PATCH", "/users/{id}") { call throws(Refusal) in try change(call, merges: true) }
    }

    /// `ids`: in either form, separated by commas; an id that contains a comma is given as its UUID. Users that the
    /// asking user may not see are left out.
    private func list(_ call: Call) throws(Refusal) -> Response {
        let me = try services.user(call)
        let isWholeHost = call.isHost && call.hosted == nil
        guard let text = call.request.query["ids"] else {
            throw .invalid("ids", "is missing, and so is q, which looks for a name")
        }
        var ids: [UUID128] = []
        for name in pieces(of: text, at: UInt8(ascii: ","), omittingEmpty: false) {
            guard ids.count < Self.limit else { throw .invalid("ids", "has more than \(Self.limit) entries") }
            let id = try RequestFields.user(String(name), "ids").id
            if !ids.contains(id) { ids.append(id) }
        }
        try services.limit(.reads, call)
        let found = try services.stored { () throws(StoreError) in try store.users(ids, for: isWholeHost ? nil : me) }
        return .list(found, next: nil) { $1.write(to: &$0) }
    }

    /// `q`: the beginnings of words of a name.
    private func find(_ call: Call) throws(Refusal) -> Response {
        let query = call.request.query
        let me = try services.user(call)
        let isWholeHost = call.isHost && call.hosted == nil
        guard isWholeHost || search != .off else {
            throw Refusal(.forbidden, "users cannot be searched here: the setting USER_SEARCH is off")
        }
        guard query["ids"] == nil else { throw .invalid("q", "and ids exclude each other") }
        guard let text = query["q"], text.unicodeScalars.count <= RequestLimit.userName, let words = NameWords(text)
        else { throw .invalid("q", "is the beginning of a name, with a letter or a digit, of at most 128 characters") }
        let limit = try query.limit()
        try services.limit(.searches, call)
        let found = try services.stored { () throws(StoreError) in
            try store.search(words, search, for: isWholeHost ? nil : me, limit: limit)
        }
        return .list(found, next: nil) { $1.write(to: &$0) }
    }

    /// `Name`, `Avatar`, `Metadata`: a field that is left out keeps its value; without any field the request only
    /// reads. The user need not be known yet. PUT replaces all of `Metadata`, PATCH merges it.
    private func change(_ call: Call, merges: Bool) throws(Refusal) -> Response {
        guard call.key != nil else {
            throw Refusal(.forbidden, "only the host application may describe users: send a key of the server")
        }
        let user = try RequestFields.user(call.text("id"), "id")
        call.onBehalf = user.id
        let fields = try call.request.fields(limit: services.maxBody)
        let patch = try UserPatch(fields, merges: merges)
        guard patch != UserPatch() || fields.isEmpty else {
            throw .invalid("Name", "or Avatar or Metadata is needed: there is nothing to change")
        }
        let (view, isNews) = try apply(patch, to: user)
        if isNews { news.tell([user.id]) }
        return .data { view.write(to: &$0) }
    }
}

extension UserEndpoints {
    /// Tries of one merge: each failed try means that another merge has succeeded.
    private static let tries = 50

    /// A merge is stored only if the object is still the one from which it was made, so that two merges at once both
    /// count.
    private func apply(_ patch: UserPatch, to user: HostUser) throws(Refusal) -> (UserView, isNews: Bool) {
        for _ in 0..<Self.tries {
            var patch = patch
            if let merged = patch.merged {
                let found = try services.stored { () throws(StoreError) in try store.users([user.id], for: nil) }
                let before = found.first?.metadata ?? "{}"
                patch.metadata = try Metadata.merged(merged, into: Metadata(stored: before))?.text ?? "{}"
                patch.base = before
            }
            let changed = patch
            let result = try services.stored { () throws(StoreError) in try store.change(user, changed) }
            if let result { return result }
        }
        throw .busy("the user's Metadata is changing too often")
    }
}

extension UserPatch {
    init(_ fields: RequestFields, merges: Bool) throws(Refusal) {
        self.init()
        for field in ["Name", "Avatar", "Metadata"] where fields.isNull(field) {
            throw .invalid(field, "is null: leave the field out to keep its value")
        }
        if let text = try fields.line("Name", limit: RequestLimit.userName) {
            guard text.isEmpty || Profile.isName(text) else {
                throw .invalid("Name", "is no name: it shows nothing, or has marks that turn the text after it")
            }
            name = text
        }
        if let text = try fields.line("Avatar", limit: RequestLimit.avatar) {
            guard text.isEmpty || Profile.isAvatar(text) else {
                throw .invalid("Avatar", "is not an http or https URL in ASCII")
            }
            avatar = text
        }
        if merges {
            merged = try fields.metadataPatch()
        } else if fields.has("Metadata") {
            metadata = try fields.metadata()?.text ?? "{}"
        }
    }
}
