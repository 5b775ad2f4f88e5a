import ChatCore

struct SearchEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on("GET", "/rooms/{id}/search", query: ["q", "limit", "cursor"]) { call throws(Refusal) in
            try search(call, in: try call.uuid("id"))
        }
        router.on("GET", "/search", query: ["q", "limit", "cursor"]) { call throws(Refusal) in try search(call, in: nil)
        }
    }

    /// `q` needs at least two characters, so that it narrows the search.
    private func search(_ call: Call, in room: UUID128?) throws(Refusal) -> Response {
        let query = call.request.query
        guard let text = query["q"], (2...256).contains(text.unicodeScalars.count), let words = SearchWords(text) else {
            throw .invalid("q", "is the text to look for, from 2 to 256 characters")
        }
        let limit = try query.limit()
        var after: SearchCursor?
        if let text = try query.cursor("cursor") {
            after = SearchCursor(text: text)
            guard after != nil else { throw .invalid("cursor", "is not a Next value of a search") }
        }
        try services.limit(.searches, call)
        let found = try services.read(call, in: room) { reader, user throws(StoreError) in
            try reader.search(words, in: room, for: user, after: after, limit: limit + 1)
        }
        guard let found else { throw .notAMember }
        let page = Array(found.prefix(limit))
        return .list(page, next: found.count > limit ? page.last.map { query.next("cursor", $0.place.text) } : nil) {
            $1.write(to: &$0)
        }
    }
}
