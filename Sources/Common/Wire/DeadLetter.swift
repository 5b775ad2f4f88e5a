/// A message of a command queue that could not be executed, in the format of the dead letter queue: a MessagePack map.
public struct DeadLetter: Sendable, Equatable {
    public var id: UUID128
    /// The queue that it came from.
    public var queue: String
    /// Unix milliseconds at which it was moved here.
    public var at: Int64
    public var reason: String
    /// The stacks of the workers that it crashed; empty if it crashed none.
    public var stack: String
    /// The message itself, for ``Command/decodeAll(_:reply:)`` if it is readable at all.
    public var body: [UInt8]

    public init(id: UUID128, queue: String, at: Int64, reason: String, stack: String = "", body: [UInt8]) {
        self.id = id
        self.queue = queue
        self.at = at
        self.reason = reason
        self.stack = stack
        self.body = body
    }

    public func encode() -> [UInt8] {
        var writer = MessagePackWriter(reserving: body.count + stack.utf8.count + 256)
        writer.map {
            $0.field("ID", id)
            $0.field("Queue", queue)
            $0.field("At", at)
            $0.field("Reason", reason)
            $0.field("Stack", stack)
            $0.field("Body", body)
        }
        return writer.bytes
    }

    public static func decode(_ bytes: [UInt8]) throws(WireError) -> DeadLetter {
        let value = try MessagePackReader.decode(bytes)
        guard let id = value["ID"]?.string.flatMap({ UUID128($0) }), let queue = value["Queue"]?.string,
            let at = value["At"]?.int, let reason = value["Reason"]?.string, let stack = value["Stack"]?.string,
            case .binary(let body) = value["Body"]
        else { throw WireError("no dead letter", at: 0) }
        return DeadLetter(id: id, queue: queue, at: at, reason: reason, stack: stack, body: body)
    }
}
