import ChatCore
import Testing

@testable import ws_relay

@Suite struct ChannelBookTests {
    private let one = BusChannel.room(id(1))
    private let two = BusChannel.user(id(2))

    @Test func aChannelIsAskedForOnce() {
        var book = ChannelBook()
        #expect(book.subscribe(one) == true)
        #expect(book.subscribe(one) == false)
        #expect(book.unsubscribe(one) == true)
        #expect(book.unsubscribe(one) == false)
        #expect(book.subscribe(one) == true)
    }

    @Test func onlyTheAnswerToTheLastSubscriptionConfirms() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.unsubscribe(one)
        _ = book.subscribe(one)
        #expect(book.answered(one) == .stale)
        #expect(book.answered(one) == .confirmed)
    }

    @Test func aCancelledSubscriptionIsNotConfirmed() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.unsubscribe(one)
        #expect(book.answered(one) == .stale)
    }

    @Test func channelsDoNotConfirmEachOther() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.subscribe(two)
        #expect(book.answered(two) == .confirmed)
        #expect(book.answered(one) == .confirmed)
    }

    @Test func aReconnectionRestoresWhatIsWantedUnderItsName() {
        var book = ChannelBook()
        let other = BusChannel.relay(7)
        for channel in [one, two, other] { _ = book.subscribe(channel) }
        _ = book.unsubscribe(two)
        #expect(Set(book.reconnected()) == [one, other])
        #expect(book.answered(one) == .stale)
        #expect(book.answered(other) == .confirmedAll)
    }

    /// The answers of the connection before never come.
    @Test func aReconnectionForgetsOpenAnswers() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.unsubscribe(one)
        _ = book.subscribe(one)
        #expect(book.reconnected() == [one])
        #expect(book.answered(one) == .confirmedAll)
    }

    @Test func aChannelLeftDuringTheRestorationHoldsNothingUp() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.subscribe(two)
        _ = book.reconnected()
        _ = book.unsubscribe(two)
        #expect(book.answered(one) == .stale)
        #expect(book.answered(two) == .confirmedAll)
    }

    @Test func aChannelFirstWantedDuringTheRestorationIsConfirmedByItself() {
        var book = ChannelBook()
        _ = book.subscribe(one)
        _ = book.reconnected()
        _ = book.subscribe(two)
        #expect(book.answered(two) == .confirmed)
        #expect(book.answered(one) == .confirmedAll)
    }

    /// A channel is told as confirmed exactly when Redis has answered everything that was sent for it, whatever the order
    /// of the wishes.
    @Test(arguments: 0..<20)
    func agreesWithAServerThatAnswersInOrder(_ seed: UInt64) {
        var random = SplitMix(seed: seed)
        var book = ChannelBook()
        let channels = (1...3).map { BusChannel.room(id(UInt64($0))) }
        var wanted: Set<String> = []
        var sent: [String] = []
        for _ in 0..<500 {
            let channel = channels.randomElement(using: &random)!
            switch Int.random(in: 0..<3, using: &random) {
            case 0:
                let isNew = wanted.insert(channel).inserted
                #expect(book.subscribe(channel) == isNew)
                if isNew { sent.append(channel) }
            case 1: #expect(book.unsubscribe(channel) == (wanted.remove(channel) != nil))
            default:
                guard !sent.isEmpty else { continue }
                let answered = sent.removeFirst()
                let isLast = !sent.contains(answered)
                let expected: ChannelBook.Answer = isLast && wanted.contains(answered) ? .confirmed : .stale
                let answer = book.answered(answered)
                #expect(answer == expected)
                guard answer == expected else { return }
            }
        }
    }
}
