import ChatCore
import ChatProcess
import Logging

/// The side that takes over, before it serves: it subscribes to everything that the predecessor hears, keeps what
/// comes behind the marker, adopts the sockets, and goes on with what it kept.
struct Successor {
    private static let subscribeLimit: Int64 = 10_000
    private static let stateLimit: Int64 = 20_000
    private static let releaseLimit: Int32 = 10_000
    /// Messages kept between the marker and the state; past it everything is fetched from the logs.
    private static let kept = 100_000

    let channel: HandoffChannel
    let feed: RedisFeed
    let log: Logger

    /// Throws: nothing was taken over. This process must end then: it bears the predecessor's name, and the predecessor
    /// serves on.
    func takeOver(_ hub: Hub, channels: [String]) throws {
        for name in channels { feed.subscribe(name) }
        do {
            guard subscribeAll() else { throw HandoffChannel.Failure.tookTooLong }
            try channel.send(.init(tag: .subscribed))
            let (bytes, descriptors, kept) = try receive()
            hub.beginTick(milliseconds: monotonicMilliseconds(), unixMilliseconds: systemClock())
            try hub.adopt(bytes, descriptors: descriptors)
            try channel.send(.init(tag: .adopted))
            guard try channel.receive(milliseconds: Self.releaseLimit).tag == .released else {
                throw HandoffChannel.Failure.closed
            }
            if let kept { kept.forEach { hub.handle($0) } } else { hub.handle(.restored) }
            dropUnused(hub, channels)
            hub.endTick()
            log.notice("all sockets are taken over", metadata: ["sockets": "\(descriptors.count)"])
        } catch {
            log.error("nothing is taken over", metadata: ["error": "\(error)"])
            throw error
        }
    }

    private func subscribeAll() -> Bool {
        let deadline = monotonicMilliseconds() + Self.subscribeLimit
        var isRestored = false
        while !isRestored, monotonicMilliseconds() < deadline {
            let now = monotonicMilliseconds()
            feed.keepUp(now: now) { if case .restored = $0 { isRestored = true } }
            feed.endTick(now: now) { _ in }
            feed.wait(milliseconds: 20)
            while feed.read(now: now, { if case .restored = $0 { isRestored = true } }) {}
        }
        return isRestored
    }

    /// The state, and what the feed said behind the marker (nil: unknown, because the feed broke or said too much).
    private func receive() throws -> ([UInt8], [Int32], [FeedEvent]?) {
        var (bytes, descriptors): ([UInt8], [Int32]) = ([], [])
        var kept: [FeedEvent] = []
        var (hasMarker, isWhole) = (false, true)
        let deadline = monotonicMilliseconds() + Self.stateLimit
        while monotonicMilliseconds() < deadline {
            let now = monotonicMilliseconds()
            while feed.read(
                now: now,
                { event in
                    switch event {
                    case .lost: isWhole = false
                    case .message(_, let payload) where !hasMarker: hasMarker = Self.isMarker(payload)
                    default: if hasMarker { kept.append(event) }
                    }
                    if kept.count > Self.kept { (isWhole, kept) = (false, []) }
                })
            {}
            do throws(HandoffChannel.Failure) {
                let packet = try channel.receive(milliseconds: 5)
                if packet.tag == .end { return (bytes, descriptors, hasMarker && isWhole ? kept : nil) }
                bytes += packet.bytes
                descriptors += packet.descriptors
            } catch .tookTooLong {} catch { throw error }
        }
        throw HandoffChannel.Failure.tookTooLong
    }

    private static func isMarker(_ payload: [UInt8]) -> Bool { payload == RelayAnswer(socket: 0, frame: []).encode() }

    /// Rooms and users that went while we subscribed.
    private func dropUnused(_ hub: Hub, _ channels: [String]) {
        for name in channels {
            switch ChannelName(name) {
            case .room(let id): if hub.rooms[id] == nil { feed.unsubscribe(name) }
            case .user(let id): if hub.users.index(id) == nil { feed.unsubscribe(name) }
            case nil: break
            }
        }
    }
}
