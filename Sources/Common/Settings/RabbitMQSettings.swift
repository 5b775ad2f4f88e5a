public struct RabbitMQSettings: Sendable {
    /// One broker, or several nodes of a cluster, as ``RabbitMQServers`` reads them.
    public var url: String
    /// A side that hears nothing for two of them closes the connection. Whole seconds.
    public var heartbeat: Duration
    /// Without a TCP acknowledgement for longer, a connection is lost (TCP_USER_TIMEOUT).
    public var userTimeout: Duration
    public var tls: TLSFiles
    public var totalQueues: Int
    public var hashByUser: Bool
    public var quorumQueues: Bool
    /// The prefix of every queue's name, so that several installations can share a broker.
    public var prefix: String
    /// Commands that may wait in one queue; above the limit senders get `busy`.
    public var maxLength: Int

    init(_ values: inout SettingsReader, tls: TLSFiles) {
        url = values.text("RABBITMQ_URL", default: "amqp://guest:guest@127.0.0.1:5672/")
        do { _ = try RabbitMQServers(url) } catch { values.problem("RABBITMQ_URL: \(error)") }
        heartbeat = values.seconds("RABBITMQ_HEARTBEAT_SECONDS", default: 2, in: 1...60)
        userTimeout = values.milliseconds("RABBITMQ_USER_TIMEOUT_MS", default: 3000, in: 500...120_000)
        self.tls = tls
        totalQueues = values.number("RABBITMQ_TOTAL_QUEUE", default: 10, in: 1...1000)
        hashByUser = values.choice("RABBITMQ_HASH_KEY", ["room", "user"], default: "room") == "user"
        quorumQueues = values.choice("RABBITMQ_QUEUE_TYPE", ["quorum", "classic"], default: "quorum") == "quorum"
        prefix = values.text("RABBITMQ_PREFIX", default: "chat")
        if prefix.utf8.count > Self.longestPrefix {
            values.problem("RABBITMQ_PREFIX has \(prefix.utf8.count) bytes, at most \(Self.longestPrefix) work")
        }
        if "\(prefix).".utf8.starts(with: "amq.".utf8) {
            values.problem("RABBITMQ_PREFIX=\(prefix): names that begin with amq. are the broker's own")
        }
        maxLength = values.number("RABBITMQ_MAX_LENGTH", default: 100_000, in: 100...10_000_000)
    }

    /// Bytes. The broker takes names of at most 255, and the longest end of ours is `.g<generation>.queue.999`.
    static let longestPrefix = 200

    /// The layout of these settings as the first generation.
    public var firstLayout: QueueLayout { QueueLayout(generation: 1, total: totalQueues, byUser: hashByUser) }
    /// The layout as a text, to detect a change of the settings.
    public var layoutSetting: String { firstLayout.setting }

    public func queueName(_ layout: QueueLayout, _ index: Int) -> String {
        "\(prefix).\(layout.generation == 1 ? "" : "g\(layout.generation).")queue.\(index)"
    }

    /// Where commands are published; the routing key is the queue's name.
    public var exchangeName: String { "\(prefix).commands" }

    /// The queue for messages that cannot be executed.
    public var deadQueueName: String { "\(prefix).dead" }
    /// The queue of jobs for the push workers.
    public var pushQueueName: String { "\(prefix).push" }
}
