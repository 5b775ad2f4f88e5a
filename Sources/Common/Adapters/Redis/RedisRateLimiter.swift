public import ChatCore
public import Logging

/// A leaky bucket for each user and kind, in one key that expires by itself: the time at which the bucket is empty.
public final class RedisRateLimiter: RateLimiter {
    /// The time in which a full bucket drains; a bucket holds the limit for this time.
    private static let window = Duration.seconds(60)
    /// No calls to Redis for this time after it failed: a request must not wait for an optional check.
    private static let pause = Duration.seconds(5)

    private let connection: RedisConnection
    private let limits: RateSettings
    private let log: Logger
    private var askAgainAt: Int64 = 0

    public init(_ connection: RedisConnection, limits: RateSettings, log: Logger) {
        self.connection = connection
        self.limits = limits
        self.log = log
    }

    public func take(_ kind: RateKind, _ user: UUID128) -> Int? {
        charge([(kind, user, 1)], always: false).first ?? nil
    }

    public func add(_ count: Int, _ kind: RateKind, _ user: UUID128) { _ = charge([(kind, user, count)], always: true) }

    public func wait(_ kind: RateKind, _ user: UUID128) -> Int? {
        charge([(kind, user, 0)], always: false).first ?? nil
    }

    /// Counts several. `always`: the action has already happened and is counted even above the limit, up to one window
    /// more.
    ///
    /// - Returns: for each, the milliseconds until the next is allowed; nil: no wait. Empty when Redis cannot be
    ///   reached.
    public func charge(_ counts: [(kind: RateKind, user: UUID128, count: Int)], always: Bool) -> [Int?] {
        let limited = counts.filter { limits[$0.kind] > 0 }
        guard !limited.isEmpty, monotonicMilliseconds() >= askAgainAt else { return [] }
        do {
            let answers = try connection.pipeline(limited.map { command($0.kind, $0.user, $0.count, always) })
            var waits = answers.map { answer -> Int? in
                guard case .int(let wait) = answer, wait > 0 else { return nil }
                return Int(wait)
            }[...]
            return counts.map { limits[$0.kind] > 0 ? waits.popFirst() ?? nil : nil }
        } catch {
            askAgainAt = monotonicMilliseconds() + Self.pause.milliseconds
            log.warning("rates are not limited while Redis is away", metadata: ["error": "\(error)"])
            return []
        }
    }

    private func command(_ kind: RateKind, _ user: UUID128, _ count: Int, _ always: Bool) -> [RedisWord] {
        let weight = Double(count * Int(Self.window.milliseconds)) / Double(limits[kind])
        return [
            "EVAL", Self.script, "1", RedisKey.rate(kind, user), "\(weight)", "\(Self.window.milliseconds)",
            always ? "1" : "0",
        ]
        .words
    }

    /// Uses the clock of Redis, which all programs share. Lua prints a number with 14 digits by default: too few.
    private static let script = """
        local t = redis.call('TIME')
        local now = t[1] * 1000 + t[2] / 1000
        local empty = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
        local weight, window, always = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
        local wait = math.max(0, math.ceil(empty + weight - window - now))
        if wait > 0 and not always then return wait end
        empty = math.min(empty + weight, now + 2 * window)
        redis.call('SET', KEYS[1], string.format('%.3f', empty), 'PX', math.ceil(empty - now) + 1)
        return wait
        """
}
