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
        let commands = Self.words(written, lifetime: lifetime, inCluster: connection.isCluster)
        do {
            for case .error(let text) in try connection.pipeline(commands) {
                throw RedisError(description: "Redis: \(text)", isConnection: false)
            }
        } catch { throw BusError("\(error)") }
    }

    public func position(of user: UUID128, in room: UUID128?) throws(BusError) -> Int64? {
        let since = Self.beginnings(user, room, inCluster: connection.isCluster)
        let keys = since + Self.keys([user], room.map { [$0] } ?? [], inCluster: connection.isCluster)
        let answer: RedisValue
        do { answer = try connection.command((["MGET"] + keys).words) } catch { throw BusError("\(error)") }
        guard case .array(let values) = answer, values.count == keys.count else { throw BusError("Redis: no marks") }
        let positions = values.map { value in value.bytes.flatMap { Int64(String(decoding: $0, as: UTF8.self)) } }
        // If a beginning is missing, Redis has lost its data or has never had a mark.
        return positions.prefix(since.count).contains(nil) ? nil : positions.compactMap(\.self).max()
    }

    public func begin(at position: Int64) throws(BusError) {
        let keys =
            connection.isCluster
            ? (0..<RedisKey.writtenParts).map { "{written:\($0)}:since" } : [RedisKey.writtenSince]
        do {
            for case .error(let text) in try connection.pipeline(
                keys.map { ["SET", $0, "\(position)", "NX"].words })
            {
                throw RedisError(description: "Redis: \(text)", isConnection: false)
            }
        } catch { throw BusError("\(error)") }
    }

    /// The keys of the beginnings of these marks.
    private static func beginnings(_ user: UUID128, _ room: UUID128?, inCluster: Bool) -> [String] {
        guard inCluster else { return [RedisKey.writtenSince] }
        return ([user] + (room.map { [$0] } ?? [])).map { "\(RedisKey.writtenPart($0)):since" }
    }

    private static func keys(_ users: [UUID128], _ rooms: [UUID128], inCluster: Bool) -> [String] {
        let part = { (id: UUID128) in inCluster ? "\(RedisKey.writtenPart(id)):" : "" }
        return users.map { part($0) + RedisKey.written(by: $0) } + rooms.map { part($0) + RedisKey.written(in: $0) }
    }

    /// Two writers may record one user in any order. Lua's numbers are exact up to 2^53: 9 petabytes of log. In a
    /// cluster, one command for each part of the marks.
    static func words(_ written: Written, lifetime: Duration, inCluster: Bool) -> [[RedisWord]] {
        let keys = keys(written.users.sorted(), written.rooms.sorted(), inCluster: inCluster)
        let parts =
            inCluster
            ? Array(Dictionary(grouping: keys) { $0.utf8.prefix { $0 != UInt8(ascii: "}") }.map(\.self) }.values)
            : [keys]
        return parts.map { keys in
            (["EVAL", keepLarger, "\(keys.count)"] + keys + ["\(written.position)", "\(lifetime.seconds)"]).words
        }
    }

    private static let keepLarger = """
        for _, key in ipairs(KEYS) do
            if tonumber(redis.call('GET', key) or '0') < tonumber(ARGV[1]) then
                redis.call('SET', key, ARGV[1], 'EX', ARGV[2])
            end
        end
        """
}
