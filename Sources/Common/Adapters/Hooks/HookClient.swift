public import ChatCore
import Crypto

/// Signed requests to the host application: `X-Chat-Signature: t=<Unix seconds>,v1=<hex>`, where `v1` is the
/// HMAC-SHA256 of `<t>.<body>` with the secret. The host checks the signature and refuses an old `t`.
///
/// They go over HTTP, or to a script by FastCGI when the URL is a ``FastCGIAddress``.
public final class HookClient {
    private let client: HTTPClient
    private let scripts: FastCGIClient
    private let secret: SymmetricKey
    private let mayBePrivate: Bool
    private let clock: Clock

    /// - Parameters:
    ///   - keepsErrors: failures repeat what a script wrote on its error stream.
    ///   - goesOn: see ``HTTPClient``.
    public init(
        _ settings: HookSettings, clock: @escaping Clock = systemClock, keepsErrors: Bool = true,
        goesOn: (() -> Bool)? = nil
    ) {
        client = HTTPClient(authorities: settings.authorities, goesOn: goesOn)
        scripts = FastCGIClient(keepsErrors: keepsErrors, goesOn: goesOn)
        secret = SymmetricKey(data: Array(settings.secret.utf8))
        mayBePrivate = settings.mayBePrivate
        self.clock = clock
    }

    /// Sends one event. Returns nil after any 2xx, else the reason of the failure.
    public func send(_ hook: PendingHook, to url: String, timeout: Duration) -> String? {
        let headers = [
            ("X-Chat-Event", hook.name), ("X-Chat-Event-ID", hook.key.text), ("X-Chat-Attempt", "\(hook.attempts)"),
        ]
        switch post(hook.body, to: url, headers, timeout) {
        case .success(let answer):
            return (200..<300).contains(answer.status) ? nil : answer.summary
        case .failure(let failure): return failure.description
        }
    }

    func post(
        _ body: [UInt8], to url: String, _ headers: [(name: String, value: String)], _ timeout: Duration
    ) -> Result<HTTPTransfer.Answer, HTTPTransfer.Failure> {
        let headers = [("X-Chat-Signature", signature(of: body))] + headers
        do throws(HTTPTransfer.Failure) {
            guard FastCGIAddress.isMeant(url) else { return .success(try overHTTP(body, url, headers, timeout)) }
            return .success(try scripts.post(body, to: try Self.address(url), headers: headers, timeout: timeout))
        } catch { return .failure(error) }
    }

    private static func address(_ url: String) throws(HTTPTransfer.Failure) -> FastCGIAddress {
        do throws(ServerURL.Problem) { return try FastCGIAddress(url) } catch {
            throw HTTPTransfer.Failure(description: error.description)
        }
    }

    private func overHTTP(
        _ body: [UInt8], _ url: String, _ headers: [(name: String, value: String)], _ timeout: Duration
    ) throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        var request = HTTPTransfer(method: "POST", url: url)
        request.headers = ["Content-Type: application/json"] + headers.map { "\($0): \($1)" }
        request.body = .bytes(body)
        request.timeout = timeout
        request.publicOnly = !mayBePrivate
        return try client.send(request)
    }

    private func signature(of body: [UInt8]) -> String {
        let time = clock() / 1000
        var signed = HMAC<SHA256>(key: secret)
        signed.update(data: Array("\(time).".utf8))
        signed.update(data: body)
        return "t=\(time),v1=\(hex(signed.finalize()))"
    }
}
