import ChatCore

/// The spans of executed commands: the wait in the queue, then the batch with its parts. They are made after the batch
/// was told and answered.
struct CommandTrace {
    let tracer: Tracer
    /// Nanoseconds of two clocks: spans have Unix times, batches monotonic ones.
    var unixClock = unixNanoseconds
    var monotonicClock = monotonicNanoseconds

    /// Monotonic nanoseconds of a batch: taken, stored, told.
    struct Times {
        var begun: Int64
        var stored: Int64
        var told: Int64
    }

    func record(_ parts: [ExecutedBatch], _ times: Times) {
        let now = unixClock()
        let clock = monotonicClock()
        func unix(_ time: Int64) -> Int64 { now - (clock - time) }
        var spans: [Span] = []
        for part in parts {
            for (outcome, seq) in zip(part.outcomes, part.seqs) where !outcome.command.isProbe {
                let command = outcome.command
                // A request with another trace has decided already; otherwise all programs decide alike.
                let place =
                    command.trace ?? TraceParent(of: command.id, isSampled: tracer.sampler.records(command.id))
                guard place.isSampled else { continue }
                spans += self.spans(
                    outcome, seq, place, count: part.outcomes.count,
                    Times(begun: unix(times.begun), stored: unix(times.stored), told: unix(times.told)))
            }
        }
        if !spans.isEmpty { tracer.outlet.put(spans) }
    }

    private func spans(
        _ outcome: CommandOutcome, _ seq: Int64, _ place: TraceParent, count: Int, _ times: Times
    ) -> [Span] {
        let command = outcome.command
        // A program's own command has no requester, so it has no earlier span.
        let parent = command.origin == .nobody && command.trace == nil ? nil : place.span
        var attributes: [Span.Attribute] = [
            .init("chat.command.id", .text(command.id.description)),
            .init("chat.room.id", .text(command.room.description)),
            .init("messaging.system", .text("rabbitmq")), .init("messaging.operation.type", .text("process")),
            .init("messaging.batch.message_count", .number(Int64(count))),
        ]
        if seq > 0 { attributes.append(.init("chat.seq", .number(seq))) }
        if let code = outcome.refusal { attributes.append(.init("error.type", .text(code.rawValue))) }
        let accepted = min(max(0, command.acceptedAt), times.begun / 1_000_000) * 1_000_000
        let whole = Span(
            trace: place.trace, parent: parent, isParentRemote: parent != nil,
            name: "process \(command.action.kind.name)",
            kind: .consumer, start: times.begun, end: times.told, attributes: attributes,
            hasFailed: outcome.refusal == .internalError)
        return [
            Span(
                trace: place.trace, parent: parent, isParentRemote: parent != nil, name: "wait in queue", kind: .inside,
                start: accepted, end: times.begun),
            whole,
            Span(
                trace: place.trace, parent: whole.id, name: "store", kind: .client, start: times.begun,
                end: times.stored,
                attributes: [.init("db.system.name", .text("postgresql"))]),
            Span(
                trace: place.trace, parent: whole.id, name: "publish", kind: .producer, start: times.stored,
                end: times.told, attributes: [.init("messaging.system", .text("redis"))]),
        ]
    }
}
