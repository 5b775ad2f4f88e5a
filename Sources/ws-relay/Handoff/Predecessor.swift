import ChatCore
import ChatProcess
import Glibc
import Logging

/// The side that goes. It serves until the successor hears everything that it hears itself and has a copy of every
/// socket; then it stops reading, lets what is under way come to its end, and draws a line through the feed: a marker on
/// the relay's own channel.
/// Redis tells all subscribers everything in one order, so what comes before the marker is still ours, and what comes
/// after it the successor has kept. The state as of the marker is handed over with the sockets.
final class Predecessor {
    /// Milliseconds for the commands to reach the broker, for the marker to come back, for the successor to adopt.
    private static let drainLimit: Int64 = 1000
    private static let markerLimit: Int64 = 1000
    private let adoptLimit: Int32

    let channel: HandoffChannel
    let hub: Hub
    let feed: any ReadableFeed
    let commands: any DrainedOutlet
    let markers: any MarkerOutlet
    /// Takes what the other threads have answered.
    let takeAnswers: () -> Void
    let log: Logger
    /// Tickets of the sockets that went ahead.
    private var shown: Set<UInt64> = []

    init(
        adoptLimit: Int32 = 10_000, channel: HandoffChannel, hub: Hub, feed: any ReadableFeed,
        commands: any DrainedOutlet, markers: any MarkerOutlet, takeAnswers: @escaping () -> Void, log: Logger
    ) {
        self.adoptLimit = adoptLimit
        self.channel = channel
        self.hub = hub
        self.feed = feed
        self.commands = commands
        self.markers = markers
        self.takeAnswers = takeAnswers
        self.log = log
    }

    enum Outcome {
        /// It goes on as before: the handover has not come that far, or has failed.
        case serving
        case handedOver
        /// The successor is gone: nobody is to be waited for.
        case alone
    }

    /// A packet of the successor is there.
    func hear() -> Outcome {
        do throws(HandoffChannel.Failure) {
            let packet = try channel.receive(milliseconds: 0)
            switch packet.tag {
            case .hello:
                guard packet.bytes == HandoffChannel.version else {
                    log.error("the successor speaks another version: this relay goes on; stop and start to change over")
                    try channel.send(.init(tag: .refused))
                    return .serving
                }
                try channel.send(.prologue, hub.prologue())
                return .serving
            case .sockets:
                try show(packet.bytes)
                return .serving
            case .subscribed: return try handOverOrGoOn()
            default: return .serving
            }
        } catch .tookTooLong {
            return .serving
        } catch {
            log.warning("the successor is gone: this relay goes on", metadata: ["error": "\(error)"])
            return .alone
        }
    }

    /// One packet for each question, so that clients are served in between.
    private func show(_ question: [UInt8]) throws(HandoffChannel.Failure) {
        var reader = StateReader(question)
        guard let first = try? reader.take(UInt32.self) else { throw .system(EPROTO) }
        let (tickets, descriptors) = hub.sockets(from: first, most: HandoffChannel.packetDescriptors)
        var answer = StateWriter()
        answer.put(array: tickets)
        try channel.send(.init(tag: .sockets, bytes: answer.bytes, descriptors: descriptors))
        shown.formUnion(tickets)
    }

    private func handOverOrGoOn() throws(HandoffChannel.Failure) -> Outcome {
        do throws(HandoffChannel.Failure) {
            return try handOver()
        } catch {
            // What came behind the marker was left to the successor.
            hub.handle(.restored)
            // Also when it is only slow: it must hear that it has been given up.
            throw .closed
        }
    }

    private func handOver() throws(HandoffChannel.Failure) -> Outcome {
        let begun = monotonicMilliseconds()
        finishWhatIsUnderWay(until: begun + Self.drainLimit)
        hearUpToTheMarker()
        hub.endTick()
        let (bytes, descriptors) = hub.export(shown: shown)
        try channel.send(.state, bytes, descriptors: descriptors)
        let packet = try channel.receive(milliseconds: adoptLimit)
        guard packet.tag == .adopted else { throw .closed }
        // From here on they are the successor's.
        try channel.send(.init(tag: .released))
        let pause = monotonicMilliseconds() - begun
        hub.letGo()
        log.notice(
            "all sockets are handed over",
            metadata: [
                "ahead": "\(shown.count)", "new": "\(descriptors.count)", "bytes": "\(bytes.count)", "ms": "\(pause)",
            ])
        return .handedOver
    }

    /// Commands must be with the broker before the successor sends later ones of the same socket.
    private func finishWhatIsUnderWay(until deadline: Int64) {
        repeat {
            takeAnswers()
            hub.endTick()
            if hub.waitingLookups == 0, commands.isIdle { return }
            commands.waitABit()
        } while monotonicMilliseconds() < deadline
        log.warning("commands are still on their way to the broker")
    }

    private func hearUpToTheMarker() {
        let marker = RelayAnswer(socket: 0, frame: [])
        markers.publish(marker, to: hub.relayID)
        hub.markerSeen = false
        let deadline = monotonicMilliseconds() + Self.markerLimit
        while !hub.markerSeen, monotonicMilliseconds() < deadline {
            hub.beginTick(milliseconds: monotonicMilliseconds(), unixMilliseconds: systemClock())
            feed.wait(milliseconds: 10)
            while !hub.markerSeen,
                feed.read(
                    now: hub.milliseconds,
                    { event in
                        // What came in the same read behind the marker is the successor's.
                        if !hub.markerSeen { hub.handle(event) }
                    })
            {}
        }
        if !hub.markerSeen { log.warning("the marker did not come back: the successor fetches what is missing") }
    }
}

// What it needs of the relay's connections, besides what the hub does.

protocol ReadableFeed: AnyObject {
    /// Until something can be read, at most so long.
    func wait(milliseconds: Int32)
    /// Hands on some of what is there. False when nothing more is.
    func read(now: Int64, _ handle: (FeedEvent) -> Void) -> Bool
}

protocol DrainedOutlet: AnyObject {
    /// Everything that was put has been confirmed or refused.
    var isIdle: Bool { get }
    func waitABit()
}

protocol MarkerOutlet: AnyObject {
    func publish(_ answer: RelayAnswer, to relay: UInt64)
}

extension RedisFeed: ReadableFeed {}
extension CommandPublisher: DrainedOutlet {}
extension Ephemerals: MarkerOutlet {}
