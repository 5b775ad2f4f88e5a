public struct WorkerSettings: Sendable {
    public var processes: Int
    /// Commands in one batch, one transaction.
    public var batch: Int
    /// Unacknowledged deliveries that one worker may hold, per queue.
    public var prefetch: Int
    /// A worker that is stopped by a signal for longer is killed; nil: no limit.
    public var frozenLimit: Duration?
    /// The number of entries that a room's log in Redis keeps, and for how long.
    public var logLength: Int
    public var logTime: Duration
    /// Bytes of frames that a room's log keeps, approximately.
    public var logBytes: Int

    init(_ values: inout SettingsReader) {
        processes = values.number("WORKER_PROCESSES", default: 2, in: 1...256)
        batch = values.number("WORKER_BATCH", default: 256, in: 1...4096)
        prefetch = values.number("WORKER_PREFETCH", default: 512, in: 1...4096)
        frozenLimit = values.seconds("WORKER_FROZEN_SECONDS", default: 5, in: 0...86_400).unlessZero
        logLength = values.number("ROOM_LOG_LENGTH", default: 1000, in: 10...1_000_000)
        logTime = values.seconds("ROOM_LOG_SECONDS", default: 3600, in: 10...604_800)
        logBytes = values.number("ROOM_LOG_BYTES", default: 4_194_304, in: 65_536...1_073_741_824)
    }
}
