public import ChatCore

/// Sends a push to the host application, which forwards it through a gateway of its own: mail, ntfy, HMS. Each device
/// costs one request, signed like the other hooks.
public final class WebhookPushSender: PushSender {
    private let settings: PushSettings
    private let hooks: HookSettings
    private let client: HookClient
    private let clock: Clock

    public init(
        _ settings: PushSettings, _ hooks: HookSettings, clock: @escaping Clock = systemClock,
        goesOn: (() -> Bool)? = nil
    ) {
        self.settings = settings
        self.hooks = hooks
        self.clock = clock
        client = HookClient(hooks, clock: clock, goesOn: goesOn)
    }

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        let headers = [("X-Chat-Event", "push"), ("X-Chat-Event-ID", Self.id(push, device))]
        switch client.post(body(push, device), to: settings.webhookURL, headers, hooks.timeout) {
        case .success(let answer): return Self.outcome(answer.status, retryAfter: answer.retryAfter)
        case .failure(let failure): return .failed("PUSH_WEBHOOK_URL: \(failure.description)")
        }
    }

    /// The same in every repeat of this push.
    static func id(_ push: Push, _ device: PushDevice) -> String {
        switch push.content {
        case .message(let message, _): "\(push.room)/\(message.seq)/\(device.user)/\(device.id)"
        case .seen(let seq): "\(push.room)/\(seq)/seen/\(device.user)/\(device.id)"
        case .deleted(_, let seq): "\(push.room)/\(seq)/deleted/\(device.user)/\(device.id)"
        }
    }

    private func body(_ push: Push, _ device: PushDevice) -> [UInt8] {
        let text = PushText(settings: settings, push: push)
        var writer = JSONWriter(reserving: 2048)
        writer.map {
            $0.field("Event", "push")
            $0.field("ID", Self.id(push, device))
            $0.field("At", time: clock())
            $0.field("UserID", device.user)
            $0.field("Device", device.address)
            $0.field("CollapseKey", push.room)
            $0.map("Push") { text.writeFields(to: &$0) }
        }
        return writer.take()
    }

    /// 410 means that the device no longer exists. 404 does not mean this: the host's address may be wrong.
    static func outcome(_ status: Int, retryAfter: Int?) -> PushOutcome {
        let text = "PUSH_WEBHOOK_URL answered \(status)"
        switch status {
        case 200..<300: return .sent
        case 410: return .unregistered
        case 429, 503: return .later(seconds: retryAfter ?? (status == 429 ? 60 : 10))
        case 408, 500...: return .failed(text)
        default: return .rejected(text)
        }
    }
}
