public import ChatCore
import Crypto

/// Signed requests to the host application: `X-Chat-Signature: t=<Unix seconds>,v1=<hex>`, where `v1` is the
/// HMAC-SHA256 of `<t>.<body>` with the secret. The host checks the signature and refuses an old `t`.
public final class HookClient {
    private let client: HTTPClient
    private let secret: SymmetricKey
    private let mayBePrivate: Bool
    private let clock: Clock

    /// - Parameter goesOn: see ``HTTPClient``.
    public init(_ settings: HookSettings, clock: @escaping Clock = systemClock, goesOn: (() -> Bool)? = nil) {
        client = HTTPClient(authorities: settings.authorities, goesOn: goesOn)
        secret = SymmetricKey(data: Array(settings.secret.utf8))
        mayBePrivate = settings.mayBePrivate
        self.clock = clock
    }

    /// Sends one event. Returns nil after any 2xx, else the reason of the failure.
    public func send(_ hook: PendingHook, to url: String, timeout: Duration) -> String? {
        let headers = [
            "X-Chat-Event: \(hook.name)", "X-Chat-Event-ID: \(hook.key.text)", "X-Chat-Attempt: \(hook.attempts)",
        ]
        switch post(hook.body, to: url, headers, timeout) {
        case .success(let answer): return (200..<300).contains(answer.status) ? nil : "it answered \(answer.status)"
        case .failure(let failure): return failure.description
        }
    }

    func post(
        _ body: [UInt8], to url: String, _ headers: [String], _ timeout: Duration
    ) -> Result<HTTPTransfer.Answer, HTTPTransfer.Failure> {
        var request = HTTPTransfer(method: "POST", url: url)
        let own = ["Content-Type: application/json", "X-Chat-Signature: \(signature(of: body))"]
        request.headers = own + headers
        request.body = .bytes(body)
        request.timeout = timeout
        request.publicOnly = !mayBePrivate
        do throws(HTTPTransfer.Failure) { return .success(try client.send(request)) } catch { return .failure(error) }
    }

    private func signature(of body: [UInt8]) -> String {
        let time = clock() / 1000
        var signed = HMAC<SHA256>(key: secret)
        signed.update(data: Array("\(time).".utf8))
        signed.update(data: body)
        return "t=\(time),v1=\(hex(signed.finalize()))"
    }
}
