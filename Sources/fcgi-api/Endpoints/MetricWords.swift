/// The meaning of each metric, as `# HELP` gives it. docs/metrics.md is tested against it.
enum MetricWords {
    enum Kind: String { case counter, gauge, histogram }

    static func kind(of name: String) -> Kind {
        if name.hasSuffix("_total") { return .counter }
        return histograms.contains(name) ? .histogram : .gauge
    }

    /// Names are without their `chat_`.
    private static let histograms: Set<String> = [
        "request_duration_seconds", "request_wait_seconds", "confirm_seconds", "queue_wait_seconds", "batch_seconds",
        "commit_seconds",
        "publish_seconds", "delivery_seconds", "socket_write_seconds", "handover_pause_seconds",
    ]

    static func help(_ name: String) -> String {
        words[name] ?? "A counter of a program with another version."
    }

    private static let words: [String: String] = [
        // Every program
        "build_info": "1, with the version of the program that answers this request.",
        "workers": "Worker processes, by what they do now.",
        "requests_total": "Requests answered: of REST, of sockets, and batches of queue-worker.",
        "request_errors_total": "Requests answered with an error, by the class of its status.",
        "response_bytes_total": "Bytes of answers and frames.",
        "request_seconds_total": "Seconds that workers spent on requests.",
        "resident_bytes": "Resident memory of the workers that live.",
        "cpu_seconds": "Processor time of the workers that live.",
        "spans_exported_total": "Spans of traces that the collector took.",
        "spans_dropped_total": "Spans of traces that were dropped: too many waited, or the collector refused them.",
        // fcgi-api
        "queued_answers_total": "REST requests answered 202, since their command was not carried out in time.",
        "request_duration_seconds": "Time from a REST request's arrival in a worker to its answer, by endpoint family.",
        "request_wait_seconds": "Time from nginx's decision for a pool until a worker of it took the request.",
        "shed_total": "REST requests refused, since they had waited too long for a worker.",
        "user_updates_untold_total":
            "Changes of users without a user_updated to their rooms: above 20 per second and worker, or 5 in 5 s per user.",
        "replica_reads_total": "Reads from the replica.",
        "replica_spared_total":
            "Reads from the primary since the replica lacked something, was too far behind or unavailable.",
        "replica_lag_seconds":
            "The most seconds that the replica is behind, as seen by the workers; +Inf: too far, or unavailable.",
        "confirm_seconds": "Time from handing commands to RabbitMQ until it confirmed them.",
        "queue_messages": "Messages with commands in RabbitMQ that no worker has taken; each holds up to 256 commands.",
        // queue-worker
        "commands_total": "Commands carried out or refused.",
        "refused_total": "queue-worker: commands that a rule refused; ws-relay: connections that were refused.",
        "messages_total": "Messages stored.",
        "batches_total": "Batches of commands stored.",
        "dead_total": "Messages put aside on the dead letter queue.",
        "uploads_abandoned_total": "Uploads given up since they were not completed in time.",
        "files_deleted_total": "Files removed from the object store.",
        "files_looked_at_total": "Files looked into: measured, scanned, given a thumbnail.",
        "hooks_total": "Webhooks delivered.",
        "hook_failures_total": "Deliveries of webhooks that failed.",
        "pushes_sent_total": "Push notifications that a push service took.",
        "pushes_spared_total": "Push notifications that were not needed.",
        "pushes_failed_total": "Push notifications given up.",
        "push_devices_forgotten_total": "Devices that a push service no longer knows.",
        "push_jobs_dropped_total": "Push jobs dropped: they could not be read, or crashed their workers.",
        "backlog_commands": "Commands that workers have taken from RabbitMQ and not finished.",
        "oldest_command_seconds": "Age of the oldest command that a worker has not finished; 0: there is none.",
        "queues": "Command queues that the workers here consume; the others are consumed on other hosts.",
        "queue_wait_seconds": "Time from a command's acceptance until a batch takes it.",
        "batch_seconds": "Time of a whole batch: stored, told, answered.",
        "commit_seconds": "Time in which PostgreSQL loaded a batch's rooms and committed it.",
        "publish_seconds": "Time in which Redis took a batch's frames.",
        // ws-relay
        "connections": "Open WebSockets, streams of events and long polls.",
        "event_streams": "Streams of events and long polls among these.",
        "draining": "Workers that take no sockets and send theirs to another host.",
        "drain_left": "Sockets that such workers still have.",
        "moved_total": "Sockets that were told to move, and have left.",
        "drain_closed_total": "Sockets that a drain closed: old clients, and those that did not leave in time.",
        "users": "Users with one of these.",
        "rooms": "Rooms whose frames are delivered.",
        "slow_connections": "Sockets with frames that their client has not taken.",
        "outbox_bytes": "Bytes that wait for such clients.",
        "accepted_total": "Connections accepted.",
        "deliveries_total": "Frames handed to sockets.",
        "writes_total": "Writes to sockets.",
        "bytes_written_total": "Bytes written to sockets.",
        "slow_closed_total": "Sockets closed since their client took too little.",
        "fetches_total": "Look-ups of frames that a room missed.",
        "typing_dropped_total": "Typing notices dropped by rate.",
        "resumes_refused_total": "Rooms that were not resumed since too many were asked for.",
        "resumes_total": "Rooms in which clients asked to be caught up.",
        "reconnects_total": "Sockets that came back and asked for what they missed.",
        "resyncs_total": "Rooms that clients were told to fetch over REST.",
        "delivery_seconds":
            "Time from a socket's request until its frame is delivered, to its sender and to the others here.",
        "socket_write_seconds": "Time in which a tick of the relay wrote to its sockets.",
        "handover_pause_seconds": "Time for which all sockets stood still while they were handed over.",
    ]
}
