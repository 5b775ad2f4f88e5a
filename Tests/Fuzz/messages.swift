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
    if let value = try? JSONReader.decode(bytes) {
        parse(value)
        merge(value)
    }
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

/// A patch twice is a patch once, and the result can be read and merged again.
private func merge(_ value: WireValue) {
    guard let patch = MetadataPatch(value), let once = try? Metadata.merged(patch, into: nil) else { return }
    precondition(once.text.utf8.count <= Metadata.limit)
    precondition((try? Metadata.merged(patch, into: once)) == once)
    precondition((try? Metadata.merged(MetadataPatch(once.value), into: once)) == once)
}

extension UUID128 {
    /// A stand-in: the fuzz target is built without Crypto, and no parser depends on what an id is.
    static func v5(_ name: [UInt8], in namespace: UUID128) -> UUID128 {
        var hasher = Hasher()
        hasher.combine(name)
        return UUID128(high: UInt64(truncatingIfNeeded: hasher.finalize()), low: namespace.low)
    }
}
