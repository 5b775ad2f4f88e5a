import ChatCore

/// A finished WebSocket frame with its header: encoded once, written to every member, and reference-counted while a
/// slow socket still waits for it.
final class SharedFrame: Sendable {
    private let bytes: [UInt8]
    /// Typing and presence: dropped first, never waited for.
    let isEphemeral: Bool
    /// For frames of a room's order.
    let place: Place?

    struct Place: Sendable, Equatable {
        var room: UUID128
        var seq: UInt64
    }

    /// `bytes` are the frame as it is sent.
    init(whole bytes: [UInt8], isEphemeral: Bool = false, place: Place? = nil) {
        self.bytes = bytes
        self.isEphemeral = isEphemeral
        self.place = place
    }

    convenience init(_ opcode: Opcode, _ payload: [UInt8], isEphemeral: Bool = false, place: Place? = nil) {
        self.init(whole: FrameHeader.frame(opcode, payload), isEphemeral: isEphemeral, place: place)
    }

    var count: Int { bytes.count }

    func withBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R { bytes.withUnsafeBytes(body) }
}
