import ChatCore

/// Counts the users' actions here between two updates of the shared counters, and remembers users above a limit. So a
/// user may exceed the limit by one second's worth, and no request waits for Redis.
struct RateLedger {
    private struct Key: Hashable {
        var user: UUID128
        var kind: RateKind
    }

    enum Decision: Equatable {
        case pass
        /// Above the limit: milliseconds until the next one is allowed.
        case refuse(Int)
        /// The client continues although it is refused: it ignores the refusals.
        case close(Int)
    }

    /// Refusals that a client may ignore before it is closed.
    private static let maxIgnoredRefusals = 1000

    private var counts: [Key: Int] = [:]
    private var closed: [Key: (until: Int64, refused: Int)] = [:]

    /// Counts one, unless the user is above the limit. Both tables contain only users of the last minutes.
    mutating func take(_ kind: RateKind, _ user: UUID128, now: Int64) -> Decision {
        let key = Key(user: user, kind: kind)
        guard let (until, refused) = closed[key], until > now else {
            counts[key, default: 0] += 1
            return .pass
        }
        closed[key]?.refused += 1
        return refused < Self.maxIgnoredRefusals ? .refuse(Int(until - now)) : .close(Int(until - now))
    }

    /// Makes this user wait, because the shared counter is above the limit.
    mutating func close(_ kind: RateKind, _ user: UUID128, until: Int64) {
        let key = Key(user: user, kind: kind)
        closed[key] = (until, closed[key]?.refused ?? 0)
    }

    /// The counts since the last call, for the shared counters.
    mutating func takeCounts(now: Int64) -> [RateCount] {
        closed = closed.filter { $0.value.until > now }
        // Releases the memory of a busy second.
        defer { counts = [:] }
        return counts.map { RateCount(user: $0.key.user, kind: $0.key.kind, count: $0.value) }
    }
}

struct RateCount: Sendable, Equatable {
    var user: UUID128
    var kind: RateKind
    var count: Int
}
