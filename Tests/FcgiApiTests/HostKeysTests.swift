import ChatCore
import Logging
import TestSupport
import Testing

@testable import fcgi_api

/// Keys of the host application: requests in memory, a store in memory, and a clock of the test.
@Suite struct HostKeysTests {
    private final class Keys: KeyStore {
        var keys: [[UInt8]: ServerKey] = [:]
        var lookups = 0
        var entries: [AuditEntry] = []
        var failure: StoreError?

        func key(hash: [UInt8]) throws(StoreError) -> ServerKey? {
            lookups += 1
            if let failure { throw failure }
            return keys[hash]
        }
        func record(_ entry: AuditEntry, keepingFor time: Duration) throws(StoreError) {
            if let failure { throw failure }
            entries.append(entry)
        }
        func audit(before: Int64?, limit: Int) throws(StoreError) -> [AuditEntry] { [] }
    }

    /// Unix milliseconds.
    private final class Time: @unchecked Sendable { var now: Int64 = 1_000_000 }

    private let store = Keys()
    private let time = Time()
    private let memory = MemoryLog()
    private let setting = "the-operators-own"

    private func hostKeys(setting: String = "", _ values: [String: String] = [:]) -> HostKeys {
        let settings = Settings.test(values)
        return HostKeys(
            store: store, setting: setting, settings.audit, clock: { [time] in time.now }, log: memory.log)
    }

    private func key(_ digit: Character) -> String { "chk_" + String(repeating: digit, count: 64) }

    private func add(_ scope: KeyScope, _ digit: Character = "a") -> String {
        store.keys[HostKeys.hash(key(digit))] = ServerKey(name: "backend", scope: scope)
        return key(digit)
    }

    private func call(
        _ method: String, _ route: String, key: String?, user: String? = nil, uri: String? = nil
    ) -> Call {
        var values = ["REQUEST_METHOD": method, "REQUEST_URI": uri ?? route, "HTTP_X_REQUEST_ID": "r1"]
        if let key { values["HTTP_AUTHORIZATION"] = "Bearer \(key)" }
        if let user { values["HTTP_X_CHAT_USER"] = user }
        let call = Call(try! request(values), now: 1)
        call.operation = Operation(method, route)
        return call
    }

    private func refusal(_ call: Call, by keys: HostKeys) -> Refusal? {
        do throws(Refusal) {
            try keys.admit(call)
            return nil
        } catch { return error }
    }

    // MARK: Admission

    @Test func aKeyActsForTheUserWhomTheRequestNames() throws {
        let call = call("POST", "/rooms", key: add(.write), user: "ann%40example.org")
        try hostKeys().admit(call)
        let user = try RequestFields.user("ann@example.org", "")
        #expect(call.isHost && call.user == user.id && call.onBehalf == user.id)
        #expect(call.names[user.id] == "ann@example.org")
    }

    @Test func aTokenIsNotTheirBusiness() throws {
        for key in [nil, "eyJ.a.b", "chk_short"] {
            let call = call("GET", "/rooms", key: key)
            try hostKeys(setting: setting).admit(call)
            #expect(!call.isHost && call.user == nil && call.key == nil)
        }
        #expect(store.lookups == 0)
    }

    @Test func openEndpointsLookAtNoKey() throws {
        let call = call("GET", "/healthz", key: key("a"))
        try hostKeys().admit(call)
        #expect(!call.isHost && store.lookups == 0)
    }

    /// A host that forgot its key must not be taken for a user.
    @Test func aUserIsNotNamedWithoutAKey() {
        #expect(refusal(call("GET", "/rooms", key: nil, user: "ann"), by: hostKeys())?.code == .unauthorized)
    }

    @Test func anUnknownKeyIsRefusedAndADatabaseThatIsAwayIsNoRefusalOfIt() {
        #expect(refusal(call("GET", "/rooms", key: key("b"), user: "ann"), by: hostKeys())?.code == .unauthorized)
        store.failure = StoreError("away", isTransient: true)
        #expect(refusal(call("GET", "/rooms", key: key("b"), user: "ann"), by: hostKeys())?.code == .unavailable)
    }

    @Test(
        arguments: [
            ("GET", "/rooms", KeyScope.read), ("POST", "/rooms", .write), ("PUT", "/some/new/{thing}", .write),
            ("GET", "/admin/rooms/{id}/export", .read), ("POST", "/admin/rooms", .write),
            ("DELETE", "/admin/rooms/{id}", .moderate), ("DELETE", "/admin/users/{id}", .admin),
            ("GET", "/admin/audit", .admin), ("POST", "/admin/something/new", .admin),
        ] as [(String, String, KeyScope)])
    func eachOperationNeedsItsScopeOrMore(method: String, route: String, needed: KeyScope) {
        for (scope, digit) in zip(KeyScope.allCases, "abcd") {
            let user = route.hasPrefix("/admin") ? nil : "ann"
            let call = call(method, route, key: add(scope, digit), user: user)
            let refusal = refusal(call, by: hostKeys())
            #expect(refusal?.code == (scope < needed ? .forbidden : nil), "\(scope)")
        }
    }

    @Test func usersEndpointsNeedAUserAndTheHostsOwnTakeNone() {
        let (write, admin) = (add(.write, "a"), add(.admin, "b"))
        #expect(refusal(call("POST", "/rooms", key: write), by: hostKeys())?.field == HostKeys.header)
        #expect(
            refusal(call("GET", "/admin/audit", key: admin, user: "ann"), by: hostKeys())?.field == HostKeys.header)
        // The host says here what a user is: it may act for nobody.
        let call = call("PUT", "/users/{id}", key: write)
        #expect(refusal(call, by: hostKeys()) == nil)
        #expect(call.user == .zero && call.onBehalf == nil)
    }

    @Test(arguments: ["ann bob", "änn", "100%", "%ff", ""])
    func aUserInAWrongFormIsRefused(text: String) {
        let refusal = refusal(call("POST", "/rooms", key: add(.write), user: text), by: hostKeys())
        #expect(refusal?.field == HostKeys.header && refusal?.code == .invalid)
    }

    // MARK: What is remembered

    @Test func aKeyIsLookedUpAgainAfterHalfASecond() {
        let (keys, text) = (hostKeys(), add(.read))
        for _ in 0..<3 { #expect(refusal(call("GET", "/rooms", key: text, user: "ann"), by: keys) == nil) }
        #expect(store.lookups == 1)
        // It is revoked.
        store.keys = [:]
        time.now += 499
        #expect(refusal(call("GET", "/rooms", key: text, user: "ann"), by: keys) == nil)
        time.now += 1
        #expect(refusal(call("GET", "/rooms", key: text, user: "ann"), by: keys)?.code == .unauthorized)
        // A clock that is set back makes nothing good for longer.
        _ = add(.read)
        #expect(refusal(call("GET", "/rooms", key: text, user: "ann"), by: keys) == nil)
        store.keys = [:]
        time.now -= 10_000
        #expect(refusal(call("GET", "/rooms", key: text, user: "ann"), by: keys)?.code == .unauthorized)
    }

    @Test func theSettingsKeyIsOneOfAllRightsAndNeedsNoDatabase() throws {
        store.failure = StoreError("away", isTransient: true)
        let keys = hostKeys(setting: setting)
        #expect(keys.hasSetting && !hostKeys().hasSetting)
        let call = call("DELETE", "/admin/users/{id}", key: setting)
        try keys.admit(call)
        #expect(call.key?.name == HostKeys.settingName && call.key?.scope == .admin)
        #expect(store.lookups == 0)
    }

    // MARK: The audit log

    @Test func changesAndTheHostsOwnReadsAreKept() throws {
        let (keys, text) = (hostKeys(), add(.admin))
        for (method, route) in [("POST", "/rooms"), ("GET", "/admin/audit"), ("GET", "/rooms")] {
            let call = call(method, route, key: text, user: route.hasPrefix("/admin") ? nil : "ann")
            try keys.admit(call)
            keys.record(call, status: 200)
        }
        #expect(store.entries.map(\.operation) == ["POST /rooms", "GET /admin/audit"])
        #expect(store.entries.map { $0.user == nil } == [false, true])
        #expect(store.entries.allSatisfy { $0.key == "backend" && $0.requestID == "r1" })
        let all = hostKeys(["AUDIT_READS": "yes"])
        let call = call("GET", "/rooms", key: text, user: "ann")
        try all.admit(call)
        all.record(call, status: 200)
        #expect(store.entries.count == 3)
    }

    @Test func aRefusedKeyIsInTheAuditLogWithItsUser() throws {
        let (keys, call) = (hostKeys(), call("POST", "/rooms", key: add(.read), user: "ann"))
        #expect(refusal(call, by: keys)?.code == .forbidden)
        keys.record(call, status: 403)
        #expect(store.entries.map(\.status) == [403])
        let ann = try RequestFields.user("ann", "")
        #expect(store.entries.first?.user == ann.id)
    }

    @Test func noSecretOfAPathIsKeptAndPathsAreBounded() throws {
        let (keys, text) = (hostKeys(), add(.write))
        let long = "/rooms/" + String(repeating: "x", count: 900)
        for (route, uri) in [("/invitations/{token}", "/invitations/secret"), ("/rooms/{id}", long)] {
            let call = call("POST", route, key: text, user: "ann", uri: uri)
            try keys.admit(call)
            keys.record(call, status: 200)
        }
        #expect(store.entries.map(\.path) == ["", String(long.prefix(500))])
    }

    @Test func anAuditLogThatCannotBeWrittenIsInTheProgramsLog() throws {
        let (keys, call) = (hostKeys(), call("POST", "/rooms", key: add(.write), user: "ann"))
        try keys.admit(call)
        store.failure = StoreError("away", isTransient: true)
        keys.record(call, status: 200)
        #expect(memory.lines.count == 1 && memory.lines[0].contains("an entry of the audit log was not stored"))
        #expect(!memory.lines[0].contains("chk_"))
    }
}

@Suite struct UserDirectoryTests {
    private final class Users: UserStore, UserNews {
        var learnt: [UserClaims] = []
        var told: [UUID128] = []
        var failure: StoreError?

        func learn(_ claims: [UserClaims]) throws(StoreError) -> [UUID128] {
            if let failure { throw failure }
            learnt += claims
            return claims.map(\.user)
        }
        func tell(_ users: [UUID128]) { told += users }
        func users(_ ids: [UUID128], for user: UUID128?) throws(StoreError) -> [UserView] { [] }
        func search(
            _ words: NameWords, _ scope: UserSearch, for user: UUID128?, limit: Int
        ) throws(StoreError) -> [UserView] { [] }
        func change(_ user: HostUser, _ patch: UserPatch) throws(StoreError) -> (UserView, isNews: Bool)? { nil }
    }

    private let users = Users()
    private let memory = MemoryLog()
    private let directory: UserDirectory

    init() { directory = UserDirectory(store: users, news: users, log: memory.log) }

    private func token(_ user: UUID128 = bob, name: String? = nil, id: String? = nil, issuedAt: Int64) -> Identity {
        Identity(user: user, expiresAt: .max, issuedAt: issuedAt, name: name, externalID: id)
    }

    @Test func aTokenIsShownToTheStoreOnce() {
        for now in 1...3 as ClosedRange<Int64> { directory.learn(token(name: "Bob", issuedAt: 5), at: now) }
        #expect(users.learnt.map(\.name) == ["Bob"] && users.told == [bob])
    }

    /// The user may have had another one between.
    @Test func aNameThatComesBackIsNews() {
        for (name, at) in [("Bob", 5), ("Rob", 6), ("Bob", 7)] as [(String, Int64)] {
            directory.learn(token(name: name, issuedAt: at), at: at)
        }
        #expect(users.learnt.map(\.name) == ["Bob", "Rob", "Bob"])
    }

    @Test func anIDIsNewsOnceWhateverToken() {
        for at in 1...3 as ClosedRange<Int64> { directory.learn(token(id: "bob", issuedAt: at), at: at) }
        #expect(users.learnt.map(\.externalID) == ["bob"])
    }

    @Test func aTokenThatSaysNothingIsNotShown() {
        directory.learn(token(issuedAt: 1), at: 1)
        #expect(users.learnt.isEmpty)
    }

    @Test func aStoreThatIsAwayIsAskedAgainLater() {
        users.failure = StoreError("away", isTransient: true)
        directory.learn(token(name: "Bob", issuedAt: 5), at: 10_000)
        users.failure = nil
        directory.learn(token(name: "Bob", issuedAt: 5), at: 15_000)
        #expect(users.learnt.isEmpty && memory.lines.count == 1)
        directory.learn(token(name: "Bob", issuedAt: 5), at: 15_001)
        #expect(users.learnt.count == 1)
    }

    /// Clocks are set: the pause does not become one of years.
    @Test func aClockThatIsSetBackEndsThePause() {
        users.failure = StoreError("away", isTransient: true)
        directory.learn(token(name: "Bob", issuedAt: 5), at: 10_000)
        users.failure = nil
        directory.learn(token(name: "Bob", issuedAt: 5), at: 9000)
        #expect(users.learnt.count == 1)
    }
}
