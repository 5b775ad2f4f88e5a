/// A finished WebSocket frame, header included: encoded once, written to every member, counted by reference while a
/// slow socket still waits for it.
final class SharedFrame: Sendable {
    private let bytes: [UInt8]
    /// Typing and presence: the first to be dropped, never waited for.
    let isEphemeral: Bool

    /// `bytes` are the frame as it goes to the socket.
    init(whole bytes: [UInt8], isEphemeral: Bool = false) {
        self.bytes = bytes
        self.isEphemeral = isEphemeral
    }

    convenience init(_ opcode: Opcode, _ payload: [UInt8], isEphemeral: Bool = false) {
        self.init(whole: FrameHeader.frame(opcode, payload), isEphemeral: isEphemeral)
    }

    var count: Int { bytes.count }

    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R { bytes.withUnsafeBytes(body) }
}
