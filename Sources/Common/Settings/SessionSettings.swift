/// How users are recognised by a session of the host application, without a token.
public struct SessionSettings: Sendable {
    /// The URL that is asked whose session it is, of HTTP or a ``FastCGIAddress``; empty: only tokens count.
    public var url: String
    /// The names of the cookies that are passed on; empty: all.
    public var cookies: [String]
    /// The names of other headers that are passed on.
    public var headers: [String]
    /// For one question.
    public var timeout: Duration
    public var times: SessionTimes
    /// Questions of one pool's workers at the same time.
    public var parallel: Int

    /// Headers that describe the question itself, or by which a script could be tricked (`Proxy` becomes HTTP_PROXY).
    private static let forbidden = [
        "cookie", "host", "connection", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive", "expect",
        "proxy",
        "proxy-authorization",
    ]

    init(_ values: inout SettingsReader) {
        url = values.text("SESSION_CHECK_URL", default: "")
        values.expectHook("SESSION_CHECK_URL", url)
        cookies = values.list("SESSION_CHECK_COOKIES").filter { !$0.isEmpty }
        for name in cookies where !Self.isName(name) {
            values.problem("SESSION_CHECK_COOKIES: \(name) is not a cookie's name")
        }
        headers = values.list("SESSION_CHECK_HEADERS").filter { !$0.isEmpty }
        for name in headers where !Self.mayPass(asciiLowercased(name)) {
            values.problem("SESSION_CHECK_HEADERS: \(name) is not a header that may be passed on")
        }
        timeout = values.milliseconds("SESSION_CHECK_TIMEOUT_MS", default: 1000, in: 10...10_000)
        times = SessionTimes(
            fresh: values.seconds("SESSION_CHECK_SECONDS", default: 60, in: 0...3600),
            stale: values.seconds("SESSION_CHECK_STALE_SECONDS", default: 0, in: 0...86_400),
            socket: values.seconds("SESSION_SOCKET_SECONDS", default: 3600, in: 60...86_400))
        parallel = values.number("SESSION_CHECK_PARALLEL", default: 4, in: 1...64)
    }

    private static func mayPass(_ name: String) -> Bool {
        isName(name) && !forbidden.contains { areSameBytes($0, name) }
            && !["content-", "x-chat-"].contains { name.utf8.starts(with: $0.utf8) }
    }

    /// A token of RFC 9110.
    private static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { isHTTPTokenByte($0) }
    }
}
