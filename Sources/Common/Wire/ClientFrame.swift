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
        writer.field("Success", true)
        writer.field("Error", "")
        writer.field("Data", data)
        writer.field("RoomID", ifAny: room)
        writer.field("Seq", ifAny: seq)
        self.init(writer)
    }

    public init(_ refusal: Refusal) {
        var writer = MessagePackWriter(reserving: 128)
        writer.field("Success", false)
        writer.field("Error", refusal.text)
        writer.field("Data") { $0.null() }
        writer.field("Field", ifAny: refusal.field)
        writer.field("RetryAfter", ifAny: refusal.retryAfterMilliseconds)
        self.init(writer)
    }

    /// - Parameter fields: fields without a map around them.
    private init(_ fields: MessagePackWriter) {
        self.init(fieldCount: UInt8(fields.entries), bytes: fields.bytes)
    }

    /// The whole frame for a client (MessagePack).
    public func frame(_ kind: FrameKind, sign: String? = nil) -> [UInt8] {
        var writer = MessagePackWriter(reserving: bytes.count + 96)
        writer.map {
            $0.field("Type", kind.name.description)
            $0.field("Sign", ifAny: sign)
            $0.fields(of: self)
        }
        return writer.bytes
    }
}

extension MessagePackWriter {
    fileprivate mutating func fields(of body: FrameBody) {
        entries += Int(body.fieldCount)
        bytes.append(contentsOf: body.bytes)
    }
}
