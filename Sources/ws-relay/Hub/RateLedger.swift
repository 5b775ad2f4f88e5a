import ChatCore

/// What users do here between two looks at the counts that all programs share, and who has been found above the limit.
/// So a user may pass the limit by what one second brings, and no request waits for Redis.
struct RateLedger {
    private struct Key: Hashable {
        var user: UUID128
        var kind: RateKind
    }

    enum Verdict: Equatable {
        case pass
        /// Above the limit: milliseconds until the next one is taken.
        case refuse(Int)
        /// The client goes on although it is refused: it is not listening.
        case close(Int)
    }

    /// Refusals during one closure that a client may ignore.
    private static let patience = 1000

    private var counts: [Key: Int] = [:]
    private var closed: [Key: (until: Int64, refused: Int)] = [:]

    /// Counts one, unless the user is above the limit. Both tables hold only users who came here in the last minutes.
    mutating func take(_ kind: RateKind, _ user: UUID128, now: Int64) -> Verdict {
        let key = Key(user: user, kind: kind)
        guard let (until, refused) = closed[key], until > now else {
            counts[key, default: 0] += 1
            return .pass
        }
        closed[key]?.refused += 1
        return refused < Self.patience ? .refuse(Int(until - now)) : .close(Int(until - now))
    }

    /// The shared count says that this user has to wait.
    mutating func close(_ kind: RateKind, _ user: UUID128, until: Int64) {
        let key = Key(user: user, kind: kind)
        closed[key] = (until, closed[key]?.refused ?? 0)
    }

    /// What was done since the last call, to be counted.
    mutating func takeCounts(now: Int64) -> [RateCount] {
        closed = closed.filter { $0.value.until > now }
        // The room of a busy second is not kept for the quiet ones.
        defer { counts = [:] }
        return counts.map { RateCount(user: $0.key.user, kind: $0.key.kind, count: $0.value) }
    }
}

struct RateCount: Sendable, Equatable {
    var user: UUID128
    var kind: RateKind
    var count: Int
}
