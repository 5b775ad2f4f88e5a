import ChatAdapters
import ChatCore
import TestSupport
import Testing

@Suite(.enabled(if: TestServers.isAvailable, Comment(rawValue: TestServers.reason)))
struct RabbitMQTests {
    private let queue = "test.\(UUID128.v7(at: systemClock()))"

    private func connection() throws -> RabbitMQConnection {
        try RabbitMQConnection(url: TestServers.settings!.rabbitMQ.url, name: "test")
    }

    private func deliveries(_ connection: RabbitMQConnection, _ count: Int) throws -> [RabbitMQDelivery] {
        var all: [RabbitMQDelivery] = []
        while all.count < count, case .delivery(let delivery) = try connection.next(timeout: 5000) {
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

    @Test func aFullQueueSaysNo() throws {
        let publisher = try connection()
        try publisher.declareCommandQueue(queue, quorum: false, maxLength: 2)
        try publisher.selectConfirms()
        for _ in 0..<10 { try publisher.publish([1], to: queue, mandatory: true, persistent: true) }
        // Yes and no may come in any order among each other.
        var open = Set(UInt64(1)...10)
        var refused = 0
        while !open.isEmpty, case .confirm(let tag, let multiple, let accepted) = try publisher.next(timeout: 5000) {
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
        guard case .returned = try publisher.next(timeout: 5000) else {
            Issue.record("it was not returned")
            return
        }
    }

    @Test func wrongAddressesSayWhat() {
        let refused = #expect(throws: RabbitMQError.self) {
            try RabbitMQConnection(url: "amqp://guest:secret-word@127.0.0.1:1/", name: "test")
        }
        #expect(refused?.description.contains("127.0.0.1:1") == true)
        #expect(refused?.description.contains("secret-word") == false)
        #expect(throws: RabbitMQError.self) { try RabbitMQConnection(url: "nonsense", name: "test") }
    }
}
