import ChatCore
import Glibc
import TestSupport
import Testing

@testable import ChatAdapters

/// Published signatures.
@Suite struct SignatureTests {
    private static let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    private static let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
    private static let ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private let signing = SignatureV4(
        secretKey: Self.secret, region: "us-east-1", service: "service", stamp: "20150830T123600Z")

    /// "get-vanilla-with-session-token" of AWS's signing test suite (awslabs/aws-c-auth).
    @Test func aSessionTokenInAHeader() {
        let signature = signing.signature(
            "GET", "/", query: [],
            headers: [
                ("x-amz-security-token", Self.token), ("host", "example.amazonaws.com"), ("x-amz-date", signing.stamp),
            ], payload: Self.ofNothing)
        #expect(signature == "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8")
    }

    /// The same case, signed in the query.
    @Test func aSessionTokenInTheQuery() {
        let signature = signing.signature(
            "GET", "/",
            query: [
                ("X-Amz-Security-Token", Self.token), ("X-Amz-SignedHeaders", "host"),
                ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", "AKIDEXAMPLE/\(signing.scope)"),
                ("X-Amz-Date", signing.stamp), ("X-Amz-Expires", "3600"),
            ], headers: [("host", "example.amazonaws.com")], payload: Self.ofNothing)
        #expect(signature == "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c")
    }

    /// The example of "Authenticating Requests: Using Query Parameters" in Amazon S3's reference.
    @Test func aLinkOfAmazonsOwnExample() throws {
        var settings = try s3Settings("https://s3.amazonaws.com")
        settings.accessKey = "AKIAIOSFODNN7EXAMPLE"
        settings.secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
        settings.bucket = "examplebucket"
        settings.pathStyle = false
        func link() -> String {
            S3Links(settings: settings, address: S3Address(settings), clock: { 1_369_353_600_000 })
                .link("GET", "test.txt", seconds: 86_400)
        }
        #expect(
            link() == "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
                + "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                + "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                + "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404")
        settings.sessionToken = "a/b=="
        #expect(link().contains("&X-Amz-Security-Token=a%2Fb%3D%3D&X-Amz-SignedHeaders=host&X-Amz-Signature="))
        settings.region = "eu-west-3"
        #expect(link().contains("20130524%2Feu-west-3%2Fs3%2Faws4_request"))
    }
}

/// Requests to a store, and the handling of its answers.
@Suite struct S3RequestTests {
    private func store(_ server: TestHTTPServer) throws -> S3ObjectStore { S3ObjectStore(try s3Settings(server.url)) }

    @Test func aSessionTokenIsSentAndSigned() throws {
        let server = try TestHTTPServer([TestHTTPServer.answer(200)])
        var settings = try s3Settings(server.url)
        settings.sessionToken = "of the session"
        settings.region = "eu-west-3"
        try S3ObjectStore(settings).delete("files/1")
        let head = try #require(server.heads.first)
        func field(_ name: String) throws -> String { try #require(TestHTTPServer.field(name, of: head)) }
        #expect(try field("x-amz-security-token") == "of the session")
        let signing = SignatureV4(
            secretKey: settings.secretKey, region: settings.region, stamp: try field("x-amz-date"))
        let authorization = try field("authorization")
        let names = try #require(authorization.firstMatch(of: /SignedHeaders=([^,]+)/)?.1).split(separator: ";")
        #expect(Set(names).isSuperset(of: ["host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"]))
        let signature = signing.signature(
            "DELETE", "/chat/files/1", query: [], headers: try names.map { (String($0), try field(String($0))) },
            payload: try field("x-amz-content-sha256"))
        #expect(authorization.contains("Credential=\(settings.accessKey)/\(signing.scope),"))
        #expect(authorization.hasSuffix("Signature=\(signature)"))
    }

    @Test func whatAClientSaysOfItsBytesIsSaidToTheStore() throws {
        let server = try TestHTTPServer([TestHTTPServer.answer(200, "ETag: \"e\"")])
        let file = try TemporaryFile(in: "/tmp")
        try file.append(Array("abc".utf8)[...])
        var part = file.part()
        part.toldMD5 = "kAFQmDzST7DWlj99KOF/cg=="
        #expect(try store(server).storePart(1, of: "a", upload: "u", from: part) == "e")
        let head = try #require(server.heads.first)
        #expect(TestHTTPServer.field("content-md5", of: head) == part.toldMD5)
        #expect(TestHTTPServer.field("authorization", of: head)?.contains("content-md5;") == true)
    }

    @Test(arguments: [500, 503, 429, 408]) func whatMayPassIsTriedAgain(_ status: Int) throws {
        let bad = TestHTTPServer.answer(status)
        let server = try TestHTTPServer([bad, bad, TestHTTPServer.answer(204)])
        try store(server).delete("a")
        #expect(server.heads.count == 3)
    }

    @Test func aStoreThatStaysAwayIsGivenUp() throws {
        let server = try TestHTTPServer([String](repeating: TestHTTPServer.answer(503), count: 9))
        let error = #expect(throws: StoreError.self) { try store(server).delete("a") }
        #expect(error?.isTransient == true)
        #expect(server.heads.count == 4)
    }

    @Test func whatIsRefusedIsNotTriedAgain() throws {
        let server = try TestHTTPServer([TestHTTPServer.answer(403), TestHTTPServer.answer(200)])
        let error = #expect(throws: StoreError.self) { try store(server).delete("a") }
        #expect(error?.isTransient == false)
        #expect(server.heads.count == 1)
    }

    @Test func aRequestHasATimeLimit() throws {
        let server = try TestHTTPServer([])
        var request = HTTPTransfer(method: "GET", url: server.url)
        request.timeout = .milliseconds(100)
        let failure = #expect(throws: HTTPTransfer.Failure.self) { try HTTPClient(authorities: nil).send(request) }
        #expect(failure?.description.contains("Timeout") == true)
    }

    /// In a process of its own, because the environment belongs to all tests.
    @Test func aProxyOfTheEnvironmentDoesNotReachForUsers() async {
        await #expect(processExitsWith: .success) {
            let proxy = try TestHTTPServer([TestHTTPServer.answer(204), TestHTTPServer.answer(204)])
            setenv("http_proxy", proxy.url, 1)
            var request = HTTPTransfer(method: "GET", url: "http://192.0.2.1/")
            request.timeout = .milliseconds(300)
            // TEST-NET is no address that answers: the first answer is the proxy's.
            #expect(try HTTPClient(authorities: nil).send(request).status == 204)
            request.publicOnly = true
            #expect(throws: HTTPTransfer.Failure.self) { try HTTPClient(authorities: nil).send(request) }
            #expect(proxy.heads.count == 1)
        }
    }
}

/// TLS: the identity that a store must prove. `openssl s_server` is the store.
@Suite struct TLSTests {
    private static let name = "store.localhost"
    private let folder: String

    init() throws {
        folder = "/tmp/chat-tls-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
        let status = system(
            """
            cd \(folder) && openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -days 2 \
            -subj /CN=\(Self.name) -addext subjectAltName=DNS:\(Self.name) 2> log
            """)
        try #require(status == 0, "openssl makes no certificate: see \(folder)/log")
    }

    private func failure(asking name: String, trusting authorities: String?) throws -> String? {
        let server = try #require(
            popen(
                "echo $$; cd \(folder); exec openssl s_server -accept 127.0.0.1:0 -cert certificate -key key -www 2> log",
                "r"))
        defer { pclose(server) }
        func next() -> String {
            var line = [CChar](repeating: 0, count: 256)
            guard let text = fgets(&line, Int32(line.count), server) else { return "" }
            return String(cString: text).filter { $0 != "\n" }
        }
        let process = try #require(pid_t(next()))
        // Not TERM: the threads of the tests block it, and their child processes inherit that.
        defer { kill(process, SIGKILL) }
        var said = next()
        while !said.isEmpty, !said.hasPrefix("ACCEPT") { said = next() }
        let port = try #require(said.split(separator: ":").last, "openssl serves nothing: see \(folder)/log")
        let request = HTTPTransfer(method: "GET", url: "https://\(name):\(port)/")
        do throws(HTTPTransfer.Failure) {
            _ = try HTTPClient(authorities: authorities).send(request)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func aCertificateMustBeOfSomebodyTrustedAndOfThatName() throws {
        let trusted = "\(folder)/certificate"
        #expect(try failure(asking: Self.name, trusting: trusted) == nil)
        #expect(try failure(asking: Self.name, trusting: nil)?.contains("certificate") == true)
        #expect(try failure(asking: "other.localhost", trusting: trusted)?.contains("certificate") == true)
    }
}

/// For a store that needs none of the servers of `make test`.
private func s3Settings(_ endpoint: String) throws -> StorageSettings {
    return try Settings(testing: ["S3_ENDPOINT": endpoint, "S3_ACCESS_KEY": "key", "S3_SECRET_KEY": "secret"]).storage
}
