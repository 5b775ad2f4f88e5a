import ChatAdapters
import ChatCore
import Glibc
import Logging
import Testing

@testable import ws_relay

/// A scout that finds what the test tells it.
private final class ToldScout: ClusterScouting {
    private let arrival = EventCounter()
    var reports: [ScoutReport] = [] {
        didSet { if reports.isEmpty { arrival.clear() } else { arrival.wake() } }
    }
    var asked: [String] = []

    var descriptor: Int32 { arrival.descriptor }
    func seekMap() { asked.append("map") }
    func open(_ host: ServerURL.Host) { asked.append(host.name) }
    func shutDown() { asked.append("end") }
    func takeReports() -> [ScoutReport] {
        defer { reports = [] }
        return reports
    }
}

@Suite struct ClusterFeedTests {
    private let a = ServerURL.Host("a", 1), b = ServerURL.Host("b", 1)
    private let scout = ToldScout()
    private let feed: ClusterFeed
    private let nodes = ["a": MemoryRedis(), "b": MemoryRedis()]

    init() { feed = ClusterFeed(scout, log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }) }

    private func map(_ all: ServerURL.Host, except other: [String: ServerURL.Host] = [:]) -> ClusterMap {
        var map = ClusterMap()
        for slot in 0..<16_384 { map.moved(slot, to: all) }
        for (channel, host) in other { map.moved(ClusterMap.slot(of: channel), to: host) }
        return map
    }

    private func open(_ host: ServerURL.Host) throws {
        try nodes[host.name]!.connect(timeout: 1)
        scout.reports.append(.opened(host, nodes[host.name]!))
    }

    /// One tick of the loop: what the hub hears.
    private func tick(_ now: Int64) -> [String] {
        var heard: [String] = []
        let handle: (FeedEvent) -> Void = { event in
            switch event {
            case .message(let channel, let payload): heard.append("\(channel) says \(payload)")
            case .subscribed(let channel): heard.append("subscribed \(channel)")
            case .lost: heard.append("lost")
            case .restored: heard.append("restored")
            case .regained(let channel): heard.append("regained \(channel)")
            }
        }
        feed.keepUp(now: now, handle)
        while feed.read(now: now, handle) {}
        feed.endTick(now: now, handle)
        return heard.sorted()
    }

    /// Two nodes with a channel each.
    private func begin() throws {
        _ = tick(0)
        scout.reports = [.map(map(a, except: ["room:2": b]))]
        _ = tick(1)
        for channel in ["room:1", "room:2"] { feed.subscribe(channel) }
        _ = tick(2)
        try open(a)
        try open(b)
        _ = tick(3)
        #expect(tick(4) == ["subscribed room:1", "subscribed room:2"])
        #expect(feed.isWhole && !feed.isAway)
        scout.asked = []
    }

    private func isReadable() -> Bool {
        var polls = [pollfd(fd: feed.descriptor, events: Int16(POLLIN), revents: 0)]
        return poll(&polls, 1, 0) == 1
    }

    @Test func theMapIsSoughtThenTheNodesThatHaveChannels() throws {
        feed.subscribe("room:1")
        #expect(tick(0).isEmpty && scout.asked == ["map"])
        #expect(tick(1).isEmpty && scout.asked == ["map"])
        scout.reports = [.map(map(a))]
        #expect(isReadable())
        _ = tick(2)
        #expect(scout.asked == ["map", "a"])
        try open(a)
        _ = tick(3)
        #expect(nodes["a"]!.sent == ["+ room:1"])
        #expect(isReadable())
        #expect(tick(4) == ["regained room:1"])
        #expect(!isReadable())
    }

    @Test func eachNodeIsHeard() throws {
        try begin()
        nodes["b"]!.arriving = [.message(channel: "room:2", payload: [1, 2])]
        #expect(isReadable())
        #expect(tick(5) == ["room:2 says [1, 2]"])
    }

    @Test func theMapIsSoughtAgainFromTimeToTime() throws {
        try begin()
        _ = tick(2000)
        #expect(scout.asked.isEmpty)
        _ = tick(2001)
        _ = tick(2002)
        #expect(scout.asked == ["map"])
    }

    @Test func aLostNodeConcernsItsChannelsAloneAndIsSought() throws {
        try begin()
        nodes["b"]!.isBroken = true
        #expect(tick(5).isEmpty && !feed.isWhole)
        _ = tick(6)
        #expect(scout.asked == ["b"])
        scout.reports = [.notOpened(b, "refused")]
        _ = tick(7)
        nodes["a"]!.arriving = [.message(channel: "room:1", payload: [1, 2])]
        #expect(tick(8) == ["room:1 says [1, 2]"])
        // After a pause again; and the map.
        _ = tick(107)
        #expect(scout.asked == ["b", "map", "b"] || scout.asked == ["b", "b", "map"])
        scout.reports = [.map(map(a))]
        _ = tick(108)
        #expect(tick(109) == ["regained room:2"])
        #expect(nodes["a"]!.sent.last == "+ room:2" && feed.isWhole)
    }

    @Test func aSilentNodeIsLost() throws {
        try begin()
        nodes["a"]!.isSilent = true
        _ = tick(1_005)
        #expect(nodes["a"]!.sent.last == "ping")
        _ = tick(3_004)
        #expect(feed.isWhole)
        _ = tick(3_005)
        #expect(!feed.isWhole && nodes["a"]!.fileDescriptor == -1 && nodes["b"]!.fileDescriptor >= 0)
    }

    @Test func aRefusedSubscriptionIsTriedAgainAfterTheNextMap() throws {
        try begin()
        nodes["a"]!.isSilent = true
        feed.subscribe("room:3")
        _ = tick(5)
        nodes["a"]!.arriving = [.refused("MOVED 1 b:1")]
        _ = tick(6)
        _ = tick(106)
        #expect(scout.asked == ["map"])
        scout.reports = [.map(map(b, except: ["room:1": a]))]
        _ = tick(107)
        #expect(tick(108) == ["subscribed room:3"])
        #expect(nodes["b"]!.sent.last == "+ room:3")
    }

    @Test func aProbeIsHandledOnceEveryNodeHasAnswered() throws {
        try begin()
        let probe = UserEvent.probe.encode()
        nodes["b"]!.isSilent = true
        nodes["a"]!.arriving = [.message(channel: "user:7", payload: probe)]
        #expect(tick(5).isEmpty && tick(6).isEmpty)
        #expect(nodes["a"]!.sent.last == "ping" && nodes["b"]!.sent.last == "ping")
        nodes["b"]!.arriving = [.message(channel: "room:2", payload: [1, 2]), .pong]
        #expect(tick(7) == ["room:2 says [1, 2]", "user:7 says \(probe)"])
    }

    @Test func aProbeIsDroppedWhileANodeIsAway() throws {
        try begin()
        nodes["b"]!.isBroken = true
        _ = tick(5)
        nodes["a"]!.arriving = [.message(channel: "user:7", payload: UserEvent.probe.encode())]
        #expect(tick(6).isEmpty && tick(7).isEmpty)
    }

    @Test func afterTheEndItNeverConnectsAgain() throws {
        try begin()
        feed.shutDown()
        #expect(scout.asked == ["end"])
        _ = tick(.max / 2)
        #expect(scout.asked == ["end"] && nodes["a"]!.fileDescriptor == -1)
    }
}
