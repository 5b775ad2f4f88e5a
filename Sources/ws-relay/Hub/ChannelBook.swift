import ChatCore

/// Tracks which channels are wanted and which are confirmed. Redis answers in order, so a channel is confirmed by the
/// answer to the last subscription sent for it, not by an earlier one.
struct ChannelBook {
    /// Unanswered subscriptions.
    private var open: [Key: Int] = [:]
    private var wanted: Set<Key> = []
    /// Channels to restore after a reconnection that are not confirmed yet. A cancelled subscription is answered as
    /// well, so the set always empties.
    private var restoring: Set<Key> = []

    /// A channel's name in fewer bytes: most sockets have a channel of their own.
    enum Key: Hashable {
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
            case .room(let id): BusChannel.room(id)
            case .user(let id): BusChannel.user(id)
            case .other(let name): name
            }
        }
    }

    /// False when it is already wanted.
    mutating func subscribe(_ channel: String) -> Bool {
        let channel = Key(channel)
        guard wanted.insert(channel).inserted else { return false }
        open[channel, default: 0] += 1
        return true
    }

    mutating func unsubscribe(_ channel: String) -> Bool { wanted.remove(Key(channel)) != nil }

    enum Answer: Equatable {
        /// The answer belongs to a cancelled subscription, or is not the last one.
        case stale
        case confirmed
        /// The last one missing after a reconnection.
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

    /// Called after a reconnection: returns the channels to subscribe to.
    mutating func reconnected() -> [String] {
        open = [:]
        for channel in wanted { open[channel] = 1 }
        restoring = wanted
        return wanted.map(\.channel)
    }
}
