public import ChatCore

/// `upload:{message}`: a hash of `run`, `fence`, `id`, `total` and `part:N` → "etag,size"; `upload:{message}:lock` and
/// `:writer`: the locks; `upload:fence`: the last fence.
public final class RedisUploadProgress: UploadProgress {
    /// The state expires this long after its newest part.
    private static let lifetime = Duration.seconds(86_400)
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public func find(_ message: UUID128) throws(BusError) -> UploadState? {
        let script = """
            \(Self.run)
            if redis.call('HGET', KEYS[1], 'run') ~= run then return {} end
            return redis.call('HGETALL', KEYS[1])
            """
        return UploadState(try evaluate(script, RedisKey.upload(message), []))
    }

    public func put(_ state: UploadState, of message: UUID128, fence: Int64) throws(BusError) -> UploadState? {
        // A part that arrived while the store was being listed stays, with its newer ETag.
        let script = """
            \(Self.run)
            local known = redis.call('HMGET', KEYS[1], 'run', 'id', 'fence')
            if known[1] == run and tonumber(known[3]) > tonumber(ARGV[4]) then return {} end
            if known[1] ~= run or known[2] ~= ARGV[2] then redis.call('DEL', KEYS[1]) end
            redis.call('HSET', KEYS[1], 'run', run, 'id', ARGV[2], 'total', ARGV[3], 'fence', ARGV[4])
            for i = 5, #ARGV, 2 do redis.call('HSETNX', KEYS[1], ARGV[i], ARGV[i + 1]) end
            redis.call('EXPIRE', KEYS[1], ARGV[1])
            return redis.call('HGETALL', KEYS[1])
            """
        var words = ["\(Self.lifetime.seconds)", state.upload, "\(state.total)", "\(fence)"]
        for part in state.parts.values { words += Self.field(part) }
        return UploadState(try evaluate(script, RedisKey.upload(message), words))
    }

    public func add(_ part: StoredPart, to message: UUID128, upload: String) throws(BusError) -> UploadState? {
        // A part of an aborted upload must not count in the next one.
        let script = """
            \(Self.run)
            local known = redis.call('HMGET', KEYS[1], 'run', 'id')
            if known[1] ~= run or known[2] ~= ARGV[2] then return {} end
            redis.call('HSET', KEYS[1], ARGV[3], ARGV[4])
            redis.call('EXPIRE', KEYS[1], ARGV[1])
            return redis.call('HGETALL', KEYS[1])
            """
        return UploadState(
            try evaluate(script, RedisKey.upload(message), ["\(Self.lifetime.seconds)", upload] + Self.field(part)))
    }

    public func remove(_ message: UUID128, upload: String) throws(BusError) {
        let script = """
            if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0
            """
        _ = try evaluate(script, RedisKey.upload(message), [upload])
    }

    public func lock(
        _ lock: UploadLock, of message: UUID128, token: String, milliseconds: Int
    ) throws(BusError) -> Int64? {
        // Starts at the server's clock in microseconds: fences keep growing even when Redis lost the last one.
        let script = """
            if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
            local time = redis.call('TIME')
            local fence = time[1] * 1000000 + time[2]
            fence = math.max(fence, 1 + (tonumber(redis.call('GET', KEYS[2])) or 0))
            redis.call('SET', KEYS[2], string.format('%.0f', fence))
            if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
            return fence
            """
        // One fence for all uploads needs no end; one for each upload is kept as long as its state.
        let (isCluster, life) = (connection.isCluster, Self.lifetime.seconds)
        let value = try evaluate(
            script,
            [
                RedisKey.uploadLock(lock, message, inCluster: isCluster),
                isCluster ? RedisKey.uploadFence(of: message) : RedisKey.uploadFence,
            ], [token, "\(milliseconds)", isCluster ? "\(life)" : "0"])
        guard case .int(let fence) = value else { return nil }
        return fence
    }

    public func unlock(_ lock: UploadLock, of message: UUID128, token: String) throws(BusError) {
        // Delete only our own lock: it may have expired and belong to somebody else.
        let script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
        _ = try evaluate(script, RedisKey.uploadLock(lock, message, inCluster: connection.isCluster), [token])
    }

    /// Redis' run_id: state from before a restart is ignored. A user without permission for INFO gets the same value
    /// always, so that state survives restarts.
    private static let run = """
        local info = redis.pcall('INFO', 'server')
        local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or 'unknown'
        """

    private static func field(_ part: StoredPart) -> [String] {
        ["part:\(part.number)", "\(part.etag),\(part.size)"]
    }

    private func evaluate(_ script: String, _ key: String, _ words: [String]) throws(BusError) -> RedisValue {
        try evaluate(script, [key], words)
    }

    private func evaluate(_ script: String, _ keys: [String], _ words: [String]) throws(BusError) -> RedisValue {
        let command = ["EVAL", script, "\(keys.count)"] + keys + words
        do { return try connection.command(command.words) } catch { throw BusError(error.description) }
    }
}

extension UploadState {
    /// Reads HGETALL's reply; nil when it holds no usable state.
    fileprivate init?(_ value: RedisValue) {
        let texts = (value.array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
        var (upload, total, parts): (String?, Int?, [StoredPart]) = (nil, nil, [])
        for index in stride(from: 0, to: texts.count - 1, by: 2) {
            let (name, text) = (texts[index], texts[index + 1])
            if name == "id" { upload = text }
            if name == "total" { total = Int(text) }
            guard name.hasPrefix("part:"), let number = Int(name.dropFirst(5)), let comma = text.lastIndex(of: ","),
                let size = Int64(text[text.index(after: comma)...])
            else { continue }
            parts.append(StoredPart(number: number, etag: String(text[..<comma]), size: size))
        }
        guard let upload, let total else { return nil }
        self.init(upload: upload, total: total, parts: parts)
    }
}
