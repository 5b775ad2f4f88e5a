import ChatAdapters
import ChatCore
import ChatProcess
import Logging

/// A worker that cannot reach PostgreSQL or Redis leaves its queues to others.
extension Consumer {
    private static let askInterval = Duration.seconds(1)

    func heard(from server: Reach.Server, _ error: StoreError?) {
        guard let error, error.isAway else { return reach.answered(server) }
        reach.unanswered(server, since: clock.now() - error.silence.milliseconds)
    }

    func heardFromBus(_ error: BusError?) {
        askBusAt = clock.now() + Self.askInterval.milliseconds
        if let error {
            outage.began("Redis", error.description, log)
            reach.unanswered(.redis, since: clock.now())
        } else {
            outage.ended("Redis", log)
            reach.answered(.redis)
        }
    }

    /// Also while nothing is published: a dead connection must not cost its time limit after another outage, and the next in
    /// line should reach Redis.
    func askBus(_ connection: any BrokerConnection) {
        guard clock.now() >= askBusAt else { return }
        do throws(BusError) {
            try connection.whileAway { () throws(BusError) in try bus.check() }
            heardFromBus(nil)
        } catch { heardFromBus(error) }
    }

    /// Closes the connection to the broker, which gives everything in hand, in its order, to the next in line.
    func letGoIfCutOff(_ connection: any BrokerConnection) throws(RabbitMQError) {
        guard let (at, server) = reach.letsGo(knowsOthers: places.knowsOthers), clock.now() >= at else { return }
        reach.letGo(of: server, now: clock.now())
        try? acknowledgeFinished(connection)
        connection.endAbruptly()
        channel.scoreboard.set(Counter.queues, to: 0)
        log.warning("the queues are left to workers that may reach \(server.rawValue); this one waits until it answers")
        throw silent(server)
    }

    private func silent(_ server: Reach.Server) -> RabbitMQError {
        RabbitMQError("\(server.rawValue) does not answer", server: server.rawValue)
    }

    /// Milliseconds.
    var untilLetGo: Int {
        reach.letsGo(knowsOthers: places.knowsOthers).map { Int(max(0, $0.at - clock.now())) } ?? .max
    }

    /// A worker that stands aside would take its queues from those who reach both.
    func askBoth() throws(RabbitMQError) {
        if let server = reach.aside, reach.rest(now: clock.now()) > 0 { throw silent(server) }
        try turn.ask()
        do throws(BusError) { try bus.check() } catch {
            heardFromBus(error)
            throw RabbitMQError(error.description, server: Reach.Server.redis.rawValue)
        }
        heardFromBus(nil)
    }
}
