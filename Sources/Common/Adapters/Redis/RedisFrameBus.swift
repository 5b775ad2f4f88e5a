public import ChatCore

/// Frames through Redis: one stream per room (the log) and pub/sub. In a cluster both are on the room's node.
public final class RedisFrameBus: FrameBus {
    private let connection: RedisConnection
    private let logLength: Int
    private let logTime: Duration
    private let logBytes: Int
    private let trailLength: Int
    private let markLifetime: Duration
    /// Bytes added to each log since its size was last measured.
    private var unmeasured: [UUID128: Int] = [:]
    private static let maxUnmeasured = 10_000

    /// - Parameters:
    ///   - logLength: entries that a room's log keeps, approximately.
    ///   - logTime: a log expires after this time without a new entry.
    ///   - logBytes: bytes of frames that a room's log keeps: up to a quarter more, and always the newest entry.
    ///   - trailLength: steps that the trail keeps, approximately.
    ///   - markLifetime: as in ``RedisWriteMarks``.
    public init(
        _ connection: RedisConnection, logLength: Int = 1000, logTime: Duration = .seconds(3600),
        logBytes: Int = 4_194_304, trailLength: Int = 0, markLifetime: Duration = .seconds(60)
    ) {
        self.connection = connection
        self.logLength = logLength
        self.logTime = logTime
        self.logBytes = logBytes
        self.trailLength = trailLength
        self.markLifetime = markLifetime
    }

    public func check() throws(BusError) {
        // A write that changes nothing: a primary without replicas answers a PING.
        do {
            try connection.command(["DEL", RedisKey.roomLog(UUID128.zero, inCluster: connection.isCluster)].words)
        } catch {
            throw BusError("\(error)")
        }
    }

    public func publish(_ notice: Notice) throws(BusError) {
        var commands: [[RedisWord]] = []
        // The mark must be there before any reader is told of the write.
        if let written = notice.written {
            commands += RedisWriteMarks.words(written, lifetime: markLifetime, inCluster: connection.isCluster)
        }
        for room in notice.wiped {
            commands.append(["DEL", RedisKey.roomLog(room, inCluster: connection.isCluster)].words)
        }
        for chunk in notice.frames { log(chunk, into: &commands) }
        if connection.isCluster {
            // A single Redis carries out everything in this order; nodes of a cluster do not wait for each other.
            try send(commands)
            commands = []
        }
        for (user, event) in notice.userEvents {
            commands.append(["PUBLISH", BusChannel.user(user)].words + [event.encode()])
        }
        for chunk in notice.frames {
            commands.append(["PUBLISH", BusChannel.room(chunk.room)].words + [chunk.encode()])
        }
        for (relay, answer) in notice.answers {
            commands.append(["PUBLISH", BusChannel.relay(relay)].words + [answer.encode()])
        }
        if trailLength > 0, let step = notice.trail { commands.append(RedisTrail.words(step, length: trailLength)) }
        try send(commands)
    }

    private func send(_ commands: [[RedisWord]]) throws(BusError) {
        guard !commands.isEmpty else { return }
        do {
            for value in try connection.pipeline(commands) {
                guard case .error(let text) = value else { continue }
                // The log already holds this entry or a newer one: the batch is being repeated.
                if text.contains("equal or smaller than the target stream top item") { continue }
                throw RedisError(description: "Redis: \(text)", isConnection: false)
            }
        } catch { throw BusError("\(error)") }
    }

    /// Writes one entry for each run without a gap: repeated frames may be far older than new ones.
    private func log(_ chunk: FrameChunk, into commands: inout [[RedisWord]]) {
        let key = RedisKey.roomLog(chunk.room, inCluster: connection.isCluster)
        var run: [RoomFrame] = []
        var size = 0
        func end() {
            guard let last = run.last else { return }
            let entry = FrameChunk(room: chunk.room, frames: run).encode()
            size += entry.count
            commands.append(["XADD", key, "MAXLEN", "~", "\(logLength)", "\(last.seq)-0", "f"].words + [entry])
            run = []
        }
        for frame in chunk.frames where frame.seq > 0 {
            if let last = run.last, frame.seq != last.seq + 1 { end() }
            run.append(frame)
        }
        end()
        measure(chunk.room, size, into: &commands)
        commands.append(["EXPIRE", key, "\(logTime.seconds)"].words)
    }

    /// A thousand entries may be a thousand batches of long messages, so a log is bounded in bytes too. Measuring makes
    /// Redis scan the log, so it is done once per quarter of the limit.
    private func measure(_ room: UUID128, _ size: Int, into commands: inout [[RedisWord]]) {
        if unmeasured.count >= Self.maxUnmeasured { unmeasured.removeAll(keepingCapacity: true) }
        let total = unmeasured[room, default: 0] + size
        guard total >= logBytes / 4 else {
            unmeasured[room] = total
            return
        }
        unmeasured[room] = nil
        let key = RedisKey.roomLog(room, inCluster: connection.isCluster)
        commands.append(["EVAL", Self.trim, "1", key, "\(logBytes)"].words)
    }

    /// Keeps entries from the newest back until the bytes are used up, and removes older ones.
    private static let trim = """
        local left, last = tonumber(ARGV[1]), '+'
        local kept
        while true do
            local entries = redis.call('XREVRANGE', KEYS[1], last, '-', 'COUNT', 16)
            if #entries == 0 then return 0 end
            for _, entry in ipairs(entries) do
                left = left - string.len(entry[2][2])
                if kept and left < 0 then return redis.call('XTRIM', KEYS[1], 'MINID', kept) end
                kept = entry[1]
            end
            last = '(' .. kept
        end
        """
}

extension [String] {
    var words: [RedisWord] { map { RedisWord(word: $0) } }
}
