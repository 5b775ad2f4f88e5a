/// A job from the rooms' writer to the push workers, sent through their queue: an AMQP body is a MessagePack array of
/// jobs.
public enum PushJob: Sendable, Equatable {
    /// The room has messages of users up to `seq`, stored at `at` (Unix milliseconds).
    case messages(room: UUID128, seq: Int64, at: Int64)
    /// `user` has seen the room up to `seq`: notifications up to there can be removed.
    case seen(room: UUID128, user: UUID128, seq: Int64)
    /// A message was deleted: its notification can be removed. It needs a body of its own, because the previous version
    /// refuses a whole body that contains it.
    case deleted(room: UUID128, message: UUID128, seq: Int64)

    /// A push of a message to one device that another worker could not finish: of the newest one from `first` to `seq`.
    /// Also in a body of its own.
    case again(room: UUID128, user: UUID128, device: String, first: Int64, seq: Int64)

    public var isDeletion: Bool { if case .deleted = self { true } else { false } }

    public static func encode(_ jobs: [PushJob]) -> [UInt8] {
        var writer = MessagePackWriter(reserving: 64 * jobs.count + 8)
        writer.array(jobs) { writer, job in writer.record { job.write(to: &$0) } }
        return writer.bytes
    }

    private func write(to writer: inout MessagePackWriter) {
        switch self {
        case .messages(let room, let seq, let at): writer.add(1 as Int64, SpelledID(room), seq, at)
        case .seen(let room, let user, let seq): writer.add(2 as Int64, SpelledID(room), SpelledID(user), seq)
        case .deleted(let room, let message, let seq): writer.add(3 as Int64, SpelledID(room), SpelledID(message), seq)
        case .again(let room, let user, let device, let first, let seq):
            writer.add(4 as Int64, SpelledID(room), SpelledID(user), device, first, seq)
        }
    }

    /// - Throws: also for a number that no program of ours writes. What is decoded can be calculated with.
    public static func decode(_ bytes: [UInt8]) throws(WireError) -> [PushJob] {
        guard case .array(let items) = try MessagePackReader.decode(bytes) else {
            throw WireError("no push jobs", at: 0)
        }
        var jobs: [PushJob] = []
        for item in items {
            guard let job = PushJob(item.array ?? []) else { throw WireError("no push job", at: jobs.count) }
            jobs.append(job)
        }
        return jobs
    }

    private init?(_ fields: [WireValue]) {
        guard fields.count >= 4, let room = fields[1].string.flatMap({ UUID128($0) }) else { return nil }
        switch (fields[0].int, fields.count) {
        case (1, 4):
            guard let seq = Self.seq(fields[2]), let at = fields[3].int, (0...lastTime).contains(at) else { return nil }
            self = .messages(room: room, seq: seq, at: at)
        case (2, 4):
            guard let user = fields[2].string.flatMap({ UUID128($0) }), let seq = Self.seq(fields[3]) else {
                return nil
            }
            self = .seen(room: room, user: user, seq: seq)
        case (3, 4):
            guard let message = fields[2].string.flatMap({ UUID128($0) }), let seq = Self.seq(fields[3]) else {
                return nil
            }
            self = .deleted(room: room, message: message, seq: seq)
        case (4, 6):
            guard let user = fields[2].string.flatMap({ UUID128($0) }), let device = fields[3].string,
                let first = Self.seq(fields[4]), let seq = Self.seq(fields[5])
            else { return nil }
            self = .again(room: room, user: user, device: device, first: first, seq: seq)
        default: return nil
        }
    }

    private static func seq(_ field: WireValue) -> Int64? {
        field.int.flatMap { (0..<Int64.max).contains($0) ? $0 : nil }
    }
}
