import ChatAdapters
import ChatCore
import ChatProcess

/// Handles redelivered messages with care: such a message may be the one that crashed its worker.
extension Consumer {
    /// SIGKILL is seldom caused by a command; only this many in a row count against it.
    private static let maxSilentDeaths = 10

    /// Tries the message alone. When a worker dies again, its commands are tried one by one; a command that ends a
    /// third worker goes to the dead letter queue.
    func workCarefully(
        _ delivery: RabbitMQDelivery, _ connection: any BrokerConnection
    ) throws(RabbitMQError) {
        let whole = "message-" + String(fnv1a64(delivery.body), radix: 16)
        let deaths = attempts.deaths(of: whole)
        let commands = try decode(delivery, connection)
        channel.scoreboard.beginRequest("batch again", "\(commands.count) commands")
        if deaths.crashed + deaths.silent == 0 {
            attempts.begin(whole)
            try execute(commands, connection)
            attempts.end()
        } else {
            for command in commands { try executeAlone(command, after: deaths, delivery.consumer, connection) }
            attempts.forget(whole)
        }
        try finishFirst(connection)
        channel.scoreboard.endRequest(status: 200, bytes: commands.count)
    }

    private func executeAlone(
        _ command: Command, after earlier: Attempts.Deaths, _ queue: String, _ connection: any BrokerConnection
    ) throws(RabbitMQError) {
        let key = "command-\(command.id)"
        let deaths = attempts.deaths(of: key)
        guard deaths.crashed == 0, deaths.silent < Self.maxSilentDeaths else {
            let reason =
                deaths.crashed > 0 ? "it crashed three workers" : "\(deaths.silent) workers ended while handling it"
            try putAside(
                command.joinedAlone, queue, reason: reason, stack: earlier.text + deaths.text,
                connection)
            try tell([run.refused(command)], connection)
            return attempts.forget(key)
        }
        attempts.begin(key)
        try execute([command], connection)
        attempts.end()
    }
}
