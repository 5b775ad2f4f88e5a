/// An event on `user:{id}`, for every relay that holds sockets of that user.
public enum UserEvent: Sendable, Equatable {
    /// The user becomes a member of `room` after the change `seq`. A relay that does not follow the room yet delivers
    /// `created`, if present, to the user's sockets and follows the room from `seq` on. A relay that follows it already
    /// learns the same from the room's own frame and does nothing.
    ///
    /// `created` is the `room_updated` frame of a new room (Seq 0, which no log holds). Without it, the frame of the
    /// join has the Seq `seq + 1` and comes from the room's log.
    case joined(room: UUID128, seq: UInt64, created: FrameBody?)
    /// The user hides their presence from now on, or shows it again.
    case presence(isHidden: Bool)
    /// In this PRIVATE room the two members no longer see each other typing, because one has blocked the other; or they
    /// see it again.
    case blocked(room: UUID128, Bool)
    /// Probes every socket of the user: any later byte from a client proves that everything published before has
    /// arrived.
    case probe

    public func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        switch self {
        case .joined(let room, let seq, let created):
            bytes.append(1)
            room.appendBytes(to: &bytes)
            bytes.append(integer: seq)
            bytes.append(created?.fieldCount ?? 0)
            bytes.append(contentsOf: created?.bytes ?? [])
        case .presence(let isHidden):
            bytes.append(3)
            bytes.append(isHidden ? 1 : 0)
        case .probe: bytes.append(4)
        case .blocked(let room, let areBlocked):
            bytes.append(5)
            room.appendBytes(to: &bytes)
            bytes.append(areBlocked ? 1 : 0)
        }
        return bytes
    }

    public static func decode(_ bytes: [UInt8]) throws(WireError) -> UserEvent {
        var reader = ByteReader(bytes)
        switch try reader.integer(UInt8.self) {
        case 1:
            let room = try reader.uuid()
            let seq = try reader.integer(UInt64.self)
            let fieldCount = try reader.integer(UInt8.self)
            let body = FrameBody(fieldCount: fieldCount, bytes: Array(try reader.take(bytes.count - 26)))
            return .joined(room: room, seq: seq, created: fieldCount == 0 ? nil : body)
        case 3: return .presence(isHidden: try reader.integer(UInt8.self) != 0)
        case 4: return .probe
        case 5: return .blocked(room: try reader.uuid(), try reader.integer(UInt8.self) != 0)
        default: throw WireError("an unknown user event", at: 0)
        }
    }
}

/// A message on `relay:{id}`: an answer for one socket that is not a frame of a room (a refusal, or a repeated answer).
public struct RelayAnswer: Sendable, Equatable {
    public var socket: UInt64
    /// The whole client frame in MessagePack.
    public var frame: [UInt8]

    public init(socket: UInt64, frame: [UInt8]) {
        self.socket = socket
        self.frame = frame
    }

    public func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: socket)
        bytes.append(contentsOf: frame)
        return bytes
    }

    public static func decode(_ bytes: [UInt8]) throws(WireError) -> RelayAnswer {
        var reader = ByteReader(bytes)
        let socket: UInt64 = try reader.integer()
        return RelayAnswer(socket: socket, frame: Array(try reader.take(bytes.count - 8)))
    }
}
