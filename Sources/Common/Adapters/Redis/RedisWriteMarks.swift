public import ChatCore

public final class RedisWriteMarks: WriteMarks {
    private let connection: RedisConnection
    private let lifetime: Duration

    /// - Parameter lifetime: how long a mark is kept: longer than the allowed lag of a replica.
    public init(_ connection: RedisConnection, lifetime: Duration) {
        self.connection = connection
        self.lifetime = lifetime
    }

    public func record(_ written: Written) throws(BusError) {
        do { _ = try connection.command(Self.words(written, lifetime: lifetime)) } catch { throw BusError("\(error)") }
    }

    public func position(of user: UUID128, in room: UUID128?) throws(BusError) -> Int64? {
        var keys = [RedisKey.writtenSince, RedisKey.written(by: user)]
        if let room { keys.append(RedisKey.written(in: room)) }
        let answer: RedisValue
        do { answer = try connection.command((["MGET"] + keys).words) } catch { throw BusError("\(error)") }
        guard case .array(let values) = answer, values.count == keys.count else { throw BusError("Redis: no marks") }
        let positions = values.map { value in value.bytes.flatMap { Int64(String(decoding: $0, as: UTF8.self)) } }
        // If the first position is missing, Redis has lost its data or has never had a mark.
        return positions[0] == nil ? nil : positions.compactMap(\.self).max()
    }

    public func begin(at position: Int64) throws(BusError) {
        do { _ = try connection.command(["SET", RedisKey.writtenSince, "\(position)", "NX"].words) } catch {
            throw BusError("\(error)")
        }
    }

    /// Two writers may record one user in any order. Lua's numbers are exact up to 2^53: 9 petabytes of log.
    static func words(_ written: Written, lifetime: Duration) -> [RedisWord] {
        let keys =
            written.users.sorted().map { RedisKey.written(by: $0) }
            + written.rooms.sorted().map { RedisKey.written(in: $0) }
        return (["EVAL", keepLarger, "\(keys.count)"] + keys + ["\(written.position)", "\(lifetime.seconds)"]).words
    }

    private static let keepLarger = """
        for _, key in ipairs(KEYS) do
            if tonumber(redis.call('GET', key) or '0') < tonumber(ARGV[1]) then
                redis.call('SET', key, ARGV[1], 'EX', ARGV[2])
            end
        end
        """
}
