public import ChatCore

/// The command queues of one generation on the broker: declares, binds, unbinds, ends and deletes them.
///
/// Senders publish to one exchange with the queue's name as routing key; a message for an unbound queue comes back.
public struct RabbitMQQueues {
    private static let timeout = Duration.seconds(5)
    private let settings: RabbitMQSettings
    private let broker: any Broker

    /// - Parameter broker: nil: the one of the settings.
    public init(_ settings: RabbitMQSettings, _ broker: (any Broker)? = nil) {
        self.settings = settings
        self.broker = broker ?? RabbitMQBroker(settings)
    }

    public func names(_ layout: QueueLayout) -> [String] {
        (0..<layout.total).map { settings.queueName(layout, $0) }
    }

    public func declare(_ layout: QueueLayout, on connection: any BrokerConnection) throws(RabbitMQError) {
        for name in names(layout) {
            try connection.declareCommandQueue(
                name, quorum: settings.quorumQueues, maxLength: settings.maxLength)
        }
    }

    /// The broker accepts messages for these queues from now on.
    public func bind(_ layout: QueueLayout, on connection: any BrokerConnection) throws(RabbitMQError) {
        try declare(layout, on: connection)
        try connection.declareExchange(settings.exchangeName)
        for name in names(layout) { try connection.bind(name, to: settings.exchangeName) }
    }

    /// The broker returns messages for these queues from now on.
    public func unbind(_ layout: QueueLayout, on connection: any BrokerConnection) throws(RabbitMQError) {
        for name in names(layout) { try connection.unbind(name, from: settings.exchangeName) }
    }

    /// Publishes an end mark behind the last message of each queue, bypassing the exchange.
    public func markEnd(of layout: QueueLayout) throws(RabbitMQError) {
        let connection = try broker.open("queue-worker end marks")
        try connection.selectConfirms()
        for (index, name) in names(layout).enumerated() {
            let mark = EndMark(generation: layout.generation, queue: index)
            try connection.publishConfirmed([], to: name, correlation: mark.text, timeout: Self.timeout)
        }
    }

    /// Deletes one of the queues. Late messages, from a sender that missed the change, move to the current queues.
    ///
    /// - Returns: the number of messages moved.
    public func remove(
        _ queue: Int, of layout: QueueLayout, movingTo today: QueueLayout
    ) throws(RabbitMQError) -> Int {
        let name = settings.queueName(layout, queue)
        let connection = try broker.open("queue-worker removal")
        try connection.unbind(name, from: settings.exchangeName)
        let count = try connection.messages(inCommandQueue: name, settings).ready
        let moved = count > 0 ? try move(count, from: name, on: connection, to: today) : 0
        try connection.deleteQueue(name)
        return moved
    }

    /// Unreadable messages are dropped.
    private func move(
        _ count: Int, from name: String, on connection: any BrokerConnection, to today: QueueLayout
    ) throws(RabbitMQError) -> Int {
        let publishing = try broker.open("queue-worker removal")
        try publishing.selectConfirms()
        try connection.consume(name, prefetch: 0, noAcknowledge: false)
        var moved = 0
        for _ in 0..<count {
            guard case .delivery(let delivery) = try connection.next(timeout: Self.timeout) else { break }
            guard EndMark(delivery.correlation) == nil, let commands = try? Command.decodeAll(delivery.body) else {
                continue
            }
            for command in commands {
                let queue = settings.queueName(today, today.index(command))
                try publishing.publishConfirmed(command.joinedAlone, to: queue, timeout: Self.timeout)
                moved += 1
            }
        }
        return moved
    }

    /// The number of waiting messages and of consumers of each queue.
    public func state(of layout: QueueLayout) throws(RabbitMQError) -> [(name: String, ready: Int, consumers: Int)] {
        let connection = try broker.open("queue-worker queues")
        var states: [(String, Int, Int)] = []
        for name in names(layout) {
            let state = try connection.messages(inCommandQueue: name, settings)
            states.append((name, state.ready, state.consumers))
        }
        return states
    }
}

/// The last message in a queue of a closed generation, recognised by its correlation id.
public struct EndMark: Sendable, Equatable {
    private static let prefix = "end of generation "
    public var generation: Int
    public var queue: Int

    init(generation: Int, queue: Int) {
        self.generation = generation
        self.queue = queue
    }

    var text: String { "\(Self.prefix)\(generation) \(queue)" }

    public init?(_ correlation: String) {
        guard correlation.hasPrefix(Self.prefix) else { return nil }
        let numbers = correlation.dropFirst(Self.prefix.count).split(separator: " ").compactMap { Int($0) }
        guard numbers.count == 2 else { return nil }
        self.init(generation: numbers[0], queue: numbers[1])
    }
}

extension BrokerConnection {
    fileprivate func messages(
        inCommandQueue name: String, _ settings: RabbitMQSettings
    ) throws(RabbitMQError) -> (ready: Int, consumers: Int) {
        try declareCommandQueue(name, quorum: settings.quorumQueues, maxLength: settings.maxLength)
    }
}
