public import ChatCore

/// The dead letter queue: a letter is stored there before the command queue drops the message.
public struct RabbitMQDeadLetters {
    /// The operator's decision about one letter.
    public enum Fate: Sendable {
        case keep
        case drop
        /// Published again to the queue to which its commands belong today.
        case retry
    }

    /// How long the broker may take for one confirm or delivery.
    private static let timeout = Duration.seconds(5)
    private let settings: RabbitMQSettings
    private let name: String
    private let layout: QueueLayout
    private let broker: any Broker

    /// - Parameters:
    ///   - layout: the queues to which letters return.
    ///   - broker: nil: the one of the settings.
    public init(
        _ settings: RabbitMQSettings, name: String, layout: QueueLayout? = nil, broker: (any Broker)? = nil
    ) {
        self.settings = settings
        self.broker = broker ?? RabbitMQBroker(settings)
        self.name = name
        self.layout = layout ?? settings.firstLayout
    }

    /// Returns once the broker has confirmed it.
    public func put(_ letter: DeadLetter) throws(RabbitMQError) {
        let connection = try opened()
        try connection.selectConfirms()
        try connection.publishConfirmed(letter.encode(), to: settings.deadQueueName, timeout: Self.timeout)
    }

    /// Visits all letters present now, oldest first. Those that stay keep their order.
    ///
    /// - Returns: the number of letters dropped or retried.
    public func sort(_ decide: (DeadLetter) -> Fate) throws(RabbitMQError) -> Int {
        let reading = try opened()
        let publishing = try opened()
        try publishing.selectConfirms()
        let count = try reading.declareQueue(settings.deadQueueName, quorum: settings.quorumQueues, maxLength: nil)
        try reading.consume(settings.deadQueueName, prefetch: 0, noAcknowledge: false)
        // The abrupt end returns unacknowledged letters in their order.
        defer { reading.endAbruptly() }
        var done = 0
        for _ in 0..<count {
            guard case .delivery(let delivery) = try reading.next(timeout: Self.timeout) else { break }
            guard let letter = try? DeadLetter.decode(delivery.body) else { continue }
            switch decide(letter) {
            case .keep: continue
            case .retry: try publishing.publishConfirmed(letter.body, to: queue(of: letter), timeout: Self.timeout)
            case .drop: break
            }
            try reading.acknowledge(delivery.tag, multiple: false)
            done += 1
        }
        return done
    }

    private func queue(of letter: DeadLetter) -> String {
        guard let command = try? Command.decodeAll(letter.body).first else { return letter.queue }
        return settings.queueName(layout, layout.index(command))
    }

    private func opened() throws(RabbitMQError) -> any BrokerConnection {
        let connection = try broker.open(name)
        _ = try connection.declareQueue(settings.deadQueueName, quorum: settings.quorumQueues, maxLength: nil)
        return connection
    }
}

extension BrokerConnection {
    /// Publishes one durable message and waits for the confirm. For connections with confirms that do nothing else.
    public func publishConfirmed(
        _ body: [UInt8], to queue: String, correlation: String? = nil, timeout: Duration
    ) throws(RabbitMQError) {
        let tag = try publish(
            body, to: queue, exchange: "", mandatory: true, persistent: true, replyTo: nil, correlation: correlation)
        while true {
            switch try next(timeout: timeout) {
            case .confirm(let confirmed, let multiple, let accepted):
                guard confirmed == tag || multiple && confirmed > tag else { continue }
                guard accepted else { throw RabbitMQError(ended: "\(queue) is full") }
                return
            case .returned: throw RabbitMQError(ended: "there is no queue \(queue)")
            case .cancelled, .delivery: continue
            case .timeout: throw RabbitMQError(ended: "\(queue) did not confirm a message in time")
            }
        }
    }
}
