import ChatCore
import Logging
import Testing

@testable import fcgi_api

/// Requests with cookies of the host application in place of a token.
@Suite struct HostSessionTests {
    private final class Host: SessionCheck, SessionCache, SharedPlaces {
        var asked: [SessionQuestion] = []
        func key(of question: SessionQuestion) -> [UInt8] { [] }
        func session(of question: SessionQuestion) throws(SessionCheckFailure) -> HostSession? {
            asked.append(question)
            guard question.cookies.utf8.firstRange(of: "sid=bob".utf8) != nil else { return nil }
            return HostSession(user: HostUser(bob), askedAt: 1000, freshUntil: 2000)
        }
        func find(_ key: [UInt8]) -> HostSession? { nil }
        func keep(_ session: HostSession, _ key: [UInt8], for time: Duration) {}
        func drop(_ key: [UInt8]) {}
        func take() -> Bool { true }
        func leave() {}
    }

    private let host = Host()

    private func user(
        _ method: String, _ headers: [String: String], _ values: [String: String] = [:]
    ) -> Result<UUID128, Refusal> {
        let settings = Settings.test(
            values.merging(["CORS_ORIGINS": "https://app.example", "PUBLIC_URL": "https://chat.example"]) { one, _ in
                one
            })
        let recognise = RecogniseSession(
            check: host, cache: host, places: host, rates: Allowance(), times: settings.hooks.session.times,
            isRevoked: { _ in false }, wait: { _ in }, log: Logger(label: "test"))
        let authentication = Authentication(
            tokens: PlainTokens(),
            sessions: HostSessions(settings: settings.hooks.session, web: settings.web, recognise: recognise))
        let values = ["REQUEST_METHOD": method, "REQUEST_URI": "/api/v1/rooms", "REMOTE_ADDR": "192.0.2.7"]
        let call = Call(try! request(values.merging(headers) { $1 }), now: 1)
        do throws(Refusal) {
            let user = try authentication.user(call)
            // A second look asks nobody.
            let asked = host.asked.count
            #expect(try authentication.identity(call).user == user && host.asked.count == asked)
            return .success(user)
        } catch { return .failure(error) }
    }

    @Test func aCookieIsEnoughToRead() throws {
        #expect(try user("GET", ["HTTP_COOKIE": "a=b; sid=bob"]).get() == bob)
        #expect(host.asked.last?.cookies == "a=b; sid=bob" && host.asked.last?.address == "192.0.2.7")
        #expect(throws: Refusal.self) { try user("GET", ["HTTP_COOKIE": "sid=eve"]).get() }
    }

    @Test(arguments: [
        ("https://app.example", true), ("https://chat.example", true), ("http://own.example", true), (nil, false),
        ("https://evil.example", false), ("null", false), ("https://app.example.evil.example", false),
    ])
    func aChangeNeedsAPageThatIsAllowed(_ origin: String?, _ isAllowed: Bool) {
        var headers = ["HTTP_COOKIE": "sid=bob", "HTTP_HOST": "own.example"]
        headers["HTTP_ORIGIN"] = origin
        let answer = user("POST", headers)
        #expect((try? answer.get()) == (isAllowed ? bob : nil))
        if !isAllowed {
            #expect(throws: Refusal(.forbidden, "")) {
                do throws(Refusal) { _ = try answer.get() } catch { throw Refusal(error.code, "") }
            }
            #expect(host.asked.isEmpty)
        }
    }

    /// `*` lets any page read answers without cookies: it names no page that may act by one.
    @Test func aStarAllowsNoPage() {
        let headers = ["HTTP_COOKIE": "sid=bob", "HTTP_HOST": "own.example", "HTTP_ORIGIN": "*"]
        #expect((try? user("POST", headers, ["CORS_ORIGINS": "*"]).get()) == nil)
    }

    @Test func aTokenCountsMoreThanCookies() throws {
        let both = ["HTTP_COOKIE": "sid=bob", "HTTP_AUTHORIZATION": "Bearer \(alice)"]
        #expect(try user("POST", both).get() == alice)
        #expect((try? user("GET", ["HTTP_COOKIE": "sid=bob", "HTTP_AUTHORIZATION": "Basic x"]).get()) == nil)
        #expect(host.asked.isEmpty)
    }

    @Test func onlyNamedCookiesAndHeadersReachTheHost() throws {
        let settings = ["SESSION_CHECK_COOKIES": "sid,other", "SESSION_CHECK_HEADERS": "User-Agent,Accept-Language"]
        let headers = [
            "HTTP_COOKIE": "ads=1; chat_session=token; sid=bob; SID=x; sid2=y", "HTTP_USER_AGENT": "Browser",
            "HTTP_ACCEPT_LANGUAGE": "de\r\nX-Evil: 1", "HTTP_X_SECRET": "s",
        ]
        #expect(try user("GET", headers, settings).get() == bob)
        #expect(host.asked.last?.cookies == "sid=bob")
        #expect(host.asked.last?.headers.map { "\($0.name): \($0.value)" } == ["User-Agent: Browser"])
    }

    @Test(arguments: [
        "", "ads=1", "sid=bob\r\nX-Evil: 1", "sid=" + String(repeating: "x", count: 8200), "chat_session=sid=bob",
    ])
    func withoutAUsableCookieNobodyIsAsked(_ cookies: String) {
        let answer = user("GET", ["HTTP_COOKIE": cookies], ["SESSION_CHECK_COOKIES": "sid"])
        #expect((try? answer.get()) == nil && host.asked.isEmpty)
    }

    @Test func addressesOfOneNetworkAreCountedTogether() {
        let one = SessionQuestion.network("2001:db8:1:2::1")
        #expect(
            one == SessionQuestion.network("2001:db8:1:2:ffff::9") && one != SessionQuestion.network("2001:db8:1:3::1"))
        #expect(SessionQuestion.network("::ffff:192.0.2.1") != SessionQuestion.network("::ffff:192.0.2.2"))
        #expect(SessionQuestion.network("192.0.2.1") != SessionQuestion.network("192.0.2.2"))
        #expect(SessionQuestion.network(String(repeating: "x", count: 1000)).count <= 64)
    }
}
