import ChatCore
import Glibc

/// A subscription to channels for an event loop. It never blocks, except for the connect itself, which has a time
/// limit.
public final class RedisSubscription {
    public enum SubscriptionEvent: Sendable {
        case message(channel: String, payload: [UInt8])
        case subscribed(channel: String)
        /// A node of a cluster also says it, unasked, of the channels of a slot that it has given away.
        case unsubscribed(channel: String)
        /// Redis answered a ping: it is alive and has processed everything sent before.
        case pong
        /// Redis refused a command.
        case refused(String)
    }

    private let servers: RedisServers
    /// A node of a cluster; nil: one Redis has all channels.
    private let shard: ServerURL.Host?
    private var link: RedisLink?

    public init(url: String) throws(RedisError) { (servers, shard) = (try parse(url), nil) }

    init(_ servers: RedisServers, shard: ServerURL.Host) { (self.servers, self.shard) = (servers, shard) }

    /// -1 while not connected.
    public var fileDescriptor: Int32 { link?.descriptor ?? -1 }
    /// Unsent bytes remain: call ``flush()`` when the descriptor is writable.
    public var wantsWrite: Bool { link?.hasUnsent ?? false }

    /// - Parameter timeout: milliseconds that connecting may take.
    public func connect(timeout: Int) throws(RedisError) {
        close()
        if let shard {
            link = try RedisLink.open(shard, of: servers, until: monotonicMilliseconds() + Int64(timeout))
        } else {
            link = try RedisLink.open(servers, timeout: timeout)
        }
    }

    public func close() { link = nil }

    public func subscribe(_ channels: [String]) { send("SUBSCRIBE", channels) }
    public func unsubscribe(_ channels: [String]) { send("UNSUBSCRIBE", channels) }

    /// In a cluster one command may name channels of one slot only.
    private func send(_ name: String, _ channels: [String]) {
        guard shard != nil else { return send([name] + channels) }
        for channel in channels { send(["S" + name, channel]) }
    }

    public func ping() { send(["PING"]) }

    private func send(_ words: [String]) { link?.append(words.map { RedisWord(word: $0) }) }

    /// Writes as much as the socket accepts.
    public func flush() throws(RedisError) {
        guard let link else { return }
        do throws(RedisError) { try link.flush() } catch {
            lose(link)
            throw error
        }
    }

    /// Reads what has arrived (up to 16 KiB a call) and passes each event to `handle`.
    ///
    /// - Returns: false when nothing was there.
    public func readAvailable(_ handle: (SubscriptionEvent) -> Void) throws(RedisError) -> Bool {
        guard let link else { return false }
        var some = false
        do throws(RedisError) {
            try link.receive()
            while let event = try link.withReply({ reply in SubscriptionEvent(reply) }) {
                some = true
                if let event { handle(event) }
            }
            return some
        } catch {
            lose(link)
            throw error
        }
    }

    private func lose(_ link: RedisLink) {
        link.distrust()
        close()
    }
}
