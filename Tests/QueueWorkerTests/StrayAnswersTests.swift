import ChatAdapters
import ChatCore
import TestSupport
import Testing

@testable import queue_worker

/// Answers to senders of the previous release, over a connection that may break at each.
@Suite final class StrayAnswersTests {
    private let broker = MemoryBroker()
    /// Monotonic milliseconds.
    private var now: Int64 = 1_000_000
    private lazy var strays = StrayAnswers(
        broker, WorkerClock(now: { [unowned self] in now }, wait: { _, _ in Issue.record("it waits") }))

    private func answer(_ number: Int) {
        strays.answer([UInt8(number)], to: "amq.rabbitmq.reply-to.x", correlation: "\(number)")
    }

    private var answered: [String] { broker.answers.map(\.correlation) }

    @Test func onlyDirectReplyToIsTheirs() {
        #expect(StrayAnswers.areMeant(by: "amq.rabbitmq.reply-to.g1h2"))
        #expect(!StrayAnswers.areMeant(by: "amq.gen-1") && !StrayAnswers.areMeant(by: ""))
    }

    @Test func oneConnectionServesAll() {
        for number in 1...3 { answer(number) }
        #expect(answered == ["1", "2", "3"] && broker.opened.count == 1)
    }

    /// Its sender's node was dead. No other connection of the worker may suffer.
    @Test func anAnswerThatBreaksTheConnectionCostsASecondAndNothingElse() {
        answer(1)
        broker.cut()
        answer(2)
        answer(3)
        #expect(answered == ["1"] && broker.opened.count == 1)
        now += 999
        answer(4)
        #expect(broker.opened.count == 1)
        now += 1
        answer(5)
        #expect(answered == ["1", "5"] && broker.opened.count == 2)
    }

    @Test func aBrokerThatIsAwayIsAskedOnceASecond() {
        broker.isAway = true
        for number in 1...3 { answer(number) }
        broker.isAway = false
        answer(4)
        now += 1000
        answer(5)
        #expect(answered == ["5"])
    }
}
