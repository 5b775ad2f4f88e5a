public import ChatCore

/// `upload:{message}`: a hash of `id`, `total` and `part:N` → "etag,size"; `upload:{message}:lock`: who works on it.
public final class RedisUploadProgress: UploadProgress {
    /// Seconds without a new part after which Redis forgets it.
    private static let seconds = 86_400
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public func find(_ message: UUID128) throws(BusError) -> UploadState? {
        UploadState(try ask(["HGETALL", RedisKey.upload(message)]))
    }

    public func put(_ state: UploadState, of message: UUID128) throws(BusError) {
        let key = RedisKey.upload(message)
        var fields = ["HSET", key, "id", state.upload, "total", "\(state.total)"]
        for part in state.parts.values { fields += ["part:\(part.number)", "\(part.etag),\(part.size)"] }
        // One transaction: nobody sees a hash with half of its parts.
        let commands = [["MULTI"], ["DEL", key], fields, ["EXPIRE", key, "\(Self.seconds)"], ["EXEC"]]
        do {
            for case .error(let text) in try connection.pipeline(commands.map { $0.words }) {
                throw RedisError(description: "Redis: \(text)", isConnection: false)
            }
        } catch { throw BusError("\(error)") }
    }

    public func add(_ part: StoredPart, to message: UUID128, upload: String) throws(BusError) -> UploadState? {
        // A part of an upload that was aborted meanwhile must not count in the next one.
        let script = """
            if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {} end
            redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
            redis.call('EXPIRE', KEYS[1], ARGV[4])
            return redis.call('HGETALL', KEYS[1])
            """
        return UploadState(
            try ask([
                "EVAL", script, "1", RedisKey.upload(message), upload, "part:\(part.number)",
                "\(part.etag),\(part.size)",
                "\(Self.seconds)",
            ]))
    }

    public func remove(_ message: UUID128) throws(BusError) { _ = try ask(["DEL", RedisKey.upload(message)]) }

    public func lock(_ message: UUID128, token: String, milliseconds: Int) throws(BusError) -> Bool {
        try ask(["SET", RedisKey.uploadLock(message), token, "NX", "PX", "\(milliseconds)"]) != .null
    }

    public func unlock(_ message: UUID128, token: String) throws(BusError) {
        // Only one's own: it may have run out and be another's by now.
        let script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
        _ = try ask(["EVAL", script, "1", RedisKey.uploadLock(message), token])
    }

    private func ask(_ words: [String]) throws(BusError) -> RedisValue {
        do { return try connection.command(words.words) } catch { throw BusError(error.description) }
    }
}

extension UploadState {
    /// From HGETALL; nil when there is nothing of use.
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
