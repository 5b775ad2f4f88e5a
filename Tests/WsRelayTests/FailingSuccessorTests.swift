import ChatCore
import Glibc
import Logging
import Testing

@testable import ws_relay

/// A successor that dies or sends garbage at each step: the predecessor continues as before.
@Suite struct FailingSuccessorTests {
    /// Delivers the marker as soon as it is published, and one frame after it.
    private final class Feed: ReadableFeed, DrainedOutlet, MarkerOutlet {
        private var events: [FeedEvent] = []
        let isIdle = true

        func wait(milliseconds: Int32) {}
        func waitABit() {}

        func publish(_ answer: RelayAnswer, to relay: UInt64) {
            events = [
                .message(channel: BusChannel.relay(relay), payload: answer.encode()),
                .message(
                    channel: BusChannel.room(id(1)),
                    payload: FrameChunk(room: id(1), frames: [.numbered(1)]).encode()),
            ]
        }

        func read(now: Int64, _ handle: (FeedEvent) -> Void) -> Bool {
            defer { events = [] }
            events.forEach(handle)
            return !events.isEmpty
        }
    }

    private final class Scene {
        let relay: TestRelay
        let client: TestClient
        let predecessor: Predecessor
        private let line: HandoffChannel
        private(set) var other: HandoffChannel?

        init() throws {
            relay = try TestRelay()
            client = relay.join(user: 5)
            _ = client.take()
            var ends: [Int32] = [-1, -1]
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
            line = HandoffChannel(ends[0])
            other = HandoffChannel(ends[1])
            let feed = Feed()
            predecessor = Predecessor(
                adoptLimit: .milliseconds(50), channel: line, hub: relay.hub, feed: feed, commands: feed, markers: feed,
                takeAnswers: {}, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        func say(_ tag: HandoffChannel.Tag, _ bytes: [UInt8] = []) throws {
            try other?.send(.init(tag: tag, bytes: bytes))
        }

        func hangUp() { other = nil }

        func tags() -> [HandoffChannel.Tag] {
            var found: [HandoffChannel.Tag] = []
            while let packet = try? other?.receive(within: .zero) {
                found.append(packet.tag)
                packet.descriptors.forEach { close($0) }
            }
            return found
        }

        /// It still serves: nothing lost, nothing twice.
        func expectServing(_ place: SourceLocation = #_sourceLocation) {
            relay.hub.beginTick(milliseconds: relay.milliseconds, unixMilliseconds: relay.milliseconds)
            relay.run()
            relay.answerFrames { _ in [.numbered(1)] }
            relay.publish(.numbered(1), .numbered(2))
            #expect(client.takeSeqs() == [1, 2], sourceLocation: place)
            client.ask(("Type", .string("ping")))
            relay.run()
            #expect(client.takeTypes() == ["pong"], sourceLocation: place)
            #expect(relay.join(user: 9, rooms: [:]).takeTypes() == ["welcome"], sourceLocation: place)
        }
    }

    @Test func anotherVersionIsRefusedBeforeAnythingMoves() throws {
        let ours = HandoffChannel.version
        for version in [[], [ours[0] - 1] + ours[1...], ours.dropLast() + [ours.last! + 1], [0, 0]] as [[UInt8]] {
            let scene = try Scene()
            try scene.say(.hello, version)
            #expect(scene.predecessor.hear() == .serving)
            #expect(scene.tags() == [.refused])
            scene.expectServing()
        }
    }

    @Test func anOfferMakesTheLayoutUnimportant() throws {
        let scene = try Scene()
        try scene.say(.prologue, HandoffChannel.offer)
        #expect(scene.predecessor.hear() == .serving)
        try scene.say(.hello, [1, 2, 3])
        #expect(scene.predecessor.hear() == .serving)
        #expect(scene.tags() == [.prologue, .end])
        try scene.say(.subscribed)
        try scene.say(.adopted)
        #expect(scene.predecessor.hear() == .handedOver)
    }

    @Test func deadAfterHello() throws {
        let scene = try Scene()
        try scene.say(.hello, HandoffChannel.version)
        #expect(scene.predecessor.hear() == .serving)
        #expect(scene.tags() == [.prologue, .end])
        scene.hangUp()
        #expect(scene.predecessor.hear() == .alone)
        scene.expectServing()
    }

    @Test func deadBeforeItAdopts() throws {
        let scene = try Scene()
        try scene.say(.subscribed)
        scene.hangUp()
        #expect(scene.predecessor.hear() == .alone)
        scene.expectServing()
    }

    @Test func nonsenseInsteadOfAdopted() throws {
        let scene = try Scene()
        try scene.say(.subscribed)
        try scene.say(.state)
        #expect(scene.predecessor.hear() == .alone)
        scene.expectServing()
    }

    @Test func silenceInsteadOfAdopted() throws {
        let scene = try Scene()
        try scene.say(.subscribed)
        #expect(scene.predecessor.hear() == .alone)
        #expect(!scene.tags().contains(.released))
        scene.expectServing()
    }

    @Test func adoptedIsReleased() throws {
        let scene = try Scene()
        try scene.say(.subscribed)
        try scene.say(.adopted)
        #expect(scene.predecessor.hear() == .handedOver)
        #expect(scene.tags() == [.state, .end, .released])
        #expect(scene.relay.hub.sockets.connections.count == 0)
    }
}
