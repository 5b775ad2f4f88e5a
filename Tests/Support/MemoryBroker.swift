public import ChatAdapters
import ChatCore

/// A broker in memory, with RabbitMQ's rules as far as our programs depend on them: one active consumer for each command
/// queue, the prefetch, redelivery in the old order, `reject-publish`, mandatory messages, confirms. One thread uses it.
public final class MemoryBroker: Broker {
    public struct Message {
        public var body: [UInt8]
        public var replyTo = ""
        public var correlation = ""
        public var isRedelivered = false
    }

    fileprivate struct Queue {
        var messages: [Message] = []
        var maxLength = Int.max
        /// `reject-publish`; otherwise the oldest is dropped.
        var refuses = true
        var consumers: [ObjectIdentifier] = []
    }

    fileprivate var queues: [String: Queue] = [:]
    fileprivate var bindings: [String: Set<String>] = [:]
    fileprivate var connections: [ObjectIdentifier: Unowned] = [:]

    /// While it is set, no connection opens and each open one is lost.
    public var isAway = false {
        didSet { if isAway { cut() } }
    }
    /// Queues that refuse every message.
    public var refusing: Set<String> = []
    /// No message is confirmed while it is set; the confirms come afterwards, to whom is still connected.
    public var isSilent = false {
        didSet { if !isSilent { connections.values.forEach { $0.connection?.giveConfirms() } } }
    }
    /// Called when a connection has to wait for its next event: here time passes.
    public var duringWait: (Duration) -> Void = { _ in }
    /// In the order in which they came, to all requesters.
    public private(set) var answers: [(queue: String, correlation: String, body: [UInt8])] = []
    /// The names of all connections that were opened.
    public private(set) var opened: [String] = []
    /// Called at each publication, before it takes effect.
    public var beforePublish: (_ queue: String) -> Void = { _ in }

    fileprivate struct Unowned { weak var connection: MemoryConnection? }

    /// Of each connection; no file has it.
    public static let descriptor: Int32 = -10

    public init() {}

    public func open(_ name: String) throws(RabbitMQError) -> any BrokerConnection {
        guard !isAway else { throw RabbitMQError(ended: "the broker is away") }
        opened.append(name)
        let connection = MemoryConnection(self)
        connections[ObjectIdentifier(connection)] = Unowned(connection: connection)
        return connection
    }

    // MARK: What a test sees and does

    public var queueNames: Set<String> { Set(queues.keys) }
    public func messages(of queue: String) -> [Message] { queues[queue]?.messages ?? [] }
    public func bound(to exchange: String) -> Set<String> { bindings[exchange] ?? [] }

    /// Puts a message into a queue, which is made where there is none.
    public func put(_ body: [UInt8], into queue: String, replyTo: String = "", correlation: String = "") {
        queues[queue, default: Queue()].messages
            .append(Message(body: body, replyTo: replyTo, correlation: correlation))
    }

    /// The connection is open, and nobody sends its heartbeats if its owner waits now.
    public func missesHeartbeats(_ connection: any BrokerConnection) -> Bool {
        (connection as? MemoryConnection)?.missesHeartbeats == true
    }

    /// Messages that were delivered and not acknowledged.
    public var unacknowledged: Int {
        connections.values.reduce(0) { $0 + ($1.connection?.unacknowledged.count ?? 0) }
    }

    /// A connection would be given something at once: its descriptor is readable.
    public var hasNews: Bool { connections.values.contains { $0.connection?.hasNews == true } }

    /// The queues that a connection other than a standby consumes.
    public var consumed: Set<String> { Set(queues.filter { !$0.value.consumers.isEmpty }.keys) }

    /// Every connection breaks.
    public func cut() {
        for entry in connections.values { entry.connection?.close() }
    }

    /// Every connection is told that its consumers of this queue are gone, behind everything that was sent before.
    public func cancelConsumers(of queue: String) {
        for consumer in queues[queue]?.consumers ?? [] {
            guard let connection = connections[consumer]?.connection else { continue }
            connection.sendAll()
            connection.events.append(.cancelled(consumer: queue))
        }
        queues[queue]?.consumers = []
    }

    fileprivate func answered(_ queue: String, _ correlation: String, _ body: [UInt8]) {
        answers.append((queue, correlation, body))
        queues[queue]?.messages.append(Message(body: body, correlation: correlation))
    }
}

private final class MemoryConnection: BrokerConnection {
    struct Delivered {
        let tag: UInt64
        let queue: String
        let message: MemoryBroker.Message
    }

    private let broker: MemoryBroker
    private var isClosed = false
    private var isBeating = false
    var missesHeartbeats: Bool { !isClosed && !isBeating }
    private var hasConfirms = false
    private var published: UInt64 = 0
    private var delivered: UInt64 = 0
    /// Its own queue for answers.
    private var answers: String?
    private typealias Consumer = (queue: String, prefetch: Int, noAcknowledge: Bool)
    private var consuming: [Consumer] = []
    private(set) var unacknowledged: [Delivered] = []
    var events: [RabbitMQEvent] = []
    private var withheld: [RabbitMQEvent] = []

    init(_ broker: MemoryBroker) { self.broker = broker }

    deinit {
        close()
        broker.connections[ObjectIdentifier(self)] = nil
    }

    /// Unacknowledged messages return in their old order.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        for name in Set(unacknowledged.map(\.queue)) { returnMessages(of: name) }
        for name in broker.queues.keys {
            broker.queues[name]!.consumers.removeAll { $0 == ObjectIdentifier(self) }
        }
        if let answers { broker.queues[answers] = nil }
    }

    private func returnMessages(of queue: String) {
        for one in unacknowledged.reversed() where one.queue == queue {
            var message = one.message
            message.isRedelivered = true
            broker.queues[queue]?.messages.insert(message, at: 0)
        }
        unacknowledged.removeAll { $0.queue == queue }
    }

    func giveConfirms() {
        events += withheld
        withheld = []
    }

    private func check() throws(RabbitMQError) {
        guard !isClosed else { throw RabbitMQError(ended: "the connection is lost") }
    }

    private func queue(_ name: String) throws(RabbitMQError) -> MemoryBroker.Queue {
        try check()
        guard let queue = broker.queues[name] else { throw RabbitMQError(ended: "there is no queue \(name)") }
        return queue
    }

    let fileDescriptor = MemoryBroker.descriptor
    var hasBuffered: Bool { !events.isEmpty }
    func distrust() {}
    func shouldMoveBack() -> Bool { false }
    func endAbruptly() { close() }
    func whileAway<R, E: Error>(_ work: () throws(E) -> R) throws(E) -> R {
        isBeating = true
        defer { isBeating = false }
        return try work()
    }

    func declareCommandQueue(
        _ name: String, quorum: Bool, maxLength: Int
    ) throws(RabbitMQError) -> (ready: Int, consumers: Int) {
        try check()
        broker.queues[name, default: .init()].maxLength = maxLength
        let queue = try queue(name)
        return (queue.messages.count, queue.consumers.count)
    }

    func declareQueue(_ name: String, quorum: Bool, maxLength: Int?) throws(RabbitMQError) -> Int {
        try check()
        broker.queues[name, default: .init()].maxLength = maxLength ?? .max
        broker.queues[name]!.refuses = false
        return try queue(name).messages.count
    }

    func look(at name: String) throws(RabbitMQError) -> (messages: Int, consumers: Int) {
        try check()
        guard let queue = broker.queues[name] else {
            close()
            throw RabbitMQError(ended: "there is no queue \(name)")
        }
        return (queue.messages.count, queue.consumers.count)
    }

    func deleteQueue(_ name: String) throws(RabbitMQError) {
        try check()
        broker.queues[name] = nil
        for exchange in broker.bindings.keys { broker.bindings[exchange]!.remove(name) }
    }

    func declareExchange(_ name: String) throws(RabbitMQError) {
        try check()
        broker.bindings[name, default: []].formUnion([])
    }

    func bind(_ queue: String, to exchange: String) throws(RabbitMQError) {
        _ = try self.queue(queue)
        broker.bindings[exchange, default: []].insert(queue)
    }

    func unbind(_ queue: String, from exchange: String) throws(RabbitMQError) {
        try check()
        broker.bindings[exchange]?.remove(queue)
    }

    func consume(_ queue: String, prefetch: Int, noAcknowledge: Bool) throws(RabbitMQError) {
        _ = try self.queue(queue)
        broker.queues[queue]!.consumers.append(ObjectIdentifier(self))
        consuming.append((queue, prefetch, noAcknowledge))
    }

    func consumeAnswers() throws(RabbitMQError) -> String {
        let name = "answers \(broker.opened.count)"
        broker.queues[name] = .init()
        answers = name
        try consume(name, prefetch: 0, noAcknowledge: true)
        return name
    }

    func enterLine(_ queue: String, prefetch: Int) throws(RabbitMQError) {
        try consume(queue, prefetch: prefetch, noAcknowledge: false)
    }

    func leaveLine(_ name: String) throws(RabbitMQError) {
        _ = try queue(name)
        returnMessages(of: name)
        consuming.removeAll { $0.queue == name }
        broker.queues[name]!.consumers.removeAll { $0 == ObjectIdentifier(self) }
    }

    func acknowledge(_ tag: UInt64, multiple: Bool) throws(RabbitMQError) {
        try check()
        unacknowledged.removeAll { multiple ? $0.tag <= tag : $0.tag == tag }
    }

    func next(timeout: Duration) throws(RabbitMQError) -> RabbitMQEvent {
        try check()
        if !events.isEmpty { return events.removeFirst() }
        if let delivery = delivery() { return delivery }
        guard timeout > .zero else { return .timeout }
        broker.duringWait(timeout)
        try check()
        return events.isEmpty ? delivery() ?? .timeout : events.removeFirst()
    }

    fileprivate func sendAll() {
        while let delivery = delivery() { events.append(delivery) }
    }

    private func delivery() -> RabbitMQEvent? {
        guard let consumer = consuming.first(where: isServed) else { return nil }
        let message = broker.queues[consumer.queue]!.messages.removeFirst()
        delivered += 1
        if !consumer.noAcknowledge {
            unacknowledged.append(.init(tag: delivered, queue: consumer.queue, message: message))
        }
        return .delivery(
            RabbitMQDelivery(
                tag: delivered, consumer: consumer.queue, redelivered: message.isRedelivered, body: message.body,
                replyTo: message.replyTo, correlation: message.correlation))
    }

    var hasNews: Bool { isClosed || !events.isEmpty || consuming.contains(where: isServed) }

    private func isServed(_ consumer: Consumer) -> Bool {
        guard let queue = broker.queues[consumer.queue], !queue.messages.isEmpty else { return false }
        return queue.consumers.first == ObjectIdentifier(self)
            && (consumer.prefetch == 0
                || unacknowledged.count(where: { $0.queue == consumer.queue }) < consumer.prefetch)
    }

    func selectConfirms() throws(RabbitMQError) {
        try check()
        hasConfirms = true
    }

    func publish(
        _ body: [UInt8], to name: String, exchange: String, mandatory: Bool, persistent: Bool, replyTo: String?,
        correlation: String?
    ) throws(RabbitMQError) -> UInt64 {
        try check()
        broker.beforePublish(name)
        try check()
        published += 1
        let isRouted = exchange.isEmpty || broker.bindings[exchange]?.contains(name) == true
        var isAccepted = true
        if isRouted, var queue = broker.queues[name] {
            let isFull = queue.messages.count >= queue.maxLength || broker.refusing.contains(name)
            isAccepted = !isFull || !queue.refuses
            if isAccepted {
                if isFull { queue.messages.removeFirst() }
                queue.messages.append(.init(body: body, replyTo: replyTo ?? "", correlation: correlation ?? ""))
                broker.queues[name] = queue
            }
        } else if mandatory {
            events.append(.returned)
        }
        if hasConfirms { withheld.append(.confirm(tag: published, multiple: false, accepted: isAccepted)) }
        if !broker.isSilent { giveConfirms() }
        return published
    }

    func answer(_ body: [UInt8], to queue: String, correlation: String) throws(RabbitMQError) {
        try check()
        broker.answered(queue, correlation, body)
    }
}
