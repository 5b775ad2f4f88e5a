public import ChatCore

/// Firebase Cloud Messaging, HTTP v1, over one connection; HTTP/2 when the server supports it.
public final class FCMPushSender: PushSender {
    private let settings: PushSettings
    private let account: ServiceAccount
    private let client: HTTPClient

    /// - Parameter file: the service account's JSON key.
    public init(
        _ settings: PushSettings, account file: String, clock: @escaping Clock = systemClock,
        goesOn: (() -> Bool)? = nil
    ) throws(SettingsError) {
        self.settings = settings
        account = try ServiceAccount(file: file, clock: clock)
        client = HTTPClient(authorities: settings.authorities, goesOn: goesOn)
    }

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        let body = FCMMessage(settings: settings, push: push, device: device.address).json
        do throws(HTTPTransfer.Failure) {
            var answer = try post(body, push)
            if answer.status == 401 {
                account.forgetToken()
                answer = try post(body, push)
            }
            return FCMMessage.outcome(answer.status, answer.body, retryAfter: answer.retryAfter)
        } catch {
            return .failed(error.description)
        }
    }

    private func post(_ body: [UInt8], _ push: Push) throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        var headers = [
            "Authorization: Bearer \(try account.accessToken(client))", "Content-Type: application/json",
        ]
        if case .message(let message, _) = push.content {
            headers.append("traceparent: \(TraceParent(of: message.id))")
        }
        return try client.send(
            HTTPTransfer(
                method: "POST", url: "\(settings.endpoint)/v1/projects/\(account.project)/messages:send",
                headers: headers, body: .bytes(body), timeout: .seconds(10)))
    }
}
