public import ChatCore

/// The message broker. ``RabbitMQBroker`` is the real one; tests of consumers and publishers use one in memory.
public protocol Broker {
    /// - Parameter name: the connection's name, for the operator.
    func open(_ name: String) throws(RabbitMQError) -> any BrokerConnection
}

/// One connection to a broker, for one thread. After any error close it and open another. The guarantees of each call
/// are those of ``RabbitMQConnection``.
public protocol BrokerConnection: AnyObject {
    var fileDescriptor: Int32 { get }
    var hasBuffered: Bool { get }
    func distrust()
    func shouldMoveBack() -> Bool
    func endAbruptly()
    func whileAway<R, E: Error>(_ work: () throws(E) -> R) throws(E) -> R

    @discardableResult
    func declareCommandQueue(
        _ name: String, quorum: Bool, maxLength: Int
    ) throws(RabbitMQError) -> (ready: Int, consumers: Int)
    func declareQueue(_ name: String, quorum: Bool, maxLength: Int?) throws(RabbitMQError) -> Int
    func look(at name: String) throws(RabbitMQError) -> (messages: Int, consumers: Int)
    func deleteQueue(_ name: String) throws(RabbitMQError)
    func declareExchange(_ name: String) throws(RabbitMQError)
    func bind(_ queue: String, to exchange: String) throws(RabbitMQError)
    func unbind(_ queue: String, from exchange: String) throws(RabbitMQError)

    func consume(_ queue: String, prefetch: Int, noAcknowledge: Bool) throws(RabbitMQError)
    func consumeAnswers() throws(RabbitMQError) -> String
    func enterLine(_ queue: String, prefetch: Int) throws(RabbitMQError)
    func leaveLine(_ queue: String) throws(RabbitMQError)
    func acknowledge(_ tag: UInt64, multiple: Bool) throws(RabbitMQError)
    func next(timeout: Duration) throws(RabbitMQError) -> RabbitMQEvent

    func selectConfirms() throws(RabbitMQError)
    @discardableResult
    func publish(
        _ body: [UInt8], to queue: String, exchange: String, mandatory: Bool, persistent: Bool, replyTo: String?,
        correlation: String?
    ) throws(RabbitMQError) -> UInt64
    func answer(_ body: [UInt8], to queue: String, correlation: String) throws(RabbitMQError)
}

extension RabbitMQConnection: BrokerConnection {}

extension BrokerConnection {
    /// The number of consumers of an existing queue.
    func consumers(of name: String) throws(RabbitMQError) -> Int { try look(at: name).consumers }

    /// The next delivery that has arrived; nil: there is none. Confirms and returns before it are passed over.
    public func nextDelivery() throws(RabbitMQError) -> RabbitMQDelivery? {
        while true {
            switch try next(timeout: .zero) {
            case .delivery(let delivery): return delivery
            case .cancelled(let consumer): throw RabbitMQError(ended: consumer)
            case .confirm, .returned: continue
            case .timeout: return nil
            }
        }
    }
}

/// The brokers of the settings.
public struct RabbitMQBroker: Broker, Sendable {
    private let settings: RabbitMQSettings

    public init(_ settings: RabbitMQSettings) { self.settings = settings }

    public func open(_ name: String) throws(RabbitMQError) -> any BrokerConnection {
        try RabbitMQConnection(settings, name: name)
    }
}
