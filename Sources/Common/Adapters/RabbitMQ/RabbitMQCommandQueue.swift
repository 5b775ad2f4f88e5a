public import ChatCore
public import Logging

/// A REST worker's way to the command queues: one command at a time, answered through RabbitMQ's direct reply-to.
public final class RabbitMQCommandQueue: CommandQueue {
    private static let replyQueue = "amq.rabbitmq.reply-to"
    private let settings: RabbitMQSettings
    private let name: String
    private let log: Logger
    private let newestLayout: () -> QueueLayout?
    private var layout: QueueLayout
    private var connection: RabbitMQConnection?

    /// - Parameter newestLayout: asked with each new connection; nil when it cannot be known.
    public init(
        _ settings: RabbitMQSettings, name: String, newestLayout: @escaping () -> QueueLayout?, log: Logger
    ) {
        self.settings = settings
        self.name = name
        self.newestLayout = newestLayout
        self.log = log
        layout = settings.firstLayout
    }

    /// Whether the broker answers; for readiness.
    public func check() throws(RabbitMQError) {
        let connection = try connected()
        do throws(RabbitMQError) {
            while case .delivery = try connection.next(timeout: 0) {}
        } catch {
            self.connection = nil
            _ = try connected()
        }
    }

    /// Answers the broker's heartbeats while there is nothing to send: about once a second. Never connects.
    public func keepAlive() {
        guard let connection else { return }
        do throws(RabbitMQError) {
            while case .delivery = try connection.next(timeout: 0) {}
        } catch {
            self.connection = nil
        }
    }

    public func submit(_ command: Command, timeout: Int) throws(Refusal) -> CommandAnswer {
        let deadline = monotonicMilliseconds() + Int64(timeout)
        var attempts = 0
        while true {
            attempts += 1
            let outcome: Result<CommandAnswer, Refusal>
            do throws(RabbitMQError) {
                outcome = try attempt(command, until: deadline)
            } catch {
                connection = nil
                // The broker may have been away for long, or the connection died while idle: one new one tells. Sending
                // the command again is harmless, its id is the same.
                guard attempts < 3, monotonicMilliseconds() < deadline else {
                    log.warning("a command could not be handed over", metadata: ["error": "\(error)"])
                    throw .unavailable("the message queue")
                }
                continue
            }
            return try outcome.get()
        }
    }

    private func attempt(_ command: Command, until deadline: Int64) throws(RabbitMQError) -> Result<
        CommandAnswer, Refusal
    > {
        let connection = try connected()
        let correlation = command.id.description
        let tag = try connection.publish(
            command.joinedAlone, to: settings.queueName(layout, layout.index(command)),
            exchange: settings.exchangeName, mandatory: true, persistent: true, replyTo: Self.replyQueue,
            correlation: correlation)
        var confirmed = false
        while true {
            let left = deadline - monotonicMilliseconds()
            guard left > 0 else {
                return confirmed ? .success(.queued) : .failure(.unavailable("the message queue"))
            }
            switch try connection.next(timeout: Int(left)) {
            case .delivery(let answer):
                // Answers to requests that were given up earlier may still come in.
                guard answer.correlation == correlation else { continue }
                guard let value = try? MessagePackReader.decode(answer.body) else {
                    throw RabbitMQError("an answer that cannot be read")
                }
                return .success(.answered(value))
            case .confirm(let confirmedTag, let multiple, let accepted):
                guard confirmedTag == tag || multiple && confirmedTag > tag else { continue }
                guard accepted else { return .failure(.busy("the room's queue is full")) }
                confirmed = true
            // Taken out of the exchange: there is a newer generation, which a new connection asks for.
            case .returned: throw RabbitMQError("the queue is gone")
            case .cancelled: throw RabbitMQError("the answers' consumer was ended")
            case .timeout: continue
            }
        }
    }

    private func connected() throws(RabbitMQError) -> RabbitMQConnection {
        if let connection { return connection }
        let opened = try RabbitMQConnection(url: settings.url, name: name)
        try opened.selectConfirms()
        // Direct reply-to: the pseudo queue is consumed, without acknowledgements, on the channel that publishes.
        try opened.consume(Self.replyQueue, prefetch: 0, noAcknowledge: true)
        try opened.declareExchange(settings.exchangeName)
        layout = newestLayout() ?? layout
        connection = opened
        return opened
    }
}
