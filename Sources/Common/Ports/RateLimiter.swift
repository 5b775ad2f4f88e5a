/// Limits how often each user may do something, counted over all programs.
public protocol RateLimiter: AnyObject {
    /// Counts one and returns nil, or counts nothing and returns the milliseconds to wait.
    ///
    /// Guarantee: when the counters cannot be reached, everything is allowed.
    func take(_ kind: RateKind, _ user: UUID128) -> Int?

    /// Adds to the counter of an allowed action that cost more than one.
    func add(_ count: Int, _ kind: RateKind, _ user: UUID128)

    /// Counts nothing. Returns the milliseconds to wait; nil: another one is allowed.
    func wait(_ kind: RateKind, _ user: UUID128) -> Int?
}

extension RateLimiter {
    public func add(_ count: Int, _ kind: RateKind, _ user: UUID128) {}
    public func wait(_ kind: RateKind, _ user: UUID128) -> Int? { nil }
}

extension Refusal {
    public static func tooMany(_ kind: RateKind, milliseconds: Int) -> Refusal {
        let seconds = (milliseconds + 999) / 1000
        return Refusal(
            .rateLimited, "too many \(kind.plural); try again in \(seconds) s", retryAfterMilliseconds: milliseconds)
    }
}
