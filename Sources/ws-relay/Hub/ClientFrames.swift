import ChatCore

/// Frames as sockets get them: MessagePack by default, the same map as JSON text for `chat.json`.
enum ClientFrames {
    static func make(
        _ body: FrameBody, _ kind: FrameKind, sign: String? = nil, asJSON: Bool, place: SharedFrame.Place? = nil
    ) -> SharedFrame {
        let packed = body.frame(kind, sign: sign)
        return SharedFrame(
            asJSON ? .text : .binary, asJSON ? json(of: packed) : packed,
            isEphemeral: kind == .typing || kind == .presence, place: place)
    }

    /// A finished MessagePack frame in the socket's own encoding.
    static func whole(_ frame: [UInt8], asJSON: Bool) -> SharedFrame {
        asJSON ? SharedFrame(.text, json(of: frame)) : SharedFrame(.binary, frame)
    }

    /// Our own programs made the bytes; if they cannot be read nevertheless, the client gets an empty map.
    private static func json(of frame: [UInt8]) -> [UInt8] {
        var writer = JSONWriter(reserving: frame.count * 3 / 2)
        writer.value((try? MessagePackReader.decode(frame)) ?? .map([]))
        return writer.take()
    }
}
