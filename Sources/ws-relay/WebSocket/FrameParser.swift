/// RFC 6455 on the server's side: takes chunks cut anywhere, returns whole messages and control frames.
///
/// A frame that is complete in the chunk is unmasked in place and returned without a copy. Only half-read input is
/// kept, so a parser that `isIdle` can be discarded, and an idle connection needs none. A message longer than
/// `maxMessage` is refused at its header, so no more than that is kept.
struct FrameParser: Sendable {
    enum Payload {
        /// Inside the given chunk; valid until the chunk's memory is reused.
        case inPlace(UnsafeRawBufferPointer)
        case assembled([UInt8])

        func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
            switch self {
            case .inPlace(let bytes): try body(bytes)
            case .assembled(let bytes): try bytes.withUnsafeBytes(body)
            }
        }
    }

    enum FrameEvent {
        /// A compressed message is returned as it is: the code that inflates it checks its text.
        case message(isText: Bool, isCompressed: Bool, Payload)
        case ping(Payload)
        case pong(Payload)
        /// The client's close; nil without a code.
        case close(UInt16?)
        /// The connection must be closed with this code; the parser cannot be used afterwards.
        case violation(CloseCode)
    }

    /// The frame whose payload is incomplete.
    struct Frame: Equatable, Sendable {
        var opcode: Opcode
        var isFinal: Bool
        var isCompressed: Bool
        var length: Int
        var read: Int
        var mask: UInt32
    }

    let maxMessage: Int
    /// permessage-deflate was negotiated: RSV1 of a message's first frame marks it as compressed.
    let inflates: Bool
    var head = PartialHeader()
    var frame: Frame?
    /// The kind of a message that has begun and needs continuations.
    var messageKind: Opcode?
    var isCompressed = false
    var message: [UInt8] = []
    var control: [UInt8] = []
    var text = UTF8Check()

    init(maxMessage: Int, inflates: Bool = false) {
        self.maxMessage = maxMessage
        self.inflates = inflates
    }

    /// Between two messages: nothing must be kept.
    var isIdle: Bool { head.count == 0 && frame == nil && messageKind == nil }

    /// The next event in the chunk, whose front is consumed; nil when the whole chunk is.
    mutating func next(_ chunk: inout UnsafeMutableRawBufferPointer) -> FrameEvent? {
        while true {
            if frame == nil {
                guard head.take(from: &chunk, check: check) else { return nil }
                if let code = head.violation { return .violation(code) }
                if let code = begin(head.frame) { return .violation(code) }
            }
            guard var current = frame else { return nil }
            if current.length > current.read, chunk.isEmpty { return nil }
            let piece = takePayload(of: &current, from: &chunk)
            let isWhole = current.read == current.length
            frame = isWhole ? nil : current
            if let event = current.opcode.isControl
                ? controlPiece(piece, current, isWhole) : messagePiece(piece, current, isWhole)
            {
                return event
            }
        }
    }

    /// Checks a header's first two bytes as soon as they arrive.
    private func check(_ first: UInt8, _ second: UInt8) -> CloseCode? {
        guard let opcode = Opcode(rawValue: first & 0x0F), second & 0x80 != 0 else { return .protocolError }
        let mayBeCompressed = inflates && (opcode == .text || opcode == .binary)
        guard first & (mayBeCompressed ? 0x30 : 0x70) == 0 else { return .protocolError }
        let isFinal = first & 0x80 != 0
        if opcode.isControl { return isFinal && second & 0x7F <= 125 ? nil : .protocolError }
        return (opcode == .continuation) == (messageKind != nil) ? nil : .protocolError
    }

    private mutating func begin(_ next: Frame) -> CloseCode? {
        head = PartialHeader()
        if !next.opcode.isControl {
            guard next.length <= maxMessage - message.count else { return .messageTooBig }
            if next.opcode != .continuation {
                (messageKind, isCompressed, text) = (next.opcode, next.isCompressed, UTF8Check())
            }
        }
        frame = next
        return nil
    }

    private func takePayload(
        of frame: inout Frame, from chunk: inout UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        let count = min(frame.length - frame.read, chunk.count)
        let piece = UnsafeMutableRawBufferPointer(rebasing: chunk[..<count])
        Masking.unmask(piece, key: frame.mask, offset: frame.read)
        frame.read += count
        chunk = UnsafeMutableRawBufferPointer(rebasing: chunk[count...])
        return UnsafeRawBufferPointer(piece)
    }

    private mutating func messagePiece(_ piece: UnsafeRawBufferPointer, _ frame: Frame, _ isWhole: Bool) -> FrameEvent?
    {
        let isText = messageKind == .text
        let isPlainText = isText && !isCompressed
        if isPlainText, !text.accept(piece) { return .violation(.invalidText) }
        guard isWhole, frame.isFinal else {
            message.append(contentsOf: piece)
            return nil
        }
        if isPlainText, !text.isComplete { return .violation(.invalidText) }
        messageKind = nil
        if message.isEmpty { return .message(isText: isText, isCompressed: isCompressed, .inPlace(piece)) }
        message.append(contentsOf: piece)
        defer { message = [] }
        return .message(isText: isText, isCompressed: isCompressed, .assembled(message))
    }

    private mutating func controlPiece(_ piece: UnsafeRawBufferPointer, _ frame: Frame, _ isWhole: Bool) -> FrameEvent?
    {
        var payload = Payload.inPlace(piece)
        if !isWhole || !control.isEmpty {
            control.append(contentsOf: piece)
            guard isWhole else { return nil }
            payload = .assembled(control)
            control = []
        }
        switch frame.opcode {
        case .ping: return .ping(payload)
        case .pong: return .pong(payload)
        default: return payload.withBytes(Self.closing)
        }
    }

    private static func closing(_ payload: UnsafeRawBufferPointer) -> FrameEvent {
        if payload.isEmpty { return .close(nil) }
        guard payload.count >= 2 else { return .violation(.protocolError) }
        let code = UInt16(payload[0]) << 8 | UInt16(payload[1])
        guard CloseCode.mayBeReceived(code) else { return .violation(.protocolError) }
        guard UTF8Check.isValid(UnsafeRawBufferPointer(rebasing: payload[2...])) else {
            return .violation(.invalidText)
        }
        return .close(code)
    }
}
