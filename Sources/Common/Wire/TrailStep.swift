/// One step of a message's path, in the format of the trail in Redis: a MessagePack array. The trail is bounded and
/// only for looking at recent events; nothing depends on it.
public enum TrailStep: Sendable, Equatable {
    /// One batch of the rooms' writer, with all its commands; times in Unix milliseconds.
    case stored(StoredBatch)
    /// A relay has written a room's frames (`first` to `last`) to this many sockets.
    case delivered(relay: UInt64, room: UUID128, first: Int64, last: Int64, sockets: Int64, at: Int64)
    /// This many devices got a push of a room's news up to `seq`.
    case pushed(room: UUID128, seq: Int64, devices: Int64, at: Int64)

    public struct StoredBatch: Sendable, Equatable {
        public var process: Int64
        /// Taken from the queue; committed; handed to Redis.
        public var takenAt: Int64
        public var storedAt: Int64
        public var commands: [StoredCommand]

        public init(process: Int64, takenAt: Int64, storedAt: Int64, commands: [StoredCommand]) {
            self.process = process
            self.takenAt = takenAt
            self.storedAt = storedAt
            self.commands = commands
        }
    }

    public struct StoredCommand: Sendable, Equatable {
        public var id: UUID128
        public var room: UUID128
        /// The Seq of its change; 0 when it changed nothing.
        public var seq: Int64
        public var acceptedAt: Int64
        public var requestID: String?
        public var what: String
        /// The code of its refusal.
        public var refusal: String?

        public init(
            id: UUID128, room: UUID128, seq: Int64, acceptedAt: Int64, requestID: String?, what: String,
            refusal: String?
        ) {
            self.id = id
            self.room = room
            self.seq = seq
            self.acceptedAt = acceptedAt
            self.requestID = requestID
            self.what = what
            self.refusal = refusal
        }
    }

    public func encode() -> [UInt8] {
        var writer = MessagePackWriter()
        writer.record {
            switch self {
            case .stored(let batch):
                $0.add(1 as Int64, batch.process, batch.takenAt, batch.storedAt, batch.commands)
            case .delivered(let relay, let room, let first, let last, let sockets, let at):
                $0.add(2 as Int64, SpelledID(room), Int64(bitPattern: relay))
                $0.add(first, last, sockets, at)
            case .pushed(let room, let seq, let devices, let at):
                $0.add(3 as Int64, SpelledID(room), seq, devices, at)
            }
        }
        return writer.bytes
    }

    public static func decode(_ bytes: [UInt8]) -> TrailStep? {
        guard let fields = (try? MessagePackReader.decode(bytes))?.array else { return nil }
        let numbers = fields.compactMap(\.int)
        let room = fields.count > 1 ? fields[1].string.flatMap { UUID128($0) } : nil
        switch (numbers.first, fields.count) {
        case (1, 5) where numbers.count == 4:
            let entries = (fields[4].array ?? []).compactMap { StoredCommand(field: $0) }
            return .stored(.init(process: numbers[1], takenAt: numbers[2], storedAt: numbers[3], commands: entries))
        case (2, 7) where numbers.count == 6:
            guard let room else { return nil }
            return .delivered(
                relay: UInt64(bitPattern: numbers[1]), room: room, first: numbers[2], last: numbers[3],
                sockets: numbers[4], at: numbers[5])
        case (3, 5) where numbers.count == 4:
            guard let room else { return nil }
            return .pushed(room: room, seq: numbers[1], devices: numbers[2], at: numbers[3])
        default: return nil
        }
    }
}

extension TrailStep.StoredCommand: RecordField {
    func write(to writer: inout MessagePackWriter) {
        writer.record {
            $0.add(SpelledID(id), SpelledID(room), seq, acceptedAt)
            $0.add(requestID, what, refusal)
        }
    }

    init?(field: WireValue) {
        guard let fields = field.array, fields.count == 7, let id = fields[0].string.flatMap({ UUID128($0) }),
            let room = fields[1].string.flatMap({ UUID128($0) }), let seq = fields[2].int,
            let acceptedAt = fields[3].int, let what = fields[5].string
        else { return nil }
        self.init(
            id: id, room: room, seq: seq, acceptedAt: acceptedAt, requestID: fields[4].string, what: what,
            refusal: fields[6].string)
    }
}
