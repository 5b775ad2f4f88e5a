extension FrameParser {
    /// Writes the half-read input for the process that takes over the socket.
    func write(to state: inout StateWriter) {
        state.put(array: (0..<head.count).map { head.bytes[$0] })
        state.put(messageKind?.rawValue ?? 0xFF)
        state.put(isCompressed)
        state.put(array: message)
        state.put(array: control)
        state.put(text.missing)
        state.put(text.low)
        state.put(text.high)
        state.put(frame != nil)
        guard let frame else { return }
        state.put(frame.opcode.rawValue)
        state.put(frame.isFinal)
        state.put(frame.isCompressed)
        state.put(frame.length)
        state.put(frame.read)
        state.put(frame.mask)
    }

    init(maxMessage: Int, inflates: Bool = false, from state: inout StateReader) throws(StateUnreadable) {
        self.init(maxMessage: maxMessage, inflates: inflates)
        head = PartialHeader(try state.takeArray())
        messageKind = Opcode(rawValue: try state.take())
        isCompressed = try state.take()
        message = try state.takeArray()
        control = try state.takeArray()
        text = UTF8Check(missing: try state.take(), low: try state.take(), high: try state.take())
        guard try state.take(Bool.self) else { return }
        frame = Frame(
            opcode: Opcode(rawValue: try state.take()) ?? .close, isFinal: try state.take(),
            isCompressed: try state.take(), length: try state.take(), read: try state.take(), mask: try state.take())
    }
}
