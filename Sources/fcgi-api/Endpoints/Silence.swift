import ChatCore

/// Rooms for which a user wants no pushes: `Until` a time, or for good without one. Frames still arrive.
struct SilenceEndpoints {
    let doors: Doors

    func add(to router: inout Router) {
        router.on("PUT", "/rooms/{id}/silence") { call throws(Refusal) in
            let room = try call.uuid("id")
            let fields = try call.request.fields(limit: doors.maxBody)
            let until = try until(fields)
            let user = try member(of: room, call)
            try doors.limit(.changes, call)
            try doors.stored { () throws(StoreError) in
                try doors.accounts.silence(room, for: user, until: until)
            }
            return .noContent
        }
        router.on("DELETE", "/rooms/{id}/silence") { call throws(Refusal) in
            let room = try call.uuid("id")
            let user = try member(of: room, call)
            try doors.limit(.changes, call)
            try doors.stored { () throws(StoreError) in try doors.accounts.unsilence(room, for: user) }
            return .noContent
        }
    }

    private func member(of room: UUID128, _ call: Call) throws(Refusal) -> UUID128 {
        let view = try doors.read(call) { reader, user throws(StoreError) in try reader.room(room, for: user) }
        guard view != nil else { throw .notAMember }
        return try doors.user(call)
    }

    private func until(_ fields: RequestFields) throws(Refusal) -> Int64? {
        guard let text = try fields.text("Until") else { return nil }
        guard let time = parseTimestamp(text) else {
            throw .invalid("Until", "is not an RFC 3339 time such as 2030-01-31T12:00:00Z")
        }
        return time
    }
}
