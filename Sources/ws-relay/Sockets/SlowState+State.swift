extension SlowState {
    func write(to state: inout StateWriter) {
        state.put(head != nil)
        if let head { state.put(array: head.bytes) }
        state.put(array: early)
        state.put(parser != nil)
        parser?.write(to: &state)
        outbox.write(to: &state)
    }

    convenience init(maxMessage: Int, inflates: Bool, from state: inout StateReader) throws(StateUnreadable) {
        self.init()
        if try state.take(Bool.self) {
            head = HeadReader()
            _ = try state.takeArray(UInt8.self).withUnsafeBytes { head!.feed($0) }
        }
        early = try state.takeArray()
        if try state.take(Bool.self) {
            parser = try FrameParser(maxMessage: maxMessage, inflates: inflates, from: &state)
        }
        outbox = try Outbox(from: &state)
    }
}
