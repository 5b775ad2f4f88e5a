import ChatAdapters
import ChatCore
import Testing

@testable import ws_relay

@Suite struct ClusterBookTests {
    private let a = ServerURL.Host("a", 1), b = ServerURL.Host("b", 1)
    private var book = ClusterBook()

    /// All slots belong to one node, except those of some channels.
    private func map(_ all: ServerURL.Host, except other: [String: ServerURL.Host] = [:]) -> ClusterMap {
        var map = ClusterMap()
        for slot in 0..<16_384 { map.moved(slot, to: all) }
        for (channel, host) in other { map.moved(ClusterMap.slot(of: channel), to: host) }
        return map
    }

    private mutating func sent() -> [String] {
        book.takeOutgoing().map { "\($0.host.name) \($0.isSubscription ? "+" : "-") \($0.channel)" }
    }

    @Test mutating func aChannelIsSubscribedAtItsNodeOnceThatIsOpen() {
        book.mapped(map(a, except: ["room:2": b]), now: 0)
        #expect(book.isWhole)
        book.subscribe("room:1")
        book.subscribe("room:2")
        #expect(sent().isEmpty && Set(book.wanted) == [a, b] && !book.isWhole)
        book.opened(b)
        #expect(sent() == ["b + room:2"])
        #expect(book.subscribed("room:2", at: b) == .subscribed)
        book.opened(a)
        #expect(book.subscribed("room:1", at: a) == .subscribed && book.isWhole)
    }

    @Test mutating func whatWasWantedBeforeAnyConnectionIsRegained() {
        book.subscribe("room:1")
        #expect(book.needsMap && book.wanted.isEmpty)
        book.mapped(map(a), now: 0)
        book.opened(a)
        #expect(book.subscribed("room:1", at: a) == .regained && !book.needsMap)
    }

    @Test mutating func onlyTheAnswerToTheLastSubscriptionCounts() {
        book.mapped(map(a), now: 0)
        book.subscribe("room:1")
        book.opened(a)
        book.unsubscribe("room:1")
        book.subscribe("room:1")
        #expect(sent() == ["a + room:1", "a - room:1", "a + room:1"])
        #expect(book.subscribed("room:1", at: a) == .nothing)
        book.unsubscribed("room:1", at: a)
        #expect(book.subscribed("room:1", at: a) == .subscribed && !book.needsMap)
    }

    @Test mutating func aLostNodesChannelsAreRegainedAndTheOthersStay() {
        book.mapped(map(a, except: ["room:2": b]), now: 0)
        for channel in ["room:1", "room:2"] { book.subscribe(channel) }
        book.opened(a)
        book.opened(b)
        _ = sent()
        _ = (book.subscribed("room:1", at: a), book.subscribed("room:2", at: b))
        book.lost(b)
        #expect(!book.isWhole && !book.needsMap)
        book.opened(b)
        #expect(sent() == ["b + room:2"])
        #expect(book.subscribed("room:2", at: b) == .regained && book.isWhole)
    }

    @Test mutating func aReplacedNodesChannelsGoToTheNewOne() {
        book.mapped(map(a), now: 0)
        book.subscribe("room:1")
        book.opened(a)
        _ = book.subscribed("room:1", at: a)
        book.lost(a)
        book.mapped(map(b), now: 1)
        #expect(book.wanted == [b])
        book.opened(b)
        #expect(book.subscribed("room:1", at: b) == .regained)
    }

    /// The former node may take publications for a moment longer.
    @Test mutating func aSlotThatTheMapGivesAwayIsHeardAtBothNodesForAWhile() {
        book.mapped(map(a), now: 0)
        book.subscribe("room:1")
        book.opened(a)
        book.opened(b)
        _ = sent()
        _ = book.subscribed("room:1", at: a)
        book.mapped(map(b), now: 1000)
        #expect(sent() == ["b + room:1"])
        book.sayFarewell(now: 2999)
        #expect(sent().isEmpty)
        #expect(book.subscribed("room:1", at: b) == .regained)
        book.sayFarewell(now: 3000)
        #expect(sent() == ["a - room:1"])
        book.unsubscribed("room:1", at: a)
        #expect(book.isWhole && !book.needsMap)
    }

    @Test mutating func aNodeThatEndsASubscriptionHasGivenTheSlotAway() {
        book.mapped(map(a), now: 0)
        book.subscribe("room:1")
        book.opened(a)
        book.opened(b)
        _ = (book.subscribed("room:1", at: a), sent())
        book.unsubscribed("room:1", at: a)
        #expect(book.needsMap && sent().isEmpty)
        book.mapped(map(b), now: 1)
        #expect(sent() == ["b + room:1"])
        #expect(book.subscribed("room:1", at: b) == .regained && !book.needsMap)
        // Its farewell is not needed.
        book.sayFarewell(now: 10_000)
        #expect(sent().isEmpty)
    }

    @Test mutating func aRefusedSubscriptionWaitsForTheNextMap() {
        book.mapped(map(a), now: 0)
        for channel in ["room:1", "room:2"] { book.subscribe(channel) }
        book.opened(a)
        let order = book.takeOutgoing().map(\.channel)
        book.refused(at: a)
        #expect(book.needsMap)
        #expect(book.subscribed(order[1], at: a) == .subscribed)
        book.mapped(map(a), now: 1)
        #expect(sent() == ["a + \(order[0])"])
        #expect(book.subscribed(order[0], at: a) == .subscribed && book.isWhole)
    }

    @Test mutating func aChannelThatNobodyWantsAnyMoreIsForgotten() {
        book.mapped(map(a), now: 0)
        book.subscribe("room:1")
        book.unsubscribe("room:1")
        book.unsubscribe("room:1")
        #expect(book.wanted.isEmpty && book.isWhole)
        book.opened(a)
        #expect(sent().isEmpty)
        // An answer of a node to something long forgotten.
        #expect(book.subscribed("room:1", at: a) == .nothing)
        book.unsubscribed("room:1", at: a)
        book.refused(at: b)
        #expect(book.isWhole && !book.needsMap)
    }
}

@Suite struct ProbeFenceTests {
    @Test func aProbeWaitsForEveryNode() {
        var fence = ProbeFence()
        #expect(!fence.isWaiting)
        fence.take("user:1")
        #expect(fence.isWaiting)
        fence.begin([1: 5, 2: 1])
        // One that came later asks anew.
        fence.take("user:2")
        #expect(!fence.isWaiting)
        #expect(fence.answered(by: 1, 4).isEmpty && fence.answered(by: 2, 1).isEmpty)
        #expect(fence.answered(by: 1, 5) == ["user:1"])
        #expect(fence.isWaiting)
        fence.begin([1: 6])
        #expect(fence.answered(by: 1, 6) == ["user:2"])
        #expect(!fence.isWaiting && fence.answered(by: 1, 7).isEmpty)
    }

    @Test func aLostNodeEndsTheWait() {
        var fence = ProbeFence()
        fence.take("user:1")
        fence.begin([1: 1, 2: 1])
        fence.drop()
        #expect(fence.answered(by: 1, 1).isEmpty && fence.answered(by: 2, 1).isEmpty && !fence.isWaiting)
    }

    @Test func onlyAProbeIsHeld() {
        #expect(ProbeFence.holds(UserEvent.probe.encode()))
        #expect(!ProbeFence.holds(UserEvent.presence(isHidden: true).encode()))
        #expect(!ProbeFence.holds([]) && !ProbeFence.holds([1]))
    }
}
