import ChatCore

/// Which channels are wanted and which are confirmed. Redis answers in order, so a channel is confirmed when the
/// answer to the last subscription sent for it is in: not when an earlier one is.
struct ChannelBook {
    /// Subscriptions sent and not answered.
    private var open: [Key: Int] = [:]
    private var wanted: Set<Key> = []
    /// Of those that a new connection subscribes again, the ones not confirmed yet. One that is given up meanwhile is
    /// answered all the same, so the set always empties.
    private var restoring: Set<Key> = []

    /// A name in fewer bytes: most sockets have a channel of their own.
    private enum Key: Hashable {
        case room(UUID128)
        case user(UUID128)
        case other(String)

        init(_ channel: String) {
            switch ChannelName(channel) {
            case .room(let id): self = .room(id)
            case .user(let id): self = .user(id)
            case nil: self = .other(channel)
            }
        }

        var channel: String {
            switch self {
            case .room(let id): RedisKey.roomChannel(id)
            case .user(let id): RedisKey.userChannel(id)
            case .other(let name): name
            }
        }
    }

    /// False when it is wanted already.
    mutating func subscribe(_ channel: String) -> Bool {
        let channel = Key(channel)
        guard wanted.insert(channel).inserted else { return false }
        open[channel, default: 0] += 1
        return true
    }

    mutating func unsubscribe(_ channel: String) -> Bool { wanted.remove(Key(channel)) != nil }

    enum Answer: Equatable {
        /// An answer to a subscription that was given up, or is not the last.
        case stale
        case confirmed
        /// The last one missing after a new connection.
        case confirmedAll
    }

    mutating func answered(_ channel: String) -> Answer {
        let channel = Key(channel)
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
        return wanted.map(\.channel)
    }
}
