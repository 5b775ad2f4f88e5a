import ChatCore
import Logging

struct BlockEndpoints {
    let services: EndpointServices
    let events: any UserEvents

    func add(to router: inout Router) {
        router.on("PUT", "/users/{id}/block") { call throws(Refusal) in
            try change(call) { user, me throws(StoreError) in try services.accounts.block(user, by: me) ? true : nil }
        }
        router.on("DELETE", "/users/{id}/block") { call throws(Refusal) in
            try change(call) { user, me throws(StoreError) in try services.accounts.unblock(user, by: me) }
        }
    }

    /// - Parameter store: returns whether one of the two blocks the other afterwards; nil when the limit is reached.
    private func change(
        _ call: Call, _ store: (_ user: UUID128, _ me: UUID128) throws(StoreError) -> Bool?
    ) throws(Refusal) -> Response {
        let (user, me) = (try call.userID("id"), try services.user(call))
        guard let room = privateRoomID(user, me) else { throw Refusal(.conflict, "you cannot block yourself") }
        try services.limit(.changes, call)
        let areBlocked = try services.stored { () throws(StoreError) in try store(user, me) }
        guard let areBlocked else { throw Refusal(.conflict, "you have reached the limit of blocked users") }
        do throws(BusError) {
            for one in [user, me] { try events.tell(one, .blocked(room: room, areBlocked)) }
        } catch {
            // The block is stored; open sockets may still show the other one typing.
            services.log.warning("relays were not told of a block", metadata: ["error": "\(error)"])
        }
        return .noContent
    }
}
