import ChatCore
import Testing

@testable import ChatAdapters

@Suite struct HostOrderTests {
    private let hosts = (1...4).map { ServerURL.Host("h\($0)", 1) }

    @Test func everyHostIsTriedTheSameOneFirst() {
        let order = HostOrder(hosts)
        let first = order.candidates(now: 0)
        #expect(Set(first) == Set(hosts) && first.count == hosts.count)
        #expect(first[0] == order.preferred)
        #expect(order.candidates(now: 1_000_000) == first)
    }

    @Test func aFailedHostIsTriedLastForAWhile() {
        let order = HostOrder(hosts)
        let before = order.candidates(now: 0)
        order.failed(before[0], now: 5)
        #expect(order.candidates(now: 5) == Array(before[1...]) + [before[0]])
        #expect(order.candidates(now: 4 + HostOrder.grudge.milliseconds) == Array(before[1...]) + [before[0]])
        #expect(order.candidates(now: 5 + HostOrder.grudge.milliseconds) == before)
        // Connections return to it all the same.
        #expect(order.preferred == before[0])
    }

    /// The one whose failure is older may be back first.
    @Test func amongFailedHostsTheOldestFailureIsTriedFirst() {
        let order = HostOrder(hosts)
        let before = order.candidates(now: 0)
        for (index, host) in before.enumerated() { order.failed(host, now: Int64(100 - index)) }
        #expect(order.candidates(now: 100) == before.reversed())
    }

    @Test func aHostThatAnswersIsInItsPlaceAtOnce() {
        let order = HostOrder(hosts)
        let before = order.candidates(now: 0)
        order.failed(before[0], now: 5)
        order.isGood(before[0])
        #expect(order.candidates(now: 6) == before)
    }

    @Test func aProcessHasOneOrderForTheSameHosts() {
        #expect(HostOrder.of(hosts) === HostOrder.of(hosts))
        #expect(HostOrder.of(hosts) !== HostOrder.of(Array(hosts.prefix(2))))
    }
}
