/// The fields of a client frame after `Type` and `Sign`, encoded once for all: the sender's `response` and the members'
/// frame share these bytes and differ only in their beginning.
public struct FrameBody: Sendable, Equatable {
    /// The number of map entries in `bytes`.
    public var fieldCount: UInt8
    public var bytes: [UInt8]

    public init(fieldCount: UInt8, bytes: [UInt8]) {
        self.fieldCount = fieldCount
        self.bytes = bytes
    }

    /// A success with its data; frames in a room's order have `room` and `seq`.
    public init(
        room: UUID128? = nil, seq: Int64? = nil, reserving capacity: Int = 512,
        data: (inout MessagePackWriter) -> Void
    ) {
        var writer = MessagePackWriter(reserving: capacity)
        writer.key("Success")
        writer.bool(true)
        writer.key("Error")
        writer.string("")
        writer.key("Data")
        data(&writer)
        var count: UInt8 = 3
        if let room {
            writer.key("RoomID")
            writer.uuid(room)
            count += 1
        }
        if let seq {
            writer.key("Seq")
            writer.int(seq)
            count += 1
        }
        self.init(fieldCount: count, bytes: writer.bytes)
    }

    public init(_ refusal: Refusal) {
        var writer = MessagePackWriter(reserving: 128)
        writer.key("Success")
        writer.bool(false)
        writer.key("Error")
        writer.string(refusal.text)
        writer.key("Data")
        writer.null()
        var count: UInt8 = 3
        if let field = refusal.field {
            writer.key("Field")
            writer.string(field)
            count += 1
        }
        if let wait = refusal.retryAfterMilliseconds {
            writer.key("RetryAfter")
            writer.int(Int64(wait))
            count += 1
        }
        self.init(fieldCount: count, bytes: writer.bytes)
    }

    /// The whole frame for a client (MessagePack).
    public func frame(_ kind: FrameKind, sign: String? = nil) -> [UInt8] {
        var writer = MessagePackWriter(reserving: bytes.count + 96)
        writer.beginMap(Int(fieldCount) + (sign == nil ? 1 : 2))
        writer.key("Type")
        writer.string(kind.name.description)
        if let sign {
            writer.key("Sign")
            writer.string(sign)
        }
        writer.bytes.append(contentsOf: bytes)
        return writer.bytes
    }
}
