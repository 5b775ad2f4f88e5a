import ChatAdapters
import ChatCore

extension Sockets {
    /// The bytes of a client that has no WebSocket yet.
    enum Greeting {
        case head([UInt8], rest: [UInt8])
        case tooLarge
    }

    /// Reads the request's head; nil: more is needed, or it was complete before.
    func greet(_ slot: UInt32, _ chunk: UnsafeRawBufferPointer) -> Greeting? {
        guard let state = slow[slot], state.head != nil else { return nil }
        switch state.head!.feed(chunk) {
        case .needsMore: return nil
        case .tooLarge: return .tooLarge
        case .head(let bytes, let rest): return .head(bytes, rest: rest)
        }
    }

    /// Reads frames of a welcomed client, and gives each message to `body`, whether it is text or not. A half-read one
    /// stays in the slot's state until more arrives.
    func read(
        _ chunk: UnsafeMutableRawBufferPointer, from slot: UInt32, _ body: ([UInt8], _ isText: Bool) -> Void
    ) {
        let handle = connections.handle(slot)
        var rest = chunk
        let inflates = connections[slot].flags.contains(.deflated)
        var parser = slow[slot]?.parser ?? FrameParser(maxMessage: settings.maxFrame, inflates: inflates)
        slow[slot]?.parser = nil
        while let event = parser.next(&rest) {
            if let (bytes, isText) = message(of: event, slot) { body(bytes, isText) }
            guard connections.slot(handle) == slot, !connections[slot].flags.contains(.closing) else { return }
        }
        guard !parser.isIdle else { return slow.dropIfIdle(slot) }
        slow.state(slot).parser = parser
        connections.row(slot).pointee.heldSince = 0
    }

    /// Answers what is the protocol's own.
    private func message(of event: FrameParser.FrameEvent, _ slot: UInt32) -> ([UInt8], isText: Bool)? {
        switch event {
        case .message(let isText, false, let payload): return (payload.withBytes(Array.init), isText)
        case .message(let isText, true, let payload):
            return inflated(payload.withBytes(Array.init), isText: isText, slot).map { ($0, isText) }
        // Counted like requests; pings above the limit are not answered.
        case .ping(let payload):
            if isAdmitted(slot) { send(SharedFrame(.pong, payload.withBytes(Array.init)), to: slot) }
        case .pong: break
        case .close(let code):
            let echo = code.flatMap(CloseCode.init(rawValue:)) ?? .normal
            close(slot, echo, "")
        case .violation(let code): close(slot, code, "these frames break RFC 6455, or a limit")
        }
        return nil
    }

    private func inflated(_ payload: [UInt8], isText: Bool, _ slot: UInt32) -> [UInt8]? {
        switch inflate(payload) {
        case .message(let bytes):
            if !isText || UTF8Check.isValid(bytes) { return bytes }
            close(slot, .invalidText, "this is no UTF-8")
        case .tooBig: close(slot, .messageTooBig, "the message is larger than it may be once it is inflated")
        // A message is also unreadable after a hand-over to a relay without compression.
        case .damaged, nil: close(slot, .invalidText, "the message cannot be inflated")
        }
        return nil
    }

    /// Checks the socket's rate limit. A client that goes far beyond it and ignores the refusals is closed.
    func isAdmitted(_ slot: UInt32) -> Bool {
        switch admission.take(&connections.row(slot).pointee.bucket) {
        case .pass: return true
        case .refuse: return false
        case .close:
            close(slot, .policyViolation, "too many requests for too long")
            return false
        }
    }

    /// Charges an admitted request that costs as much as several.
    func takeMore(_ cost: Int, _ slot: UInt32) -> Bool {
        admission.takeMore(cost, &connections.row(slot).pointee.bucket)
    }
}
