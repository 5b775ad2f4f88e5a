/// The header of a frame to a client: unfragmented and unmasked, as a server must send it.
enum FrameHeader {
    /// The longest header that a server writes: two bytes and a 64-bit length.
    static let maxLength = 10

    static func length(payload: Int) -> Int {
        payload < 126 ? 2 : payload <= 0xFFFF ? 4 : 10
    }

    /// Writes the shortest header for `payload` bytes at `start`, which has room for `length(payload:)`.
    @discardableResult
    static func write(_ opcode: Opcode, payload: Int, at start: UnsafeMutableRawPointer) -> Int {
        start.storeBytes(of: 0x80 | opcode.rawValue, as: UInt8.self)
        switch length(payload: payload) {
        case 2:
            start.storeBytes(of: UInt8(payload), toByteOffset: 1, as: UInt8.self)
            return 2
        case 4:
            start.storeBytes(of: 126, toByteOffset: 1, as: UInt8.self)
            start.storeBytes(of: UInt16(payload).bigEndian, toByteOffset: 2, as: UInt16.self)
            return 4
        default:
            start.storeBytes(of: 127, toByteOffset: 1, as: UInt8.self)
            start.storeBytes(of: UInt64(payload).bigEndian, toByteOffset: 2, as: UInt64.self)
            return 10
        }
    }

    /// A whole frame, for the few that go to one socket only.
    static func frame(_ opcode: Opcode, _ payload: some Collection<UInt8>, isCompressed: Bool = false) -> [UInt8] {
        let header = length(payload: payload.count)
        return [UInt8](unsafeUninitializedCapacity: header + payload.count) { buffer, count in
            write(opcode, payload: payload.count, at: UnsafeMutableRawPointer(buffer.baseAddress!))
            // RSV1: RFC 7692 6.
            if isCompressed { buffer[0] |= 0x40 }
            _ = UnsafeMutableBufferPointer(rebasing: buffer[header...]).update(fromContentsOf: payload)
            count = header + payload.count
        }
    }

    /// A close frame; the reason is cut, at a character boundary, to the limit of a control frame (123 bytes).
    static func close(_ code: CloseCode, _ reason: String) -> [UInt8] {
        var kept = reason
        while kept.utf8.count > 123 { kept.removeLast() }
        return frame(.close, [UInt8(code.rawValue >> 8), UInt8(code.rawValue & 0xFF)] + Array(kept.utf8))
    }
}
