import ChatCore

/// Rooms, and threads in them, for which a user wants no pushes, until the time in `Until` or for good. With
/// `Mentions`, messages that mention the user are still pushed. Frames still arrive.
struct SilenceEndpoints {
    let services: EndpointServices

    func add(to router: inout Router) {
        router.on("PUT", "/rooms/{id}/silence") { call throws(Refusal) in
            let room = try call.uuid("id")
            let fields = try call.request.fields(limit: services.maxBody)
            let silence = try silence(fields)
            let user = try member(of: room, call)
            try services.limit(.changes, call)
            try services.stored { () throws(StoreError) in
                try services.accounts.silence(room, for: user, silence)
            }
            return .noContent
        }
        router.on("DELETE", "/rooms/{id}/silence") { call throws(Refusal) in
            let room = try call.uuid("id")
            let user = try member(of: room, call)
            try services.limit(.changes, call)
            try services.stored { () throws(StoreError) in try services.accounts.unsilence(room, for: user) }
            return .noContent
        }
        router.on("PUT", "/messages/{id}/silence") { call throws(Refusal) in
            let id = try call.uuid("id")
            let silence = try silence(try call.request.fields(limit: services.maxBody))
            let user = try services.user(call)
            let found = try services.read(call) { reader, user throws(StoreError) in try reader.message(id, for: user) }
            guard let message = found else { throw .messageNotFound }
            try services.limit(.changes, call)
            try services.stored { () throws(StoreError) in
                try services.accounts.silence(thread: id, in: message.roomID, for: user, silence)
            }
            return .noContent
        }
        router.on("DELETE", "/messages/{id}/silence") { call throws(Refusal) in
            let id = try call.uuid("id")
            let user = try services.user(call)
            try services.limit(.changes, call)
            try services.stored { () throws(StoreError) in try services.accounts.unsilence(thread: id, for: user) }
            return .noContent
        }
    }

    private func member(of room: UUID128, _ call: Call) throws(Refusal) -> UUID128 {
        let view = try services.read(call, in: room) { reader, user throws(StoreError) in
            try reader.room(room, for: user)
        }
        guard view != nil else { throw .notAMember }
        return try services.user(call)
    }

    private func silence(_ fields: RequestFields) throws(Refusal) -> Silence {
        Silence(
            until: try until(fields),
            exceptMentions: try fields.given("Mentions") ? try fields.flag("Mentions") : false)
    }

    private func until(_ fields: RequestFields) throws(Refusal) -> Int64? {
        guard let text = try fields.text("Until") else { return nil }
        guard let time = parseTimestamp(text) else {
            throw .invalid("Until", "is not an RFC 3339 time such as 2030-01-31T12:00:00Z")
        }
        return time
    }
}
