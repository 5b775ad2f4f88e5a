public import Logging

/// Sends events to the host application: each at least once, and in order as long as nothing fails. `Seq` tells the
/// host the right order.
public final class DeliverHooks {
    /// Events per claim.
    private static let batch = 20
    /// The first pause, doubled after each failure, at most an hour.
    private static let firstPause = Duration.seconds(2)
    private static let longestPause = Duration.seconds(3600)

    private let outbox: any HookOutbox
    /// Returns nil when the host accepted the event, else the reason of the failure.
    private let send: (PendingHook) -> String?
    private let attempts: Int
    private let lease: Int
    private let log: Logger

    /// - Parameters:
    ///   - attempts: tries after which an event is dead.
    ///   - timeout: for one request.
    public init(
        outbox: any HookOutbox, attempts: Int, timeout: Duration, log: Logger, send: @escaping (PendingHook) -> String?
    ) {
        self.outbox = outbox
        self.attempts = attempts
        // Just long enough for every event of a claim, because the events of a dead worker wait until it ends.
        lease = Int(timeout.milliseconds + 1000) * Self.batch
        self.log = log
        self.send = send
    }

    /// - Parameter goOn: asked between two events; unsent ones are due again when their lease ends.
    /// - Returns: the numbers of accepted and of failed events.
    public func run(while goOn: () -> Bool) throws(StoreError) -> (delivered: Int, failed: Int) {
        var counts = (delivered: 0, failed: 0)
        for hook in try outbox.claim(Self.batch, lease: lease) {
            guard goOn() else { break }
            if let error = send(hook) {
                try note(error, hook)
                counts.failed += 1
            } else {
                try outbox.delivered(hook.key)
                counts.delivered += 1
            }
        }
        return counts
    }

    private func note(_ error: String, _ hook: PendingHook) throws(StoreError) {
        let isOver = hook.attempts >= attempts
        let details: Logger.Metadata = [
            "event": "\(hook.key.text)", "attempt": "\(hook.attempts)", "error": "\(error)",
        ]
        if isOver {
            log.error("a webhook was given up: see queue-worker hooks", metadata: details)
        } else {
            log.notice("a webhook was not accepted", metadata: details)
        }
        try outbox.failed(hook.key, error, again: isOver ? nil : Self.pause(after: hook.attempts))
    }

    public static func pause(after attempts: Int) -> Int {
        Int(min(firstPause.milliseconds << min(attempts - 1, 20), longestPause.milliseconds))
    }
}
