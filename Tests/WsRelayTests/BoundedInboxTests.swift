import Synchronization
import Testing

@testable import ws_relay

@Suite(.timeLimit(.minutes(1))) struct BoundedInboxTests {
    @Test func refusesWhatDoesNotFitAndTakesMoreAfterADrain() {
        let inbox = BoundedInbox<Int>(limit: 2)
        #expect(inbox.put(1) && inbox.put(2))
        #expect(!inbox.put(3))
        #expect(inbox.drain() == [1, 2])
        #expect(inbox.isEmpty)
        #expect(inbox.put(3))
        #expect(inbox.drain() == [3])
    }

    @Test func theWeightOfAllElementsStaysUnderTheLimit() {
        let inbox = BoundedInbox<String>(limit: 100, weightLimit: 10)
        #expect(inbox.put("six", weight: 6))
        #expect(!inbox.put("five", weight: 5))
        #expect(inbox.put("four", weight: 4))
        #expect(!inbox.put("one", weight: 1))
        #expect(inbox.put("none"))
        _ = inbox.drain()
        #expect(inbox.put("ten", weight: 10))
    }

    @Test func anElementAboveTheLimitIsTakenOnlyAlone() {
        let inbox = BoundedInbox<String>(limit: 100, weightLimit: 10)
        #expect(inbox.put("huge", weight: .max))
        #expect(!inbox.put("small", weight: 1))
        _ = inbox.drain()
        #expect(inbox.put("small", weight: 1))
        #expect(!inbox.put("huge", weight: .max))
    }

    @Test func whatIsTakenNoLongerWeighs() {
        let inbox = BoundedInbox<Int>(limit: 100, weightLimit: 10)
        for element in 1...2 { #expect(inbox.put(element, weight: 5)) }
        #expect(inbox.take(atMost: 1) == [1])
        #expect(inbox.put(3, weight: 5))
        #expect(inbox.take() == [2, 3])
    }

    @Test func aClosedInboxGivesTheRestAndThenEnds() {
        let inbox = BoundedInbox<Int>(limit: 10)
        for element in 1...3 { _ = inbox.put(element) }
        inbox.close()
        #expect(!inbox.put(4) && !inbox.putWaiting(5))
        #expect(!inbox.isFinished)
        #expect(inbox.take(atMost: 2) == [1, 2])
        #expect(inbox.take(atMost: 2) == [3])
        #expect(inbox.take() == nil)
        #expect(inbox.isFinished)
    }

    /// The loop reads everything after one wake.
    @Test func wakesTheConsumerOnceForEachEmptyInbox() {
        let wakes = Mutex(0)
        let counted: @Sendable () -> Void = { wakes.withLock { $0 += 1 } }
        let inbox = BoundedInbox<Int>(limit: 2, onArrival: counted)
        for element in 1...3 { _ = inbox.put(element) }
        #expect(wakes.withLock { $0 } == 1)
        _ = inbox.drain()
        _ = inbox.put(4)
        #expect(wakes.withLock { $0 } == 2)
    }

    /// One thread waits for elements, another for room: each must be woken, or this never ends.
    @Test func everythingPassesBetweenThreadsInOrder() {
        let inbox = BoundedInbox<Int>(limit: 3, weightLimit: 5)
        let taken = BoundedInbox<[Int]>(limit: 1)
        _ = startThread("test") {
            var all: [Int] = []
            while let some = inbox.take(atMost: 2) { all += some }
            taken.putWaiting(all)
        }
        for element in 0..<1000 { inbox.putWaiting(element, weight: element % 7) }
        inbox.close()
        #expect(taken.take() == [Array(0..<1000)])
    }

    @Test func closingWakesAConsumerThatWaits() {
        let inbox = BoundedInbox<Int>(limit: 1)
        let ended = BoundedInbox<Bool>(limit: 1)
        _ = startThread("test") { ended.putWaiting(inbox.take() == nil) }
        inbox.close()
        #expect(ended.take() == [true])
    }
}
