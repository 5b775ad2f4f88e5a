/// Which channels are wanted and which are confirmed. Redis answers in order, so a channel is confirmed when the
/// answer to the last subscription sent for it is in: not when an earlier one is.
struct ChannelBook {
    /// Subscriptions sent and not answered.
    private var open: [String: Int] = [:]
    private(set) var wanted: Set<String> = []
    /// Of those that a new connection subscribes again, the ones not confirmed yet. One that is given up meanwhile is
    /// answered all the same, so the set always empties.
    private var restoring: Set<String> = []

    /// False when it is wanted already.
    mutating func subscribe(_ channel: String) -> Bool {
        guard wanted.insert(channel).inserted else { return false }
        open[channel, default: 0] += 1
        return true
    }

    mutating func unsubscribe(_ channel: String) -> Bool { wanted.remove(channel) != nil }

    enum Answer: Equatable {
        /// An answer to a subscription that was given up, or is not the last.
        case stale
        case confirmed
        /// The last one missing after a new connection.
        case confirmedAll
    }

    mutating func answered(_ channel: String) -> Answer {
        let left = (open[channel] ?? 1) - 1
        open[channel] = left > 0 ? left : nil
        guard left <= 0 else { return .stale }
        if restoring.remove(channel) != nil { return restoring.isEmpty ? .confirmedAll : .stale }
        return wanted.contains(channel) ? .confirmed : .stale
    }

    /// A new connection: what has to be subscribed on it.
    mutating func reconnected() -> [String] {
        open = [:]
        for channel in wanted { open[channel] = 1 }
        restoring = wanted
        return Array(wanted)
    }
}
