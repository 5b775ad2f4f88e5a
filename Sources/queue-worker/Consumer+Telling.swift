import ChatAdapters
import ChatCore
import ChatProcess

/// Publishes stored batches: to the relays, then answers to REST, then jobs to the push workers.
extension Consumer {
    func tell(_ stored: [ExecutedBatch], _ connection: any BrokerConnection) throws(RabbitMQError) {
        for part in stored { try tell(part.notice, connection) }
        for part in stored { try answer(part.outcomes, connection) }
        if settings.push.isOn { try announce(stored, connection) }
        count(stored)
    }

    private func tell(_ notice: Notice, _ connection: any BrokerConnection) throws(RabbitMQError) {
        // The trail alone is not worth a wait.
        if notice.isEmpty, notice.trail != nil, !outage.isAway("Redis") {
            connection.whileAway { try? bus.publish(notice) }
        }
        var backoff = Backoff()
        while !notice.isEmpty {
            do throws(BusError) {
                let begun = monotonicNow()
                try connection.whileAway { () throws(BusError) in try bus.publish(notice) }
                channel.scoreboard.histogram(Timing.publish).observe(monotonicNow() - begun)
                return heardFromBus(nil)
            } catch {
                heardFromBus(error)
                try letGoIfCutOff(connection)
                try wait(backoff.next(), connection)
            }
        }
    }

    private func answer(_ outcomes: [CommandOutcome], _ connection: any BrokerConnection) throws(RabbitMQError) {
        for outcome in outcomes {
            guard case .reply(let queue, let correlation) = outcome.command.origin else { continue }
            let frame = outcome.answer.frame(.response, sign: outcome.command.sign)
            if StrayAnswers.areMeant(by: queue) {
                connection.whileAway { strays.answer(frame, to: queue, correlation: correlation) }
            } else {
                // The requester may be gone: the broker then drops the answer, and a retry gets it again.
                try connection.answer(frame, to: queue, correlation: correlation)
            }
        }
    }

    /// Before the acknowledgement: the broker reads both in this order, so a lost connection repeats the batch.
    private func announce(_ stored: [ExecutedBatch], _ connection: any BrokerConnection) throws(RabbitMQError) {
        let jobs = stored.flatMap(\.pushJobs)
        for part in [jobs.filter { !$0.isDeletion }, jobs.filter(\.isDeletion)] where !part.isEmpty {
            try connection.publish(
                PushJob.encode(part), to: settings.rabbitMQ.pushQueueName, exchange: "", mandatory: false,
                persistent: true, replyTo: nil, correlation: nil)
        }
    }

    private func count(_ stored: [ExecutedBatch]) {
        let outcomes = stored.flatMap(\.outcomes).filter { !$0.command.isProbe }
        channel.scoreboard.add(outcomes.count, to: Counter.commands)
        channel.scoreboard.add(outcomes.count { $0.refusal != nil }, to: Counter.refused)
        channel.scoreboard.add(stored.reduce(0) { $0 + $1.batch.newMessages.count }, to: Counter.messages)
        channel.scoreboard.add(stored.count, to: Counter.batches)
    }
}
