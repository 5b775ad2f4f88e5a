import ArgumentParser
import ChatAdapters
import ChatCommands
import ChatCore
import ChatProcess

struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Show the steps of a message with their times: accepted, stored, delivered, pushed.",
        discussion: "Redis keeps the newest TRACE_LENGTH steps. Ids: a message's, a request's, or a trace id.")

    @OptionGroup var settings: SettingsOption
    @Argument(help: "A message id, an X-Request-ID, or the trace id of a traceparent.")
    var id: String

    func run() throws {
        let settings = try self.settings.read()
        let journey = try Journey(of: id, in: RedisTrail(try RedisConnection(url: settings.redisURL)))
        guard let journey else {
            throw OperatorError(
                "there is no step of \(id): it may be too old, or TRACE_LENGTH is 0 (\(settings.traceLength) now)"
            )
        }
        print(journey.lines.joined(separator: "\n"))
    }
}

/// The trail's steps of one command.
struct Journey {
    private(set) var steps: [(at: Int64, text: String)] = []
    private var title = ""
    private var found: TrailStep.StoredCommand?
    /// By relay: when its first socket got the frame, and how many did.
    private var deliveries: [UInt64: (at: Int64, sockets: Int64)] = [:]

    init?(of id: String, in trail: RedisTrail) throws {
        let wanted = id.lowercased().filter { $0 != "-" }
        // The walk goes backwards, so deliveries are read before their batch.
        var later: [TrailStep] = []
        try trail.walk { step in
            guard case .stored(let batch) = step else {
                later.append(step)
                return true
            }
            let match = batch.commands.first {
                $0.id.description.filter { $0 != "-" } == wanted || $0.requestID == id
                    || $0.requestID?.filter { $0 != "-" } == wanted
            }
            guard let match else { return true }
            add(match, batch)
            return false
        }
        guard let found else { return nil }
        for step in later.reversed() { add(step, of: found) }
        for (relay, told) in deliveries {
            steps.append((told.at, "delivered to \(told.sockets) sockets by relay \(String(relay, radix: 16))"))
        }
        steps.sort { $0.at < $1.at }
    }

    var lines: [String] {
        let start = steps.first?.at ?? 0
        return [title]
            + steps.map { step in
                var time: [UInt8] = []
                appendTimestamp(step.at, to: &time)
                return "\(String(decoding: time, as: UTF8.self))  +\(step.at - start) ms  \(step.text)"
            }
    }

    private mutating func add(_ entry: TrailStep.StoredCommand, _ batch: TrailStep.StoredBatch) {
        found = entry
        let request = entry.requestID.map { ", request \($0)" } ?? ""
        title = "\(entry.what) \(entry.id) in room \(entry.room)\(request), traceparent \(TraceParent(of: entry.id))"
        let size = batch.commands.count
        steps = [
            (entry.acceptedAt, "accepted"),
            (batch.takenAt, "taken from its queue by process \(batch.process), in a batch of \(size)"),
        ]
        if let refusal = entry.refusal {
            steps.append((batch.storedAt, "refused: \(refusal)"))
        } else if entry.seq > 0 {
            steps.append((batch.storedAt, "stored with Seq \(entry.seq), then published"))
        } else {
            steps.append((batch.storedAt, "answered; it changed nothing"))
        }
    }

    private mutating func add(_ step: TrailStep, of entry: TrailStep.StoredCommand) {
        switch step {
        case .delivered(let relay, entry.room, let first, let last, let sockets, let at)
        where entry.seq >= first && entry.seq <= last:
            let before = deliveries[relay] ?? (at, 0)
            deliveries[relay] = (min(before.at, at), before.sockets + sockets)
        case .pushed(entry.room, let seq, let devices, let at) where seq >= entry.seq:
            // A later push of the room also covers this message; only the first one counts.
            guard !steps.contains(where: { $0.text.hasPrefix("pushed") }) else { return }
            steps.append((at, "pushed to \(devices) devices, with all up to Seq \(seq)"))
        default: return
        }
    }
}
