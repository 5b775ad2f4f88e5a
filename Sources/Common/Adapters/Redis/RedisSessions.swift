public import ChatCore
public import Logging

/// Each session is a key that expires by itself.
public final class RedisSessions: SessionCache {
    private let connection: RedisConnection
    private let log: Logger

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
        do { return try connection.command(words.words) } catch {
            log.warning("sessions are not cached while Redis is away", metadata: ["error": "\(error)"])
            return nil
        }
    }
}
