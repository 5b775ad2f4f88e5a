import ChatCore
import Logging
import TestSupport
import Testing

/// Sessions of the host application, with a host, a cache and a clock of the test.
@Suite struct RecogniseSessionTests {
    private final class Host: SessionCheck, SessionCache, SharedPlaces, RateLimiter {
        var now: Int64 = 1_000_000
        var users: [String: String] = ["good": "4711"]
        var isSilent = false
        var asked: [String] = []
        var kept: [[UInt8]: (session: HostSession, until: Int64)] = [:]
        var free = 1
        var failures = 0
        var mostFailures = 3
        var questions: [UUID128: Int] = [:]

        func key(of question: SessionQuestion) -> [UInt8] { Array(question.cookies.utf8) }
        func session(of question: SessionQuestion) throws(SessionCheckFailure) -> HostSession? {
            asked.append(question.cookies)
            if isSilent || question.cookies == "locked" { throw SessionCheckFailure("Timeout was reached") }
            if question.cookies == "too long" { throw SessionCheckFailure("it answered 400", concernsQuestion: true) }
            guard let user = users[question.cookies] else { return nil }
            return HostSession(user: try! HostUser(user), askedAt: now, freshUntil: now + 60_000)
        }
        func find(_ key: [UInt8]) -> HostSession? { kept[key].flatMap { $0.until > now ? $0.session : nil } }
        func keep(_ session: HostSession, _ key: [UInt8], for time: Duration) {
            kept[key] = (session, now + time.milliseconds)
        }
        func drop(_ key: [UInt8]) { kept[key] = nil }
        func take() -> Bool {
            guard free > 0 else { return false }
            free -= 1
            return true
        }
        func leave() { free += 1 }
        func take(_ kind: RateKind, _ user: UUID128) -> Int? {
            questions[user, default: 0] += 1
            return questions[user]! <= mostFailures ? nil : 1500
        }
        func add(_ count: Int, _ kind: RateKind, _ user: UUID128) { failures += kind == .sessions ? count : 0 }
        func wait(_ kind: RateKind, _ user: UUID128) -> Int? { failures < mostFailures ? nil : 1500 }
    }

    private let host = Host()
    private let memory = MemoryLog()

    private func sessions(
        _ values: [String: String] = [:], revokedBefore: Int64 = 0, wait: @escaping (Int) -> Void = { _ in }
    ) -> RecogniseSession {
        let settings = Settings.test(values).hooks.session
        nonisolated(unsafe) let host = host
        return RecogniseSession(
            check: host, cache: host, places: host, rates: host, times: settings.times,
            isRevoked: { $0.issuedAt! < revokedBefore }, clock: { host.now }, wait: wait, log: memory.log)
    }

    private func question(_ cookies: String, from client: UInt8 = 1) -> SessionQuestion {
        SessionQuestion(
            cookies: cookies, headers: [], address: "192.0.2.\(client)", network: [192, 0, 2, client])
    }

    private func refusal(_ cookies: String, _ sessions: RecogniseSession, from client: UInt8 = 1) -> Refusal? {
        do throws(Refusal) {
            _ = try sessions.identity(of: question(cookies, from: client))
            return nil
        } catch { return error }
    }

    @Test func theHostIsAskedOnceInTheTimeOfItsAnswer() throws {
        let sessions = sessions()
        let identity = try sessions.identity(of: question("good"))
        #expect(identity.user == (try HostUser("4711").id) && identity.externalID == "4711")
        #expect(identity.issuedAt == host.now && identity.expiresAt == host.now / 1000 + 3600)
        host.now += 59_999
        #expect(try sessions.identity(of: question("good")) == identity)
        #expect(host.asked == ["good"])
        host.now += 1
        #expect(try sessions.identity(of: question("good")).issuedAt == host.now)
        #expect(host.asked.count == 2 && host.free == 1)
    }

    @Test func aLogoutTakesEffectWithinThatTime() throws {
        let sessions = sessions(["SESSION_CHECK_STALE_SECONDS": "3600"])
        _ = try sessions.identity(of: question("good"))
        host.users = [:]
        host.now += 60_000
        #expect(refusal("good", sessions)?.code == .unauthorized)
        // Nor does the old answer count when the host goes silent afterwards.
        host.isSilent = true
        #expect(refusal("good", sessions)?.code == .unavailable)
    }

    @Test func aRevocationTakesEffectAtOnce() throws {
        let sessions = sessions()
        _ = try sessions.identity(of: question("good"))
        host.now += 1000
        let later = self.sessions(revokedBefore: host.now)
        #expect(try later.identity(of: question("good")).issuedAt == host.now)
        #expect(host.asked.count == 2)
    }

    @Test func inventedCookiesAreCountedAndThenNotAskedAbout() throws {
        let sessions = sessions()
        for number in 0..<3 { #expect(refusal("bad \(number)", sessions)?.code == .unauthorized) }
        let refused = refusal("bad 3", sessions)
        #expect(refused?.code == .rateLimited && refused?.retryAfterMilliseconds == 1500)
        #expect(host.asked.count == 3 && host.free == 1)
        // A known session of the same network goes on.
        host.failures = 0
        _ = try sessions.identity(of: question("good"))
        host.failures = 3
        _ = try sessions.identity(of: question("good"))
    }

    @Test func aSilentHostLetsNobodyInAndIsLeftAloneForASecond() {
        let sessions = sessions()
        host.isSilent = true
        for _ in 0..<5 {
            #expect(refusal("good", sessions) == .unavailable("the host application's check of sessions"))
        }
        #expect(host.asked.count == 1 && host.free == 1)
        host.now += 1000
        host.isSilent = false
        #expect(refusal("good", sessions) == nil)
        #expect(memory.lines.count == 1)
    }

    @Test func aClientWhoseSessionIsLockedAtTheHostStopsNobodyElse() {
        let sessions = sessions()
        for _ in 0..<3 { #expect(refusal("locked", sessions)?.code == .unavailable) }
        #expect(refusal("good", sessions, from: 2) == nil)
        #expect(host.asked == ["locked", "good"] && host.failures == 1)
    }

    @Test func aHostThatIsSilentToTwoNetworksIsLeftAlone() {
        let sessions = sessions()
        host.isSilent = true
        for client in 1...5 { #expect(refusal("good", sessions, from: UInt8(client))?.code == .unavailable) }
        #expect(host.asked.count == 2)
        for client in 1...5 {
            host.now += 1000
            #expect(refusal("good", sessions, from: UInt8(client))?.code == .unavailable)
        }
        // One question a second, and nobody is blamed for the host's outage.
        #expect(host.asked.count == 7 && host.failures == 1)
        host.isSilent = false
        host.now += 1000
        #expect(refusal("good", sessions) == nil)
    }

    @Test func cookiesThatTheHostCannotReadCountLikeInventedOnes() {
        let sessions = sessions()
        for _ in 0..<3 {
            #expect(refusal("too long", sessions)?.code == .unavailable)
            #expect(refusal("good", sessions, from: 2) == nil)
        }
        #expect(refusal("too long", sessions)?.code == .rateLimited)
        #expect(memory.lines.count == 1)
    }

    @Test func aUserWithEverNewCookiesIsCounted() {
        let sessions = sessions()
        for number in 0..<6 {
            host.users["good; ad=\(number)"] = "4711"
            #expect(refusal("good; ad=\(number)", sessions) == nil)
        }
        host.users["good; ad=6"] = "4711"
        #expect(refusal("good; ad=6", sessions)?.code == .rateLimited && host.asked.count == 6)
        // A cached answer serves on.
        #expect(refusal("good; ad=5", sessions) == nil)
    }

    @Test func anOldAnswerCountsWhileTheHostIsSilentWhereTheSettingsSaySo() throws {
        let sessions = sessions(["SESSION_CHECK_STALE_SECONDS": "300"])
        let first = try sessions.identity(of: question("good"))
        host.isSilent = true
        host.now += 359_999
        #expect(try sessions.identity(of: question("good")) == first)
        host.now += 1001
        #expect(refusal("good", sessions)?.code == .unavailable)
    }

    @Test func onlySoManyAskAtTheSameTime() throws {
        host.free = 0
        var waits = 0
        #expect(refusal("good", sessions { waits += $0 })?.code == .busy)
        #expect(waits == 200 && host.asked.isEmpty && host.free == 0)
        // The answer for another request of the same page serves this one too.
        let host = host
        let known = HostSession(user: try HostUser("4711"), askedAt: host.now, freshUntil: host.now + 1000)
        let served = sessions { _ in host.keep(known, Array("good".utf8), for: .seconds(1)) }
        #expect(try served.identity(of: question("good")).externalID == "4711")
        #expect(host.asked.isEmpty && host.free == 0)
    }

    // MARK: Settings

    @Test(arguments: [
        ("SESSION_CHECK_URL", "ftp://h/"), ("SESSION_CHECK_COOKIES", "a b"), ("SESSION_CHECK_HEADERS", "Cookie"),
        ("SESSION_CHECK_HEADERS", "proxy"), ("SESSION_CHECK_HEADERS", "Content-Length"),
        ("SESSION_CHECK_HEADERS", "X-Chat-Signature"), ("SESSION_CHECK_HEADERS", "a:b"),
        ("SESSION_CHECK_SECONDS", "3601"), ("SESSION_SOCKET_SECONDS", "0"), ("SESSION_CHECK_PARALLEL", "0"),
        ("MESSAGE_CHECK_ACTS", "message, leave"),
    ])
    func aWrongSettingIsNamed(_ name: String, _ value: String) {
        let error = #expect(throws: SettingsError.self) {
            try Settings(testing: [name: value, "WEBHOOK_SECRET": String(repeating: "s", count: 32)])
        }
        #expect(error?.problems.count == 1 && error?.description.hasPrefix(name) == true)
    }

    @Test func anAddressNeedsASecret() {
        #expect(throws: SettingsError.self) { try Settings(testing: ["SESSION_CHECK_URL": "https://h/session"]) }
    }
}
