import ChatCore
import ChatProcess
import Glibc
import Logging

/// The new worker in a hand-over, before it serves. It subscribes to every channel of the predecessor and receives
/// copies of its sockets while the predecessor still serves them. During the pause it keeps the events after the
/// marker, adopts the state, and then handles the kept events.
struct Successor {
    private static let subscribeLimit: Duration = .seconds(10)
    private static let socketsLimit: Duration = .seconds(5)
    private static let stateLimit: Duration = .seconds(20)
    private static let releaseLimit: Duration = .seconds(10)
    /// How long after the state the marker may arrive.
    private static let markerLimit: Duration = .milliseconds(200)
    /// Events kept after the marker; above this everything is fetched from the logs.
    private static let kept = 100_000

    private let inherited: Inherited
    private let channel: HandoffChannel
    private let feed: any RelayFeed
    private let log: Logger

    init(_ inherited: Inherited, feed: any RelayFeed, log: Logger) {
        (self.inherited, channel, self.feed, self.log) = (inherited, inherited.channel, feed, log)
    }

    /// Throws when nothing was taken over. This process must end then: it has the predecessor's relay id, and the
    /// predecessor keeps serving.
    func takeOver(_ hub: Hub) throws {
        do {
            guard subscribeAll() else { throw HandoffChannel.Failure.tookTooLong }
            let prepared = try prepareSockets(of: hub)
            let begun = monotonicMilliseconds()
            try channel.send(.init(tag: .subscribed))
            let (bytes, descriptors, kept) = try receive()
            hub.beginTick(milliseconds: monotonicMilliseconds(), unixMilliseconds: systemClock())
            let heard = Set(inherited.users + inherited.rooms)
            try hub.adopt(bytes, descriptors: descriptors, prepared: prepared, heard: heard)
            try channel.send(.init(tag: .adopted))
            guard try channel.receive(within: Self.releaseLimit).tag == .released else {
                throw HandoffChannel.Failure.closed
            }
            kept?.forEach { hub.handle($0) }
            // The marker divides its own channel alone where channels have no common order.
            if kept == nil || !feed.hasOneOrder { hub.handle(.restored) }
            hub.endTick()
            // The pause was the same for all sockets.
            log.notice(
                "all sockets are taken over",
                metadata: [
                    "sockets": "\(hub.sockets.connections.count)", "pause ms": "\(monotonicMilliseconds() - begun)",
                ])
            dropUnused(hub)
        } catch {
            log.error("nothing is taken over", metadata: ["error": "\(error)"])
            throw error
        }
    }

    private func subscribeAll() -> Bool {
        inherited.users.forEach { feed.subscribe(BusChannel.user($0)) }
        inherited.rooms.forEach { feed.subscribe(BusChannel.room($0)) }
        let deadline = Deadline(in: Self.subscribeLimit)
        while !feed.isWhole, !deadline.isOver {
            let now = monotonicMilliseconds()
            feed.keepUp(now: now) { _ in }
            feed.endTick(now: now) { _ in }
            feed.wait(milliseconds: 20)
            while feed.read(now: now, { _ in }) {}
        }
        return feed.isWhole
    }

    /// - Returns: their slots here, by the predecessor's handles.
    private func prepareSockets(of hub: Hub) throws -> [UInt64: UInt32] {
        var prepared: [UInt64: UInt32] = [:]
        var next: UInt32 = 0
        while true {
            var question = StateWriter()
            question.put(next)
            try channel.send(.init(tag: .sockets, bytes: question.bytes))
            let packet = try channel.receive(within: Self.socketsLimit)
            guard packet.tag == .sockets else { throw HandoffChannel.Failure.closed }
            var answer = StateReader(packet.bytes)
            let handles = try answer.takeArray(UInt64.self)
            guard let last = handles.last else { return prepared }
            for (handle, descriptor) in zip(handles, packet.descriptors) {
                guard let slot = hub.sockets.prepare(descriptor) else { throw HandoffChannel.Failure.system(ENFILE) }
                prepared[handle] = slot
            }
            next = UInt32(truncatingIfNeeded: last) + 1
        }
    }

    /// Receives the state and the events after the marker (nil: unknown, because the feed was lost or there were too
    /// many).
    private func receive() throws -> ([UInt8], [Int32], [FeedEvent]?) {
        var (bytes, descriptors): ([UInt8], [Int32]) = ([], [])
        var events = EventsBehindMarker(
            limit: Self.kept, only: feed.hasOneOrder ? nil : BusChannel.relay(inherited.relayID))
        let deadline = Deadline(in: Self.stateLimit)
        var isEnd = false
        while !isEnd {
            guard !deadline.isOver else { throw HandoffChannel.Failure.tookTooLong }
            read(into: &events)
            do throws(HandoffChannel.Failure) {
                let packet = try channel.receive(within: .milliseconds(5))
                isEnd = packet.tag == .end
                bytes += packet.bytes
                descriptors += packet.descriptors
            } catch .tookTooLong {} catch { throw error }
        }
        let markerDeadline = Deadline(in: Self.markerLimit)
        repeat { read(into: &events) } while events.awaitsMarker && waitForFeed(until: markerDeadline)
        return (bytes, descriptors, events.all)
    }

    private func read(into events: inout EventsBehindMarker) {
        while feed.read(now: monotonicMilliseconds(), { events.take($0) }) {}
    }

    private func waitForFeed(until deadline: Deadline) -> Bool {
        feed.wait(milliseconds: 5)
        return !deadline.isOver
    }

    /// Unsubscribes from rooms and users that disappeared meanwhile.
    private func dropUnused(_ hub: Hub) {
        for id in inherited.rooms where hub.table[id] == nil { feed.unsubscribe(BusChannel.room(id)) }
        for id in inherited.users where hub.users.index(id) == nil { feed.unsubscribe(BusChannel.user(id)) }
    }
}

/// The events that follow the marker.
private struct EventsBehindMarker {
    private static let marker = RelayAnswer(socket: 0, frame: []).encode()
    private let limit: Int
    /// The only channel that it divides; nil: all.
    private let channel: String?
    private var kept: [FeedEvent] = []
    private var hasMarker = false
    private var isWhole = true

    init(limit: Int, only channel: String?) { (self.limit, self.channel) = (limit, channel) }

    var awaitsMarker: Bool { !hasMarker && isWhole }
    /// Nil when some of them are unknown.
    var all: [FeedEvent]? { hasMarker && isWhole ? kept : nil }

    mutating func take(_ event: FeedEvent) {
        switch event {
        case .lost: isWhole = false
        case .message(_, let payload) where !hasMarker: hasMarker = payload == Self.marker
        case .message(let channel, _) where self.channel != nil && channel != self.channel: break
        default: if hasMarker { kept.append(event) }
        }
        if kept.count > limit { (isWhole, kept) = (false, []) }
    }
}
