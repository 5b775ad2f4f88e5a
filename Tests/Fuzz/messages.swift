// Untrusted MessagePack and JSON: a value that was read can be written, and reads the same again.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: count))
    if let value = try? MessagePackReader.decode(bytes) {
        parse(value)
        var writer = MessagePackWriter()
        writer.value(value)
        precondition(
            String(describing: try? MessagePackReader.decode(writer.bytes)) == String(describing: Optional(value)))
    }
    if let value = try? JSONReader.decode(bytes) { parse(value) }
    _ = try? Command.decodeAll(bytes)
    _ = try? FrameChunk.decode(bytes)
    _ = try? UserEvent.decode(bytes)
    _ = try? RelayAnswer.decode(bytes)
    return 0
}

private func parse(_ value: WireValue) {
    var sign: String?
    _ = try? ChatRequest.parse(value, sign: &sign)
}
