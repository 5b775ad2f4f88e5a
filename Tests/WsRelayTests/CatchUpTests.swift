import ChatAdapters
import ChatCore
import Logging
import TestSupport
import Testing

@testable import ws_relay

@Suite struct CatchUpTests {
    private final class Store: RoomHistory, RevocationStore, RoomLogReader {
        var questions: [[UUID128]] = []
        func memberships(of users: [UUID128]) throws(StoreError) -> [Membership] {
            questions.append(users)
            return users.map { Membership(user: $0, room: id(1), lastSeq: 3) }
        }
        func lastSeqs(of rooms: [UUID128]) throws(StoreError) -> [UUID128: UInt64] { [:] }
        func roomOfMessage(_ message: UUID128) throws(StoreError) -> UUID128? { nil }
        func frames(of room: UUID128, after seq: UInt64, limit: Int) throws(StoreError) -> [RoomFrame] { [] }
        func revoke(_ subject: Revocation.Subject, days: Int) throws(StoreError) {}
        func revocations(since: Int64?) throws(StoreError) -> [Revocation] { [Revocation(.token("x"), at: since ?? 1)] }
        func read(_ questions: [FramesAsked]) -> [FrameRun?] { questions.map { _ in nil } }
    }

    private final class Tickets: TicketStore {
        func issue(for identity: Identity) throws(BusError) -> String { "" }
        func redeem(_ ticket: String) throws(BusError) -> Identity? {
            guard ticket != "down" else { throw BusError("away") }
            return ticket == "good" ? Identity(user: id(5), expiresAt: 1) : nil
        }
    }

    private let store = Store()

    private func answer(_ lookups: [Lookup]) -> [Found] {
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return Answering(history: store, logs: store, revocations: store, tickets: Tickets(), log: log).answer(lookups)
    }

    /// Many simultaneous reconnections cost one query, not one each.
    @Test func membershipsOfManyAreOneQuestion() {
        let found = answer((1...500).map { .memberships(of: id($0), epoch: $0) })
        #expect(store.questions.map(\.count) == [500])
        let epochs = found.compactMap {
            if case .memberships(_, let epoch, let list) = $0, list.count == 1 { epoch } else { nil }
        }
        #expect(epochs == Array(1...500))
    }

    @Test func aTicketIsGoodUnknownOrCannotBeAsked() {
        let found = answer(["good", "bad", "down"].map { .ticket($0, connection: 7) })
        let words = found.map { found in
            switch found {
            case .ticket(.some, 7): "good"
            case .ticket(nil, 7): "unknown"
            case .failed(.ticket("down", 7)): "failed"
            default: "?"
            }
        }
        #expect(words == ["good", "unknown", "failed"])
    }

    /// A relay without Redis here would answer no query about a ticket, for ever.
    @Test func aWrongAddressEndsTheStart() {
        #expect(throws: RedisError.self) {
            try CatchUp(
                redisURL: "nonsense", answers: BoundedInbox<Found>(limit: 1), log: MemoryLog().log,
                makeStores: { preconditionFailure("no thread is to start") })
        }
    }

    @Test func newsOfRevocations() {
        guard case .revocations(let news)? = answer([.revocations(since: 9)]).first else { return #expect(Bool(false)) }
        #expect(news == [Revocation(.token("x"), at: 9)])
    }
}
