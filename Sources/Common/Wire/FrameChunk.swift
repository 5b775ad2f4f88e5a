/// One change of a room on its way to the members' sockets.
public struct RoomFrame: Sendable, Equatable {
    /// Its position in the room's order; 0 for frames outside of it (typing), which are never stored.
    public var seq: UInt64
    public var kind: FrameKind
    /// The socket that requested the change: its relay sends this frame as the `response`.
    public var origin: SocketAddress?
    /// The `Sign` of the request, for that response.
    public var sign: String?
    /// The requesting user, when no socket is known or meant: a frame repeated from the store, which knows the user and
    /// the `sign`; and one outside of the order (typing, presence), which the user's own sockets do not receive.
    public var asker: UUID128?
    /// Users who become members with this frame, and users who cease to be. Both get it; the latter get nothing later.
    public var joined: [UUID128]
    public var left: [UUID128]
    public var body: FrameBody

    public init(
        seq: UInt64, kind: FrameKind, origin: SocketAddress? = nil, sign: String? = nil, asker: UUID128? = nil,
        joined: [UUID128] = [], left: [UUID128] = [], body: FrameBody
    ) {
        self.seq = seq
        self.kind = kind
        self.origin = origin
        self.sign = sign
        self.asker = asker
        self.joined = joined
        self.left = left
        self.body = body
    }

    /// Replaces a frame that the previous version sent to one member only (an incomplete file): everybody's order
    /// continues after it.
    public static func skipped(_ seq: Int64, in room: UUID128) -> RoomFrame {
        let update = RoomUpdate(roomID: room, change: .skipped, seq: seq)
        return RoomFrame(
            seq: UInt64(clamping: seq), kind: .roomUpdated,
            body: FrameBody(room: room, seq: seq) { update.write(to: &$0) })
    }
}

/// The content of `room:{id}` and of the room's log: one or more frames of one room, in order.
///
/// A batch is published and logged as one chunk per room: one Redis command instead of one per frame. The log's entry
/// id is the chunk's last Seq, so the entries after `Seq` are exactly those with something newer.
public struct FrameChunk: Sendable, Equatable {
    private static let version: UInt8 = 1

    public var room: UUID128
    public var frames: [RoomFrame]

    public init(room: UUID128, frames: [RoomFrame]) {
        self.room = room
        self.frames = frames
    }

    public func encode() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(frames.reduce(32) { $0 + $1.body.bytes.count + 96 })
        bytes.append(Self.version)
        room.appendBytes(to: &bytes)
        bytes.append(integer: UInt32(frames.count))
        for frame in frames {
            bytes.append(integer: frame.seq)
            bytes.append(frame.kind.rawValue)
            bytes.append(integer: frame.origin?.relay ?? 0)
            bytes.append(integer: frame.origin?.socket ?? 0)
            bytes.append(shortText: frame.sign)
            bytes.append(uuids: frame.asker.map { [$0] } ?? [])
            // Always empty. In the previous version this list named the only users who may see the frame.
            bytes.append(uuids: [])
            bytes.append(uuids: frame.joined)
            bytes.append(uuids: frame.left)
            bytes.append(frame.body.fieldCount)
            bytes.append(integer: UInt32(frame.body.bytes.count))
            bytes.append(contentsOf: frame.body.bytes)
        }
        return bytes
    }

    public static func decode(_ bytes: some Sequence<UInt8>) throws(WireError) -> FrameChunk {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt8.self) == version else { throw WireError("an unknown frame version", at: 0) }
        var chunk = FrameChunk(room: try reader.uuid(), frames: [])
        for _ in 0..<(try reader.integer(UInt32.self)) {
            let seq = try reader.integer(UInt64.self)
            guard let kind = FrameKind(rawValue: try reader.integer()) else {
                throw WireError("an unknown frame kind", at: 0)
            }
            let origin = SocketAddress(relay: try reader.integer(), socket: try reader.integer())
            let sign = try reader.shortText()
            let asker = try reader.uuids().first
            let isForOne = try !reader.uuids().isEmpty
            let joined = try reader.uuids()
            let left = try reader.uuids()
            let fieldCount = try reader.integer(UInt8.self)
            let length = Int(try reader.integer(UInt32.self))
            let body = FrameBody(fieldCount: fieldCount, bytes: Array(try reader.take(length)))
            guard !isForOne else {
                chunk.frames.append(.skipped(Int64(clamping: seq), in: chunk.room))
                continue
            }
            chunk.frames.append(
                RoomFrame(
                    seq: seq, kind: kind, origin: origin.relay == 0 ? nil : origin, sign: sign, asker: asker,
                    joined: joined, left: left, body: body))
        }
        guard reader.isAtEnd else { throw WireError("bytes follow the chunk", at: 0) }
        return chunk
    }
}
