/// Commands to Redis; the guarantees are those of ``RedisConnection``. The tests of those who use it have one in memory.
public protocol RedisCommands: AnyObject {
    @discardableResult
    func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue
    func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue]
}

extension RedisConnection: RedisCommands {}
