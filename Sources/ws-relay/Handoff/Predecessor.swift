import ChatCore
import ChatProcess
import Glibc
import Logging

/// The old worker in a hand-over. It keeps serving until the successor has subscribed to every channel and has a copy
/// of every socket. Then it stops reading, finishes its unanswered work, and publishes a marker on its own Redis
/// channel. Redis delivers everything to all subscribers in one order: events before the marker are handled here, and
/// the successor keeps events after it. The state as of the marker is handed over with the sockets.
final class Predecessor {
    /// The limit for each of: the commands reach the broker, the marker comes back, the successor adopts the state.
    private static let drainLimit: Duration = .seconds(1)
    private static let markerLimit: Duration = .seconds(1)
    private let adoptLimit: Duration

    let channel: HandoffChannel
    let hub: Hub
    let feed: any ReadableFeed
    let commands: any DrainedOutlet
    let markers: any MarkerOutlet
    /// Takes the answers of the other threads.
    let takeAnswers: () -> Void
    let log: Logger
    /// Handles of the sockets that were sent ahead.
    private var shown: Set<UInt64> = []
    /// A successor of the previous release offers no format. It has no streams of events either.
    private var format = StateFormat.raw

    init(
        adoptLimit: Duration = .seconds(10), channel: HandoffChannel, hub: Hub, feed: any ReadableFeed,
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

    enum HandoverOutcome {
        /// It continues as before: the hand-over has not come that far, or has failed.
        case serving
        case handedOver
        /// The successor has ended.
        case alone
    }

    /// Reads a packet of the successor.
    func hear() -> HandoverOutcome {
        do throws(HandoffChannel.Failure) {
            let packet = try channel.receive(within: .zero)
            switch packet.tag {
            case .prologue:
                if packet.bytes.first ?? 0 >= HandoffChannel.offer[0] { format = .described }
                return .serving
            case .hello:
                guard format == .described || packet.bytes == HandoffChannel.version else {
                    log.error(
                        "the successor is of a release that reads only its own layout: this relay keeps its sockets")
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
            log.warning("the successor is gone: this relay continues", metadata: ["error": "\(error)"])
            return .alone
        }
    }

    /// Answers with one packet for each request, so that clients are served in between.
    private func show(_ question: [UInt8]) throws(HandoffChannel.Failure) {
        var reader = StateReader(question)
        guard let first = try? reader.take(UInt32.self) else { throw .system(EPROTO) }
        let (handles, descriptors) = hub.sockets.handedOver(from: first, most: HandoffChannel.packetDescriptors)
        var answer = StateWriter()
        answer.put(array: handles)
        try channel.send(.init(tag: .sockets, bytes: answer.bytes, descriptors: descriptors))
        shown.formUnion(handles)
    }

    private func handOverOrGoOn() throws(HandoffChannel.Failure) -> HandoverOutcome {
        do throws(HandoffChannel.Failure) {
            return try handOver()
        } catch {
            // The successor handles events after the marker.
            hub.handle(.restored)
            // Close it even if the successor is only slow: it must learn that the hand-over was given up.
            throw .closed
        }
    }

    private func handOver() throws(HandoffChannel.Failure) -> HandoverOutcome {
        let begun = monotonicMilliseconds()
        finishWhatIsUnderWay(until: Deadline(in: Self.drainLimit))
        hearUpToTheMarker()
        if format == .raw { hub.sockets.endAllEvents() }
        hub.endTick()
        let (bytes, descriptors) = hub.export(shown: shown, as: format)
        try channel.send(.state, bytes, descriptors: descriptors)
        let packet = try channel.receive(within: adoptLimit)
        guard packet.tag == .adopted else { throw .closed }
        // From now on the sockets belong to the successor.
        try channel.send(.init(tag: .released))
        let pause = monotonicMilliseconds() - begun
        hub.timings?.handoverPause.observe(pause * 1_000_000)
        hub.letGo()
        log.notice(
            "all sockets are handed over",
            metadata: [
                "ahead": "\(shown.count)", "new": "\(descriptors.count)", "bytes": "\(bytes.count)", "ms": "\(pause)",
            ])
        return .handedOver
    }

    /// Commands must reach the broker before the successor sends later ones of the same socket.
    private func finishWhatIsUnderWay(until deadline: Deadline) {
        repeat {
            takeAnswers()
            hub.endTick()
            if hub.lookups.waiting == 0, commands.isIdle { return }
            commands.waitABit()
        } while !deadline.isOver
        log.warning("commands are still on their way to the broker")
    }

    private func hearUpToTheMarker() {
        let marker = RelayAnswer(socket: 0, frame: [])
        markers.publish(marker, to: hub.relayID)
        hub.expectMarker()
        let deadline = Deadline(in: Self.markerLimit)
        while !hub.hasSeenMarker, !deadline.isOver {
            hub.beginTick(milliseconds: monotonicMilliseconds(), unixMilliseconds: systemClock())
            feed.wait(milliseconds: 10)
            while !hub.hasSeenMarker,
                feed.read(
                    now: hub.clock.milliseconds,
                    { event in
                        // The successor handles events after the marker, also those of the same read.
                        if !hub.hasSeenMarker { hub.handle(event) }
                    })
            {}
        }
        if !hub.hasSeenMarker { log.warning("the marker did not come back: the successor fetches the missing frames") }
    }
}
