public import ChatCore
public import Logging

/// Each session is a key that expires by itself.
public final class RedisSessions: SessionCache {
    /// No calls to Redis for this time after it failed: a request must not wait for it three times.
    private static let pause = Duration.seconds(1)

    private let connection: RedisConnection
    private let log: Logger
    private var askAgainAt: Int64 = 0
    private var isAway = false

    public init(_ connection: RedisConnection, log: Logger) {
        self.connection = connection
        self.log = log
    }

    public func find(_ key: [UInt8]) -> HostSession? {
        guard let bytes = command(["GET", RedisKey.session(key)])?.bytes,
            let value = try? JSONReader.decode(bytes), let user = value["User"]?.string.flatMap({ try? HostUser($0) }),
            let asked = value["AskedAt"]?.int, let fresh = value["FreshUntil"]?.int
        else { return nil }
        return HostSession(
            user: user, name: value["Name"]?.string, picture: value["Picture"]?.string, askedAt: asked,
            freshUntil: fresh)
    }

    public func keep(_ session: HostSession, _ key: [UInt8], for time: Duration) {
        var writer = JSONWriter()
        writer.map {
            $0.field("User", session.user.externalID ?? session.user.id.description)
            if let name = session.name { $0.field("Name", name) }
            if let picture = session.picture { $0.field("Picture", picture) }
            $0.field("AskedAt", session.askedAt)
            $0.field("FreshUntil", session.freshUntil)
        }
        let text = String(decoding: writer.take(), as: UTF8.self)
        _ = command(["SET", RedisKey.session(key), text, "PX", "\(max(1, time.milliseconds))"])
    }

    public func drop(_ key: [UInt8]) { _ = command(["DEL", RedisKey.session(key)]) }

    private func command(_ words: [String]) -> RedisValue? {
        guard monotonicMilliseconds() >= askAgainAt else { return nil }
        do {
            let answer = try connection.command(words.words)
            if isAway { log.notice("sessions are cached again") }
            isAway = false
            return answer
        } catch {
            askAgainAt = monotonicMilliseconds() + Self.pause.milliseconds
            if !isAway {
                log.warning("sessions are not cached while Redis is away", metadata: ["error": "\(error)"])
            }
            isAway = true
            return nil
        }
    }
}
