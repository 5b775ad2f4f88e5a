public import ChatCore

/// One message that the broker delivered.
public struct RabbitMQDelivery: Sendable {
    public var tag: UInt64
    public var consumer: String
    public var redelivered: Bool
    public var body: [UInt8]
    public var replyTo: String
    public var correlation: String

    public init(
        tag: UInt64, consumer: String, redelivered: Bool, body: [UInt8], replyTo: String, correlation: String
    ) {
        self.tag = tag
        self.consumer = consumer
        self.redelivered = redelivered
        self.body = body
        self.replyTo = replyTo
        self.correlation = correlation
    }
}

public enum RabbitMQEvent: Sendable {
    case delivery(RabbitMQDelivery)
    /// A publisher confirm: all messages up to `tag` when `multiple`. `accepted` is false when the queue was full.
    case confirm(tag: UInt64, multiple: Bool, accepted: Bool)
    /// A mandatory message found no queue. A confirm still follows, but does not mean that the message is safe.
    case returned
    /// The broker cancelled one of our consumers: its queue was deleted, or its leader moved.
    case cancelled(consumer: String)
    case timeout
}
