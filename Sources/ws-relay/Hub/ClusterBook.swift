import ChatAdapters
import ChatCore

/// Which channel is subscribed at which node of a cluster, and what must be sent to whom. It does no input or output.
///
/// A node answers in order. It also says, unasked, that a channel is unsubscribed: its slot has moved. A channel whose
/// place is unknown is homeless until the next map. A channel that a new map gives to another node is subscribed there
/// first: the former node may still take publications, and keeps its subscription for a moment.
struct ClusterBook {
    typealias Host = ServerURL.Host
    private typealias Key = ChannelBook.Key

    /// Milliseconds for which a former node keeps a subscription.
    private static let farewell: Int64 = 2000

    private struct Channel {
        let slot: Int
        var host: Host?
        var isConfirmed = false
        /// Messages before the next confirmation are missing: it was confirmed before, or wanted before there was any
        /// connection.
        var isAgain: Bool
    }

    private struct Node {
        var isOpen = false
        var channels: Set<Key> = []
        /// Commands that were sent and are not answered.
        var sent = FIFO<(isSubscription: Bool, key: Key)>()
        /// Unanswered subscriptions.
        var open: [Key: Int] = [:]
        /// Subscriptions of former channels, and when they end.
        var leaving: [Key: Int64] = [:]
    }

    private(set) var map: ClusterMap?
    private var channels: [Key: Channel] = [:]
    private var slots: [Int: Set<Key>] = [:]
    private var nodes: [Host: Node] = [:]
    private var homeless: Set<Key> = []
    private var confirmed = 0
    private var outgoing: [(host: Host, isSubscription: Bool, channel: String)] = []

    /// Every channel is subscribed.
    var isWhole: Bool { map != nil && confirmed == channels.count }
    /// A newer map is needed.
    var needsMap: Bool { map == nil || !homeless.isEmpty }
    /// The nodes with channels.
    var wanted: [Host] { nodes.filter { !$0.value.channels.isEmpty }.map(\.key) }

    /// The commands since the last call, in order.
    mutating func takeOutgoing() -> [(host: Host, isSubscription: Bool, channel: String)] {
        defer { outgoing = [] }
        return outgoing
    }

    mutating func subscribe(_ channel: String) {
        let key = Key(channel)
        guard channels[key] == nil else { return }
        let slot = ClusterMap.slot(of: channel)
        channels[key] = Channel(slot: slot, isAgain: map == nil)
        slots[slot, default: []].insert(key)
        place(key)
    }

    mutating func unsubscribe(_ channel: String) {
        let key = Key(channel)
        guard let known = channels.removeValue(forKey: key) else { return }
        if known.isConfirmed { confirmed -= 1 }
        homeless.remove(key)
        slots[known.slot]?.remove(key)
        if slots[known.slot]?.isEmpty == true { slots[known.slot] = nil }
        guard let host = known.host else { return }
        nodes[host]?.channels.remove(key)
        if nodes[host]?.isOpen == true { send(false, key, to: host) }
    }

    private mutating func place(_ key: Key) {
        guard let slot = channels[key]?.slot else { return }
        guard let host = map?[slot] else {
            homeless.insert(key)
            return
        }
        channels[key]?.host = host
        nodes[host, default: Node()].channels.insert(key)
        nodes[host]?.leaving[key] = nil
        if nodes[host]?.isOpen == true { send(true, key, to: host) }
    }

    private mutating func send(_ isSubscription: Bool, _ key: Key, to host: Host) {
        nodes[host]?.sent.append((isSubscription, key))
        if isSubscription { nodes[host]?.open[key, default: 0] += 1 }
        outgoing.append((host, isSubscription, key.channel))
    }

    /// Messages are missing from now on.
    private mutating func forget(_ key: Key) {
        guard let known = channels[key] else { return }
        if known.isConfirmed { confirmed -= 1 }
        channels[key]?.isAgain = known.isAgain || known.isConfirmed
        channels[key]?.isConfirmed = false
    }

    // MARK: Nodes

    mutating func mapped(_ map: ClusterMap, now: Int64) {
        let old = self.map
        self.map = map
        if old != map {
            for (slot, keys) in slots where old?[slot] != map[slot] { keys.forEach { move($0, now) } }
        }
        let waiting = homeless
        homeless = []
        waiting.forEach { place($0) }
    }

    private mutating func move(_ key: Key, _ now: Int64) {
        guard let host = channels[key]?.host, let slot = channels[key]?.slot, host != map?[slot] else { return }
        leave(host, key, until: now + Self.farewell)
        place(key)
    }

    /// - Parameter until: nil: the node has ended the subscription.
    private mutating func leave(_ host: Host, _ key: Key, until: Int64?) {
        nodes[host]?.channels.remove(key)
        if nodes[host]?.isOpen == true { nodes[host]?.leaving[key] = until }
        channels[key]?.host = nil
        forget(key)
    }

    mutating func opened(_ host: Host) {
        nodes[host, default: Node()].isOpen = true
        for key in nodes[host]!.channels { send(true, key, to: host) }
    }

    /// Its connection is closed.
    mutating func lost(_ host: Host) {
        guard let node = nodes[host] else { return }
        node.channels.forEach { forget($0) }
        var empty = Node()
        empty.channels = node.channels
        nodes[host] = node.channels.isEmpty ? nil : empty
        outgoing.removeAll { $0.host == host }
    }

    /// Ends subscriptions at former nodes.
    mutating func sayFarewell(now: Int64) {
        for (host, node) in nodes where !node.leaving.isEmpty {
            for (key, until) in node.leaving where now >= until {
                nodes[host]?.leaving[key] = nil
                send(false, key, to: host)
            }
        }
    }

    // MARK: Answers

    enum Answer: Equatable {
        case nothing
        case subscribed
        /// Subscribed again: messages published in between are missing.
        case regained
    }

    mutating func subscribed(_ channel: String, at host: Host) -> Answer {
        let key = Key(channel)
        guard answered(true, key, at: host), channels[key]?.host == host, channels[key]?.isConfirmed == false else {
            return .nothing
        }
        defer { channels[key]?.isAgain = true }
        channels[key]?.isConfirmed = true
        confirmed += 1
        return channels[key]?.isAgain == true ? .regained : .subscribed
    }

    mutating func unsubscribed(_ channel: String, at host: Host) {
        let key = Key(channel)
        if let first = nodes[host]?.sent.first, !first.isSubscription, first.key == key {
            _ = nodes[host]?.sent.popFirst()
            return
        }
        nodes[host]?.leaving[key] = nil
        if channels[key]?.host == host { lostHome(key, host) }
    }

    /// The node has refused the first unanswered command.
    mutating func refused(at host: Host) {
        guard let first = nodes[host]?.sent.first else { return }
        guard first.isSubscription else {
            _ = nodes[host]?.sent.popFirst()
            return
        }
        if answered(true, first.key, at: host), channels[first.key]?.host == host { lostHome(first.key, host) }
    }

    private mutating func lostHome(_ key: Key, _ host: Host) {
        leave(host, key, until: nil)
        homeless.insert(key)
    }

    /// Whether it was the answer to the last command of its kind for this channel.
    private mutating func answered(_ isSubscription: Bool, _ key: Key, at host: Host) -> Bool {
        guard let first = nodes[host]?.sent.first, first.isSubscription == isSubscription, first.key == key else {
            return false
        }
        _ = nodes[host]?.sent.popFirst()
        let left = (nodes[host]?.open[key] ?? 1) - 1
        nodes[host]?.open[key] = left > 0 ? left : nil
        return left <= 0
    }
}

/// A queue whose first element is taken in constant time.
struct FIFO<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var first: Element? { head < elements.count ? elements[head] : nil }

    mutating func append(_ element: Element) { elements.append(element) }

    mutating func popFirst() -> Element? {
        guard head < elements.count else { return nil }
        defer {
            elements[head] = nil
            head += 1
            if head == elements.count { (elements, head) = ([], 0) }
        }
        return elements[head]
    }
}
