public import ChatCore
import Glibc
public import Logging

/// A REST worker's way to the command queues: one command at a time, answered through a queue of the connection's own.
///
/// Not through RabbitMQ's direct reply-to: an answer to a requester whose node is dead breaks the connection of the worker
/// that answers (RabbitMQ 3.10), and a room with it.
public final class RabbitMQCommandQueue: CommandQueue {
    /// Milliseconds without a confirm after which another broker is asked: this one may be cut off from the others.
    private static let confirmPatience: Int64 = 3000
    /// Milliseconds between two connections that are given up for such a doubt, and how long a queue that had no room
    /// after that is believed to be full.
    private static let reopening: Int64 = 1000
    private static let fullness: Int64 = 5000
    private static let tries = 4
    private let settings: RabbitMQSettings
    private let name: String
    private let log: Logger
    private let newestLayout: () -> QueueLayout?
    private var layout: QueueLayout
    private var connection: RabbitMQConnection?
    private var replyQueue = ""
    private var doubtedAt: Int64 = .min
    /// Of queues, by name, since when they have no room.
    private var fullSince: [String: Int64] = [:]

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

    /// Whether anybody carries commands out: every worker consumes every queue, as the active one or as a standby.
    public func hasWorkers() throws(RabbitMQError) -> Bool {
        do throws(RabbitMQError) {
            return try connected().consumers(of: settings.queueName(layout, 0)) > 0
        } catch {
            // A look at a queue that is not there ends the channel.
            connection = nil
            throw error
        }
    }

    /// Answers the broker's heartbeats while there is nothing to send: about once a second. Never connects.
    public func keepAlive() {
        guard let connection else { return }
        do throws(RabbitMQError) {
            while case .delivery = try connection.next(timeout: 0) {}
            // The next command makes a new one, where it belongs.
            if connection.shouldMoveBack() { self.connection = nil }
        } catch {
            self.connection = nil
        }
    }

    public func submit(_ command: Command, timeout: Int) throws(Refusal) -> CommandAnswer {
        let deadline = monotonicMilliseconds() + Int64(timeout)
        var (attempts, refusals) = (0, 0)
        while true {
            attempts += 1
            let outcome: Outcome
            do throws(RabbitMQError) {
                outcome = try attempt(command, until: deadline)
            } catch {
                connection?.distrust()
                connection = nil
                // The broker may have been away for long, or the connection died while idle: one new one tells. Sending
                // the command again is harmless, its id is the same.
                guard attempts < Self.tries, monotonicMilliseconds() < deadline else {
                    log.warning("a command could not be handed over", metadata: ["error": "\(error)"])
                    throw .unavailable("the message queue")
                }
                continue
            }
            switch outcome {
            case .answer(let answer): return answer
            case .late: throw .unavailable("the message queue")
            case .doubtful(let queue, let isRefused):
                refusals += isRefused ? 1 : 0
                guard mayDoubt(queue, refusals, until: deadline) else {
                    if isRefused { throw .busy("the room's queue is full") }
                    throw .unavailable("the message queue")
                }
                attempts = 0
            }
        }
    }

    private enum Outcome {
        case answer(CommandAnswer)
        /// Neither confirmed nor answered in all the time that there was.
        case late
        /// The broker said no, or nothing. The queue may be full; or its leader is dead, and this broker does not know yet.
        case doubtful(queue: String, isRefused: Bool)
    }

    /// Leaves the connection for one to another broker, at most once a second. False: it is of no use.
    private func mayDoubt(_ queue: String, _ refusals: Int, until deadline: Int64) -> Bool {
        let now = monotonicMilliseconds()
        let isFull = fullSince[queue].map { now - $0 < Self.fullness } ?? false
        let wait = max(0, doubtedAt == .min ? 0 : doubtedAt + Self.reopening - now)
        guard !isFull, refusals < Self.tries, now + wait < deadline else {
            fullSince[queue] = isFull ? fullSince[queue] : now
            return false
        }
        if wait > 0 { usleep(UInt32(wait) * 1000) }
        doubtedAt = now + wait
        connection?.distrust()
        connection = nil
        return true
    }

    private func attempt(_ command: Command, until deadline: Int64) throws(RabbitMQError) -> Outcome {
        let connection = try connected()
        let correlation = command.id.description
        let queue = settings.queueName(layout, layout.index(command))
        let tag = try connection.publish(
            command.joinedAlone, to: queue, exchange: settings.exchangeName, mandatory: true, persistent: true,
            replyTo: replyQueue, correlation: correlation)
        let doubtAt = monotonicMilliseconds() + Self.confirmPatience
        var confirmed = false
        while true {
            let now = monotonicMilliseconds()
            guard now < deadline else { return confirmed ? .answer(.queued) : .late }
            guard confirmed || now < doubtAt else { return .doubtful(queue: queue, isRefused: false) }
            switch try connection.next(timeout: Int(min(deadline, confirmed ? deadline : doubtAt) - now)) {
            case .delivery(let answer):
                // Answers to requests that were given up earlier may still come in.
                guard answer.correlation == correlation else { continue }
                guard let value = try? MessagePackReader.decode(answer.body) else {
                    throw RabbitMQError("an answer that cannot be read")
                }
                return .answer(.answered(value))
            case .confirm(let confirmedTag, let multiple, let accepted):
                guard confirmedTag == tag || multiple && confirmedTag > tag else { continue }
                guard accepted else { return .doubtful(queue: queue, isRefused: true) }
                confirmed = true
                fullSince[queue] = nil
            // Taken out of the exchange: there is a newer generation, which a new connection asks for.
            case .returned: throw RabbitMQError("the queue is gone")
            case .cancelled: throw RabbitMQError("the answers' consumer was ended")
            case .timeout: continue
            }
        }
    }

    private func connected() throws(RabbitMQError) -> RabbitMQConnection {
        if let connection { return connection }
        let opened = try RabbitMQConnection(settings, name: name)
        try opened.selectConfirms()
        replyQueue = try opened.consumeAnswers()
        try opened.declareExchange(settings.exchangeName)
        layout = newestLayout() ?? layout
        connection = opened
        return opened
    }
}
