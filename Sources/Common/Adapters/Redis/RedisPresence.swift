public import ChatCore

/// Reads `presence:{user}`: a hash with one field for each relay that holds sockets of the user (the Unix millisecond
/// until which it is valid), and `seen`, the time at which the last socket closed.
public final class RedisPresence: PresenceReader {
    private let connection: RedisConnection

    public init(_ connection: RedisConnection) { self.connection = connection }

    public func presence(of user: UUID128, at now: Int64) throws(BusError) -> PresenceMark {
        let values: RedisValue
        do {
            values = try connection.command([RedisWord(word: "HGETALL"), RedisWord(word: RedisKey.presence(user))])
        } catch { throw BusError(error.description) }
        let texts = (values.array ?? []).map { String(decoding: $0.bytes ?? [], as: UTF8.self) }
        var seen: Int64?
        var until: Int64 = 0
        for index in stride(from: 0, to: texts.count - 1, by: 2) {
            let time = Int64(texts[index + 1]) ?? 0
            if texts[index] == "seen" { seen = time } else { until = max(until, time) }
        }
        return PresenceMark(userID: user, isOnline: until > now, lastSeenAt: until > now ? nil : seen)
    }
}
