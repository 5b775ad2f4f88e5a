// Input of a client after its handshake: however it is cut, the parser gives the same result and never crashes.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    guard let cut = bytes.first else { return 0 }
    let stream = bytes[1...]
    for inflates in [false, true] {
        let whole = said(of: [stream], inflates)
        precondition(said(of: pieces(stream, Int(cut % 16) + 1), inflates) == whole, "the cut changes what is read")
    }
    return 0
}

private func pieces(_ bytes: ArraySlice<UInt8>, _ size: Int) -> [ArraySlice<UInt8>] {
    stride(from: bytes.startIndex, to: bytes.endIndex, by: size).map { bytes[$0..<min($0 + size, bytes.endIndex)] }
}

private func said(of chunks: [ArraySlice<UInt8>], _ inflates: Bool) -> [String] {
    var parser = FrameParser(maxMessage: 4096, inflates: inflates)
    var said: [String] = []
    for chunk in chunks {
        var copy = Array(chunk)
        let isOver = copy.withUnsafeMutableBytes { memory -> Bool in
            var rest = memory
            while let event = parser.next(&rest) {
                said.append(text(of: event))
                if case .violation = event { return true }
            }
            return false
        }
        if isOver { return said }
        precondition(parser.message.count <= 4096 && parser.control.count <= 125, "more is kept than may be")
    }
    return said
}

private func text(of event: FrameParser.FrameEvent) -> String {
    switch event {
    case .message(let isText, let isCompressed, let payload):
        "message \(isText) \(isCompressed) \(payload.withBytes(Array.init))"
    case .ping(let payload): "ping \(payload.withBytes(Array.init))"
    case .pong(let payload): "pong \(payload.withBytes(Array.init))"
    case .close(let code): "close \(code ?? 0)"
    case .violation(let code): "violation \(code)"
    }
}
