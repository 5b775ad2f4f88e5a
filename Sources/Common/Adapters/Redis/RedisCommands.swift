/// Commands to Redis; the guarantees are those of ``RedisConnection``. The tests of those who use it have one in memory.
public protocol RedisCommands: AnyObject {
    /// Keys of one command must have one slot.
    var isCluster: Bool { get }
    @discardableResult
    func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue
    func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue]
}

extension RedisCommands {
    public var isCluster: Bool { false }
}

extension RedisConnection: RedisCommands {}
