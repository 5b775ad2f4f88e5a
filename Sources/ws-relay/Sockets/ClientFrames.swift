import ChatAdapters
import ChatCore

/// The format of a socket's frames: MessagePack by default, the same map as JSON text for `chat.json`; both compressed
/// when that was negotiated.
struct ClientFrames {
    var isJSON = false
    /// The relay's only compressor; nil: not negotiated.
    var deflate: Deflate?

    func make(
        _ body: FrameBody, _ kind: FrameKind, sign: String? = nil, place: SharedFrame.Place? = nil
    ) -> SharedFrame {
        encode(body.frame(kind, sign: sign), isEphemeral: kind == .typing || kind == .presence, place: place)
    }

    /// A finished MessagePack frame.
    func whole(_ frame: [UInt8]) -> SharedFrame { encode(frame, isEphemeral: false, place: nil) }

    private func encode(_ packed: [UInt8], isEphemeral: Bool, place: SharedFrame.Place?) -> SharedFrame {
        let payload = isJSON ? Self.json(of: packed) : packed
        let opcode: Opcode = isJSON ? .text : .binary
        if let deflate, payload.count >= Deflate.shortest {
            let small = deflate.deflate(payload)
            if small.count < payload.count {
                let bytes = FrameHeader.frame(opcode, small, isCompressed: true)
                return SharedFrame(whole: bytes, isEphemeral: isEphemeral, place: place)
            }
        }
        return SharedFrame(opcode, payload, isEphemeral: isEphemeral, place: place)
    }

    /// Our own programs made these bytes. If they are unreadable nevertheless, the client gets an empty map.
    static func json(of frame: [UInt8]) -> [UInt8] {
        var writer = JSONWriter(reserving: frame.count * 3 / 2)
        writer.value((try? MessagePackReader.decode(frame)) ?? .map([]))
        return writer.take()
    }
}
