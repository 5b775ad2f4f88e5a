public import ChatCore

/// Sends each push through the service for its device's kind.
public final class PushServices: PushSender {
    private let senders: [PushKind: any PushSender]

    /// - Parameter goesOn: called about once a second during a request; false ends it.
    /// - Throws: ``SettingsError`` naming the setting, never a key.
    public init(
        _ settings: PushSettings, hooks: HookSettings, clock: @escaping Clock = systemClock,
        goesOn: (() -> Bool)? = nil
    ) throws(SettingsError) {
        var senders: [PushKind: any PushSender] = [:]
        var problems: [String] = []
        if let file = settings.accountFile {
            do throws(SettingsError) {
                senders[.fcm] = try FCMPushSender(settings, account: file, clock: clock, goesOn: goesOn)
            } catch { problems += error.problems }
        }
        if let webPush = settings.webPush {
            senders[.webPush] = WebPushSender(settings, webPush, clock: clock, goesOn: goesOn)
        }
        if let apns = settings.apns {
            do throws(SettingsError) {
                senders[.apns] = try APNsPushSender(settings, apns, clock: clock, goesOn: goesOn)
            } catch { problems += error.problems }
        }
        if !settings.webhookURL.isEmpty {
            senders[.webhook] = WebhookPushSender(settings, hooks, clock: clock, goesOn: goesOn)
        }
        guard problems.isEmpty else { throw SettingsError(problems: problems) }
        self.senders = senders
    }

    public func send(_ push: Push, to device: PushDevice) -> PushOutcome {
        senders[device.kind]?.send(push, to: device) ?? .rejected("pushes of the kind \(device.kind.name) are off")
    }
}
