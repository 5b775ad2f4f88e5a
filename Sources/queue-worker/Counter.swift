import ChatCore
import ChatProcess

/// The worker's counters, by their position in the scoreboard, under the names of /metrics.
enum Counter {
    static let names = [
        "commands_total", "refused_total", "messages_total", "batches_total", "dead_total",
        "uploads_abandoned_total", "files_deleted_total", "files_looked_at_total", "hooks_total", "hook_failures_total",
        "pushes_sent_total", "pushes_spared_total", "pushes_failed_total", "push_devices_forgotten_total",
        "backlog_commands", "oldest_command_at", "spans_exported_total", "spans_dropped_total",
        "push_jobs_dropped_total", "queues",
    ]
    static let commands = 0
    static let refused = 1
    static let messages = 2
    static let batches = 3
    static let dead = 4
    static let uploadsAbandoned = 5
    static let filesDeleted = 6
    static let filesLookedAt = 7
    static let hooks = 8
    static let hookFailures = 9
    static let pushes = 10
    static let backlog = 14
    /// Unix milliseconds at which the oldest command in hand was accepted; 0: none is in hand.
    static let oldest = 15
    static let spansExported = 16
    static let spansDropped = 17
    static let pushJobsDropped = 18
    /// Queues of which the worker is the active consumer, as far as it knows.
    static let queues = 19

    static func record(_ counts: PushOffline.Counts, in row: ScoreboardRow) {
        let values = [counts.sent, counts.spared, counts.failed, counts.devicesForgotten]
        for (place, value) in values.enumerated() { row.set(pushes + place, to: value) }
    }
}

/// The worker's histograms, by their place in the scoreboard.
enum Timing {
    static let names = ["queue_wait_seconds", "batch_seconds", "commit_seconds", "publish_seconds"]
    static let queueWait = 0
    static let batch = 1
    static let commit = 2
    static let publish = 3
}
