public import ChatCore

/// `alive:{user}` (the Unix millisecond of the last answer to a probe) and `pushed:{room}` (a hash: user → Seq).
public final class RedisPushMarks: PushMarks {
    /// Notifications older than a week do not matter.
    private static let pushedLife = Duration.seconds(604_800)
    private let connection: RedisConnection
    private let trailLength: Int

    public init(_ connection: RedisConnection, trailLength: Int = 0) {
        self.connection = connection
        self.trailLength = trailLength
    }

    public func probe(_ users: [UUID128]) throws(BusError) {
        _ = try pipeline(
            users.map {
                [RedisWord(word: "PUBLISH"), RedisWord(word: BusChannel.user($0)), UserEvent.probe.encode()]
            })
    }

    public func signsOfLife(of users: [UUID128]) throws(BusError) -> [UUID128: Int64] {
        numbers(users, try pipeline([["MGET"].words + users.map { RedisWord(word: RedisKey.alive($0)) }]))
    }

    public func pushed(in room: UUID128, to users: [UUID128]) throws(BusError) -> [UUID128: Int64] {
        numbers(users, try pipeline([(["HMGET", RedisKey.pushed(room)] + users.map(\.description)).words]))
    }

    public func note(pushed seq: Int64, in room: UUID128, to user: UUID128) throws(BusError) {
        let key = RedisKey.pushed(room)
        _ = try pipeline([
            ["HSET", key, "\(user)", "\(seq)"].words, ["EXPIRE", key, "\(Self.pushedLife.seconds)"].words,
        ])
    }

    public func clear(_ room: UUID128, of user: UUID128) throws(BusError) {
        _ = try pipeline([["HDEL", RedisKey.pushed(room), "\(user)"].words])
    }

    public func note(_ step: TrailStep) throws(BusError) {
        if trailLength > 0 { _ = try pipeline([RedisTrail.words(step, length: trailLength)]) }
    }

    private func numbers(_ users: [UUID128], _ replies: [RedisValue]) -> [UUID128: Int64] {
        var found: [UUID128: Int64] = [:]
        for (user, value) in zip(users, replies.first?.array ?? []) {
            found[user] = value.bytes.flatMap { Int64(String(decoding: $0, as: UTF8.self)) }
        }
        return found
    }

    private func pipeline(_ commands: [[RedisWord]]) throws(BusError) -> [RedisValue] {
        do {
            let values = try connection.pipeline(commands)
            for case .error(let text) in values { throw RedisError(description: "Redis: \(text)", isConnection: false) }
            return values
        } catch { throw BusError("\(error)") }
    }
}
