import ChatCore

/// The asking user's incomplete files. Every pool serves them, because this is a read.
struct PendingFileEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on("GET", "/uploads", query: ["limit", "cursor"], list)
    }

    /// The uploads that this user began and has not completed.
    private func list(_ call: Call) throws(Refusal) -> Response {
        let limit = try call.request.query.limit()
        var before: UUID128?
        if let text = try call.request.query.cursor("cursor") {
            before = UUID128(text)
            guard before != nil else { throw .invalid("cursor", "is not a Next value of a list") }
        }
        let found = try services.read(call) { reader, user throws(StoreError) in
            try reader.uploads(of: user, before: before, limit: limit + 1)
        }
        let page = found.prefix(limit)
        return .list(
            Array(page), next: found.count > limit ? call.request.query.next("cursor", "\(page.last!.id)") : nil
        ) { $1.write(to: &$0) }
    }
}
