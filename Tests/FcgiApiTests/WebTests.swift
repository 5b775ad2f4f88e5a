import ChatCore
import TestSupport
import Testing

@testable import fcgi_api

@Suite struct WebTests {
    private func web(_ values: [String: String] = [:]) throws -> WebSettings { try Settings(testing: values).web }

    @Test(
        arguments: [
            (["CHAT_PREFIX": "/api/v1"], [:], "Path=/api/v1", false),
            (["CHAT_PREFIX": "/chat/api/v1", "HTTPS": "on"], [:], "Path=/chat/api/v1", true),
            (["REQUEST_SCHEME": "https"], [:], "Path=/api/v1", true),
            (["HTTPS": "off"], [:], "Path=/api/v1", false),
            (["HTTP_X_FORWARDED_PROTO": "https"], [:], "Path=/api/v1", false),
            (["HTTP_X_FORWARDED_PROTO": "https"], ["TRUST_FORWARDED_PROTO": "yes"], "Path=/api/v1", true),
            ([:], ["PUBLIC_URL": "https://chat.example"], "Path=/api/v1", true),
            (["CHAT_PREFIX": "/a;Domain=x/api/v1"], [:], "Path=/", false),
        ] as [([String: String], [String: String], String, Bool)])
    func theCookieIsTheApisAlone(
        _ values: [String: String], _ settings: [String: String], _ path: String, _ isSecure: Bool
    ) throws {
        let cookie = SessionCookie.header("t", seconds: 9, try request(values), try web(settings)).value
        #expect(cookie.contains("; \(path);") && cookie.contains("; Secure") == isSecure)
        #expect(cookie.contains("HttpOnly; SameSite=Strict"))
    }

    @Test(
        arguments: [
            ("PUBLIC_URL", "chat.example"), ("PUBLIC_URL", "//chat.example"), ("PUBLIC_URL", "https://a/\"b"),
            ("PUBLIC_URL", "https://"), ("CORS_ORIGINS", "*,https://a"), ("CORS_ORIGINS", "https://a/"),
            ("CORS_ORIGINS", "a.example"), ("CORS_ORIGINS", "https://A.example"), ("METRICS_TOKEN", "short"),
            ("CORS_ORIGINS", "https://a\" x"), ("TRUST_FORWARDED_PROTO", "maybe"),
        ])
    func badAddressesAreNamed(_ name: String, _ value: String) {
        let error = #expect(throws: SettingsError.self) { try Settings(testing: [name: value]) }
        #expect(error?.problems.count == 1 && error?.problems[0].hasPrefix(name) == true)
    }

    @Test func otherOriginsAreAnsweredAsTheyMay() throws {
        let page = [
            "HTTP_ORIGIN": "https://app.example", "REQUEST_METHOD": "OPTIONS",
            "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PATCH",
            "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "authorization,tus-resumable",
        ]
        let some = AllowedOrigins(["https://app.example", "http://127.0.0.1:8590"])
        let told = Dictionary(uniqueKeysWithValues: some.headers(try request(page)).map { ($0.name, $0.value) })
        #expect(told["Access-Control-Allow-Origin"] == "https://app.example" && told["Vary"] == "Origin")
        #expect(told["Access-Control-Allow-Credentials"] == "true")
        #expect(told["Access-Control-Expose-Headers"]?.contains("Upload-Offset") == true)
        let answer = try #require(some.preflight(try request(page)))
        #expect(answer.status == 204)
        #expect(answer.headers.contains { $0 == ("Access-Control-Allow-Headers", "authorization,tus-resumable") })
        #expect(answer.headers.contains { $0 == ("Access-Control-Max-Age", "7200") })
        for origin in ["https://app.example.evil", "http://app.example", "null", "https://APP.example"] {
            let other = try request(page.merging(["HTTP_ORIGIN": origin]) { $1 })
            #expect(some.headers(other).map(\.name) == ["Vary"])
            #expect(some.preflight(other)?.headers.isEmpty == true)
        }
        let any = AllowedOrigins(["*"]).headers(try request(page))
        #expect(any[0] == ("Access-Control-Allow-Origin", "*") && !any.contains { $0.value == "true" })
        #expect(AllowedOrigins().headers(try request(page)).isEmpty)
        #expect(AllowedOrigins().preflight(try request(page)) == nil)
    }

    @Test(
        arguments: [
            (["REMOTE_ADDR": "127.0.0.1"], true), (["REMOTE_ADDR": "::1"], true), ([:], false),
            (["REMOTE_ADDR": ""], false), (["REMOTE_ADDR": "127.evil"], false), (["REMOTE_ADDR": "10.0.0.1"], false),
            (["REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1"], false),
            (["REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=10.0.0.1"], false),
            (["REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 x"], false),
        ] as [([String: String], Bool)])
    func metricsAreForThisMachine(_ values: [String: String], _ isLocal: Bool) throws {
        #expect(MetricsEndpoint.isLocal(try request(values)) == isLocal)
    }

    @Test func aBodyWithoutALengthIsReadWhenItIsSmall() throws {
        let small = try request(["REQUEST_METHOD": "POST"], body: Array("{}".utf8)).withUnmeasuredBody()
        #expect(small.contentLength == 2)
        #expect(try small.body(limit: 100) == Array("{}".utf8))
        #expect(try request(["REQUEST_METHOD": "POST"]).withUnmeasuredBody().contentLength == 0)
        #expect(throws: Refusal.lengthRequired) {
            _ = try request([:], body: [UInt8](repeating: 0, count: 65_537)).withUnmeasuredBody()
        }
    }

    @Test(arguments: ["//api/v1/rooms", "/api/v1//rooms", "/api/v1/rooms//x", "/api//v1/rooms", "/api/v1//"])
    func twoSlashesLeadNowhere(_ address: String) throws {
        var router = Router { _ in }
        for path in ["/rooms", "/rooms/{id}", "/"] { router.on("GET", path, open: true) { _ in .noContent } }
        let path = try request(["REQUEST_URI": address]).path
        #expect(throws: Refusal.self) { _ = try router.find("GET", path) }
        #expect(throws: Never.self) { _ = try router.find("GET", try request(["REQUEST_URI": "/api/v1/rooms/"]).path) }
    }

    @Test func peopleReadMegabytes() {
        #expect(
            Response.withLargeUnits("it has 31457280 bytes, at most 20971520 bytes") == "it has 30 MB, at most 20 MB")
        #expect(Response.withLargeUnits("at most 512 bytes") == "at most 512 bytes")
    }

    @Test func aThumbnailIsUnderThePrefixThatWasAskedAt() {
        var response = Response.text(
            #"{"a":{"ThumbnailURL":"/api/v1/files/1/thumbnail"},"Content":"\"ThumbnailURL\":\"/api/v1/\""}"#)
        response.putPrefix("/chat/api/v1")
        let text = String(decoding: response.body, as: UTF8.self)
        #expect(
            text
                == #"{"a":{"ThumbnailURL":"/chat/api/v1/files/1/thumbnail"},"Content":"\"ThumbnailURL\":\"/api/v1/\""}"#
        )
    }

    @Test func aPageRunsItsOwnScriptsAlone() {
        let policy = Protection.policy(page: Array("<script>a</script><p><script type=x>b</script>".utf8))
        #expect(policy.contains("'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"))
        #expect(policy.ranges(of: "sha256-").count == 2)
    }
}
