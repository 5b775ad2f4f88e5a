import ChatAdapters
import ChatCore
import Glibc
import Logging
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RabbitMQTests {
    private let queue = "test.\(UUID128.v7(at: systemClock()))"

    private func connection() throws -> RabbitMQConnection {
        try RabbitMQConnection(TestServers.settings!.rabbitMQ, name: "test")
    }

    private func deliveries(_ connection: RabbitMQConnection, _ count: Int) throws -> [RabbitMQDelivery] {
        var all: [RabbitMQDelivery] = []
        while all.count < count, case .delivery(let delivery) = try connection.next(timeout: .seconds(5)) {
            all.append(delivery)
        }
        return all
    }

    @Test(arguments: [true, false])
    func theNextConsumerGetsWhatWasNotAcknowledgedInOrder(quorum: Bool) throws {
        let publisher = try connection()
        try publisher.declareCommandQueue(queue, quorum: quorum, maxLength: 1000)
        try publisher.selectConfirms()
        let active = try connection()
        try active.consume(queue, prefetch: 5)
        let standby = try connection()
        try standby.consume(queue, prefetch: 5)
        for number in UInt8(0)..<20 { try publisher.publish([number], to: queue, mandatory: true, persistent: true) }
        let first = try deliveries(active, 5)
        #expect(first.map(\.body) == (0..<5).map { [$0] })
        try active.acknowledge(first[1].tag, multiple: true)
        active.endAbruptly()
        var rest: [RabbitMQDelivery] = []
        while rest.count < 18 {
            let more = try deliveries(standby, 1)
            guard let last = more.last else { break }
            try standby.acknowledge(last.tag)
            rest += more
        }
        #expect(rest.map(\.body) == (2..<20).map { [$0] })
        #expect(rest[0].redelivered)
    }

    /// Two consumers hand a busy queue to and fro; another queue of theirs does not notice.
    @Test(arguments: [true, false])
    func aQueueThatIsLeftKeepsItsOrderAndTheOthersKeepTheirConsumer(quorum: Bool) throws {
        let publisher = try connection()
        let other = queue + ".other"
        for name in [queue, other] { try publisher.declareCommandQueue(name, quorum: quorum, maxLength: 5000) }
        let consumers = [try connection(), try connection()]
        for consumer in consumers {
            for name in [queue, other] { try consumer.enterLine(name, prefetch: 5) }
        }
        var (sent, done, others) = (0, [Int](), 0)
        for move in 0..<40 {
            for _ in 0..<20 {
                try publisher.publish(
                    [UInt8(sent / 256), UInt8(sent % 256)], to: queue, mandatory: true, persistent: true)
                sent += 1
            }
            try publisher.publish([], to: other, mandatory: true, persistent: true)
            let active = consumers[move % 2]
            for step in 0..<12 {
                let taken = try #require(try deliveries(active, 1).first)
                // The first one has the other queue for good.
                if taken.consumer == other { others += move % 2 == 0 ? 1 : 1000 }
                // The last ones are in its hands when it leaves.
                guard step < 10 else { continue }
                if taken.consumer == queue { done.append(number(taken)) }
                try active.acknowledge(taken.tag, multiple: true)
            }
            try active.leaveLine(queue)
            try active.enterLine(queue, prefetch: 5)
        }
        while done.count < sent || others < 40, let taken = try deliveries(consumers[0], 1).first {
            try consumers[0].acknowledge(taken.tag, multiple: true)
            if taken.consumer == other { others += 1 } else { done.append(number(taken)) }
        }
        #expect(done == Array(0..<sent))
        #expect(others == 40)
        for name in [queue, other] { try publisher.deleteQueue(name) }
    }

    @Test(arguments: [true, false])
    func aLineDeliversNoMoreThanItsPrefetch(quorum: Bool) throws {
        let publisher = try connection()
        try publisher.declareCommandQueue(queue, quorum: quorum, maxLength: 100)
        for number in UInt8(0)..<6 { try publisher.publish([number], to: queue, mandatory: true, persistent: true) }
        let consumer = try connection()
        try consumer.enterLine(queue, prefetch: 2)
        let first = try deliveries(consumer, 2)
        guard case .timeout = try consumer.next(timeout: .milliseconds(500)) else {
            Issue.record("a third delivery"); return
        }
        try consumer.acknowledge(first[0].tag, multiple: true)
        #expect(try deliveries(consumer, 1).map(\.body) == [[2]])
        guard case .timeout = try consumer.next(timeout: .milliseconds(500)) else {
            Issue.record("a fourth delivery"); return
        }
        try publisher.deleteQueue(queue)
    }

    private func number(_ delivery: RabbitMQDelivery) -> Int { Int(delivery.body[0]) * 256 + Int(delivery.body[1]) }

    @Test func aFullQueueSaysNo() throws {
        let publisher = try connection()
        try publisher.declareCommandQueue(queue, quorum: false, maxLength: 2)
        try publisher.selectConfirms()
        for _ in 0..<10 { try publisher.publish([1], to: queue, mandatory: true, persistent: true) }
        // Confirms and refusals may come in any order.
        var open = Set(UInt64(1)...10)
        var refused = 0
        while !open.isEmpty,
            case .confirm(let tag, let multiple, let accepted) = try publisher.next(timeout: .seconds(5))
        {
            let settled = multiple ? open.filter { $0 <= tag } : open.intersection([tag])
            open.subtract(settled)
            if !accepted { refused += settled.count }
        }
        #expect(open.isEmpty)
        #expect(refused == 8)
    }

    @Test func withoutAQueueAMandatoryMessageComesBack() throws {
        let publisher = try connection()
        try publisher.selectConfirms()
        try publisher.publish([1], to: queue, mandatory: true, persistent: true)
        guard case .returned = try publisher.next(timeout: .seconds(5)) else {
            Issue.record("it was not returned")
            return
        }
    }

    // MARK: Queues of commands

    private func own(_ change: (inout RabbitMQSettings) -> Void = { _ in }) -> RabbitMQSettings {
        var settings = TestServers.settings!.rabbitMQ
        (settings.prefix, settings.totalQueues) = (queue, 1)
        settings.quorumQueues = false
        change(&settings)
        return settings
    }

    private func command(_ number: Int) -> Command {
        let id = UUID128.v7(at: systemClock())
        return Command(
            id: id, room: id, actor: id, acceptedAt: 1, action: .send(MessageDraft(content: "\(number)"), receiver: nil)
        )
    }

    @Test func whatDoesNotFitIsBusyAndSaysWhenToTryAgain() throws {
        let settings = own { $0.maxLength = 3 }
        try RabbitMQQueues(settings).bind(settings.firstLayout, on: connection())
        let sender = RabbitMQCommandQueue(
            settings, name: "test", newestLayout: { nil }, log: Logger(label: "test"))
        for number in 0..<3 { #expect(try sender.submit(command(number), timeout: .milliseconds(50)) == .queued) }
        let refusal = #expect(throws: Refusal.self) { try sender.submit(command(3), timeout: .seconds(5)) }
        #expect(refusal?.code == .busy && (refusal?.retryAfter ?? 0) > 0)
    }

    @Test func aSenderFollowsToTheNewestGeneration() throws {
        let settings = own()
        let queues = RabbitMQQueues(settings)
        let broker = try connection()
        let (first, second) = (settings.firstLayout, QueueLayout(generation: 2, total: 1, byUser: false))
        try queues.bind(first, on: broker)
        var newest = first
        let sender = RabbitMQCommandQueue(
            settings, name: "test", newestLayout: { newest }, log: Logger(label: "test"))
        #expect(try sender.submit(command(1), timeout: .milliseconds(50)) == .queued)
        // The broker returns its message.
        try queues.bind(second, on: broker)
        newest = second
        try queues.unbind(first, on: broker)
        #expect(try sender.submit(command(2), timeout: .seconds(2)) == .queued)
        #expect(try queues.state(of: first).map(\.ready) == [1])
        #expect(try queues.state(of: second).map(\.ready) == [1])
        // The left message is moved, and the old queue is deleted.
        #expect(try queues.remove(0, of: first, movingTo: second) == 1)
        #expect(try queues.state(of: second).map(\.ready) == [2])
    }

    @Test func anEndMarkComesBehindEverything() throws {
        let settings = own()
        let broker = try connection()
        let queues = RabbitMQQueues(settings)
        try queues.bind(settings.firstLayout, on: broker)
        try broker.publish([1], to: settings.queueName(settings.firstLayout, 0), mandatory: true, persistent: true)
        usleep(100_000)
        try queues.markEnd(of: settings.firstLayout)
        try broker.consume(settings.queueName(settings.firstLayout, 0), prefetch: 10)
        let came = try deliveries(broker, 2)
        #expect(came.map { EndMark($0.correlation)?.generation } == [nil, 1])
    }

    @Test func wrongAddressesSayWhat() {
        let refused = #expect(throws: RabbitMQError.self) {
            try RabbitMQConnection(own { $0.url = "amqp://guest:secret-word@127.0.0.1:1/" }, name: "test")
        }
        #expect(refused?.description.contains("127.0.0.1:1") == true)
        #expect(refused?.description.contains("secret-word") == false)
        #expect(throws: RabbitMQError.self) { try RabbitMQConnection(own { $0.url = "nonsense" }, name: "test") }
    }
}
