import ChatAdapters
import ChatCore
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct KeyStoreTests {
    private func hash(_ number: Int) -> [UInt8] { [UInt8](repeating: UInt8(number), count: 32) }

    @Test func aNameIsOneKeyAtATimeAndARevokedKeyIsNone() throws {
        let store = PostgresKeys(try TestDatabase().connection())
        #expect(try store.key(hash: hash(1)) == nil)
        #expect(try store.add(ServerKey(name: "shop", scope: .moderate), hash: hash(1)))
        let found = try store.key(hash: hash(1))
        #expect(found?.name == "shop" && found?.scope == .moderate && found?.revokedAt == nil)
        #expect(try !store.add(ServerKey(name: "shop", scope: .admin), hash: hash(2)))
        #expect(try store.key(hash: hash(2)) == nil)
        #expect(try store.revoke("shop"))
        #expect(try !store.revoke("shop"))
        #expect(try store.key(hash: hash(1)) == nil)
        #expect(try store.add(ServerKey(name: "shop", scope: .read), hash: hash(2)))
        #expect(try store.all().map(\.scope) == [.moderate, .read])
    }

    @Test func keysInUseAreBounded() throws {
        let store = PostgresKeys(try TestDatabase().connection())
        for number in 0..<ServerKey.limit {
            #expect(try store.add(ServerKey(name: "key-\(number)", scope: .read), hash: hash(number)))
        }
        #expect(try !store.add(ServerKey(name: "more", scope: .read), hash: hash(200)))
        #expect(try store.revoke("key-7"))
        #expect(try store.add(ServerKey(name: "more", scope: .read), hash: hash(200)))
    }

    @Test func theAuditLogForgetsWhatIsOld() throws {
        let connection = try TestDatabase().connection()
        let store = PostgresKeys(connection)
        func entry(_ path: String) -> AuditEntry {
            AuditEntry(key: "shop", operation: "POST /rooms", path: path, user: nil, status: 201, requestID: "r")
        }
        for number in 0..<30 { try store.record(entry("/\(number)"), keepingFor: .days(10)) }
        _ = try connection.query("UPDATE audit SET at = now() - interval '11 days' WHERE path <> '/29'")
        #expect(try store.audit(before: nil, limit: 50).count == 30)
        try store.record(entry("/new"), keepingFor: .days(12))
        #expect(try store.audit(before: nil, limit: 50).count == 31)
        // Each new entry takes more old ones with it than there are new ones.
        try store.record(entry("/newer"), keepingFor: .days(10))
        try store.record(entry("/newest"), keepingFor: .days(10))
        let left = try store.audit(before: nil, limit: 50)
        #expect(left.map(\.path) == ["/newest", "/newer", "/new", "/29"])
        #expect(try store.audit(before: left[1].id, limit: 1).map(\.path) == ["/new"])
    }
}
