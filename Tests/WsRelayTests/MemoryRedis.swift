import ChatAdapters

@testable import ws_relay

/// Redis, as far as a subscriber sees it: it answers each subscription in order when it is told to.
final class MemoryRedis: FeedConnection {
    /// Its answer to a ping.
    var pong = RedisSubscription.SubscriptionEvent.pong
    var isAway = false
    var isSilent = false
    /// Everything that was sent on all connections.
    var sent: [String] = []
    var arriving: [RedisSubscription.SubscriptionEvent] = [] {
        didSet { news() }
    }
    var isBroken = false {
        didSet { news() }
    }
    /// So many reads find this once more: publishers who are faster than the relay.
    var flood: (event: RedisSubscription.SubscriptionEvent, reads: Int)? {
        didSet { news() }
    }
    var timesRead = 0
    var timesConnected = 0
    var timesAsked = 0
    /// Readable while something arrives; each connection has another one.
    private var socket: EventCounter?
    private var isConnected: Bool { socket != nil }

    var fileDescriptor: Int32 { socket?.descriptor ?? -1 }
    private(set) var wantsWrite = false

    private func news() {
        if arriving.isEmpty, flood == nil, !isBroken { socket?.clear() } else { socket?.wake() }
    }

    func connect(timeout: Int) throws(RedisError) {
        timesAsked += 1
        guard !isAway else { throw RedisError(description: "away", isConnection: true) }
        (socket, isBroken, arriving) = (EventCounter(), false, [])
        timesConnected += 1
    }

    func close() { (socket, arriving, wantsWrite) = (nil, [], false) }

    private func send(_ line: String, _ answers: [RedisSubscription.SubscriptionEvent]) {
        sent.append(line)
        wantsWrite = true
        if !isSilent { arriving += answers }
    }

    func subscribe(_ channels: [String]) {
        send("+ " + channels.sorted().joined(separator: " "), channels.map { .subscribed(channel: $0) })
    }
    func unsubscribe(_ channels: [String]) {
        send("- " + channels.sorted().joined(separator: " "), channels.map { .unsubscribed(channel: $0) })
    }
    func ping() { send("ping", [pong]) }

    func flush() throws(RedisError) {
        wantsWrite = false
        guard isConnected else { return }
        if isBroken { throw lost() }
    }

    func readAvailable(_ handle: (RedisSubscription.SubscriptionEvent) -> Void) throws(RedisError) -> Bool {
        guard isConnected else { return false }
        if isBroken { throw lost() }
        timesRead += 1
        var events = arriving
        arriving = []
        if let (event, reads) = flood {
            events.append(event)
            flood = reads > 1 ? (event, reads - 1) : nil
        }
        events.forEach(handle)
        return !events.isEmpty
    }

    private func lost() -> RedisError {
        close()
        return RedisError(description: "lost", isConnection: true)
    }
}
