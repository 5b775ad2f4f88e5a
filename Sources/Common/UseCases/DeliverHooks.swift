public import Logging

/// Tells the host application what has happened: at least once each, in the order in which it happened as long as
/// nothing fails; `Seq` says where each belongs.
public final class DeliverHooks {
    /// Of one claim.
    private static let batch = 20
    /// Milliseconds: the first pause, doubling, at most an hour.
    private static let firstPause = 2000
    private static let longestPause = 3_600_000

    private let outbox: any HookOutbox
    /// Nil: taken; otherwise why not.
    private let send: (PendingHook) -> String?
    private let attempts: Int
    private let lease: Int
    private let log: Logger

    /// - Parameters:
    ///   - attempts: after which an event is dead.
    ///   - timeout: milliseconds of one request.
    public init(
        outbox: any HookOutbox, attempts: Int, timeout: Int, log: Logger, send: @escaping (PendingHook) -> String?
    ) {
        self.outbox = outbox
        self.attempts = attempts
        // All of a claim may take their time, and a worker that died leaves its claim for no longer than needed.
        lease = (timeout + 1000) * Self.batch
        self.log = log
        self.send = send
    }

    /// - Parameter goOn: asked between two events; what is not sent then comes again after its lease.
    /// - Returns: how many were taken, and how many failed.
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
            log.error("a webhook is given up: see queue-worker hooks", metadata: details)
        } else {
            log.notice("a webhook was not taken", metadata: details)
        }
        try outbox.failed(hook.key, error, again: isOver ? nil : Self.pause(after: hook.attempts))
    }

    public static func pause(after attempts: Int) -> Int {
        min(firstPause << min(attempts - 1, 20), longestPause)
    }
}
