import ChatAdapters
import ChatCore

/// Answers commands of the previous release, whose senders wait at RabbitMQ's direct reply-to. When such a sender's
/// node is dead, the broker (3.10) closes the answering connection, so this one is used for nothing else.
final class StrayAnswers {
    /// Between two connections; answers meanwhile are dropped, and a retry gets them again.
    private static let pause = Duration.seconds(1)
    private static let prefix = Array("amq.rabbitmq.reply-to.".utf8)

    private let broker: any Broker
    private let clock: WorkerClock
    private var connection: (any BrokerConnection)?
    private var nextAttempt: Int64 = .min

    init(_ broker: any Broker, _ clock: WorkerClock) {
        self.broker = broker
        self.clock = clock
    }

    static func areMeant(by queue: String) -> Bool { queue.utf8.starts(with: prefix) }

    func answer(_ frame: [UInt8], to queue: String, correlation: String) {
        let now = clock.now()
        guard connection != nil || now >= nextAttempt else { return }
        do throws(RabbitMQError) {
            let opened: any BrokerConnection
            if let connection {
                opened = connection
            } else {
                opened = try broker.open("queue-worker answers")
                connection = opened
            }
            // Reads the broker's reaction to the previous answer.
            _ = try opened.next(timeout: .zero)
            try opened.answer(frame, to: queue, correlation: correlation)
        } catch {
            connection = nil
            nextAttempt = now + Self.pause.milliseconds
        }
    }
}
