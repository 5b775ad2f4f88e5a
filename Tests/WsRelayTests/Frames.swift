@testable import ws_relay

/// Valid and invalid client frames.
enum ClientFrame {
    static func bytes(
        _ opcode: UInt8, _ payload: [UInt8], final: Bool = true, mask: [UInt8]? = [0x37, 0xFA, 0x21, 0x3D],
        reserved: UInt8 = 0, lengthForm: Int? = nil
    ) -> [UInt8] {
        var frame = [(final ? 0x80 : 0) | reserved | opcode]
        let marked: UInt8 = mask == nil ? 0 : 0x80
        let form = lengthForm ?? (payload.count < 126 ? 0 : payload.count <= 0xFFFF ? 2 : 8)
        switch form {
        case 0: frame.append(marked | UInt8(payload.count))
        case 2: frame += [marked | 126, UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            frame.append(marked | 127)
            frame += (0..<8).map { UInt8(truncatingIfNeeded: UInt64(payload.count) >> (56 - 8 * UInt64($0))) }
        }
        guard let mask else { return frame + payload }
        return frame + mask + payload.enumerated().map { $1 ^ mask[$0 % 4] }
    }
}

/// Events with their payloads copied out, so that tests can compare them.
enum Seen: Equatable {
    case message(text: Bool, [UInt8])
    case ping([UInt8])
    case pong([UInt8])
    case close(UInt16?)
    case violation(CloseCode)

    init(_ event: FrameParser.FrameEvent) {
        switch event {
        case .message(let isText, _, let payload): self = .message(text: isText, payload.withBytes(Array.init))
        case .ping(let payload): self = .ping(payload.withBytes(Array.init))
        case .pong(let payload): self = .pong(payload.withBytes(Array.init))
        case .close(let code): self = .close(code)
        case .violation(let code): self = .violation(code)
        }
    }
}

extension FrameParser {
    /// Feeds one chunk from its own memory; stops at a violation, as the relay does.
    mutating func feed(_ chunk: some Collection<UInt8>) -> [Seen] {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(chunk.count, 1), alignment: 1)
        defer { copy.deallocate() }
        copy.copyBytes(from: chunk)
        var rest = UnsafeMutableRawBufferPointer(rebasing: copy[..<chunk.count])
        var seen: [Seen] = []
        while let event = next(&rest) {
            seen.append(Seen(event))
            if case .violation = event { break }
        }
        return seen
    }
}
