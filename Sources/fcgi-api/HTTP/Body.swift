import ChatCore

extension Refusal {
    /// Answered with 411.
    static let lengthRequired = Refusal(
        .malformed, "the request needs a Content-Length: a body of this size is not taken in chunks")
}

extension Request {
    /// Bytes of a body whose length nobody said.
    private static let mostUnmeasured = 65_536

    /// Apache and Caddy pass a chunked body on without its length: a small one is read at once, a large one refused.
    func withUnmeasuredBody() throws(Refusal) -> Request {
        var filled = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.mostUnmeasured + 1) { buffer, count in
            let whole = UnsafeMutableRawBufferPointer(buffer)
            while filled < whole.count {
                let got = read(UnsafeMutableRawBufferPointer(rebasing: whole[filled...]))
                guard got > 0 else { break }
                filled += got
            }
            count = filled
        }
        guard !bytes.isEmpty else { return self }
        guard bytes.count <= Self.mostUnmeasured else { throw .lengthRequired }
        var rest = bytes[...]
        let parameter = parameter
        return try Request(
            parameter: { name in name == "CONTENT_LENGTH" ? "\(bytes.count)" : parameter(name) },
            read: { buffer in
                let part = rest.prefix(buffer.count)
                buffer.copyBytes(from: part)
                rest = rest.dropFirst(part.count)
                return part.count
            })
    }

    /// The whole body. What is shorter than its Content-Length was cut off on its way and is refused, never stored.
    func body(limit: Int) throws(Refusal) -> [UInt8] {
        guard contentLength <= limit else {
            throw Refusal(.tooLarge, "the body has \(contentLength) bytes, at most \(limit) are taken")
        }
        var filled = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: contentLength) { buffer, count in
            while filled < contentLength {
                let got = read(
                    UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...]))
                guard got > 0 else { break }
                filled += got
            }
            count = filled
        }
        guard filled == contentLength else {
            throw Refusal(.malformed, "the body is cut off: \(filled) of \(contentLength) bytes came")
        }
        return bytes
    }

    /// The fields of a JSON object, or of a plain form (each a text). An empty body has no fields.
    func fields(limit: Int) throws(Refusal) -> RequestFields {
        if contentLength == 0 { return RequestFields(.map([])) }
        switch mediaType {
        case "application/json": return RequestFields(try json(limit))
        case "application/x-www-form-urlencoded":
            let text = String(decoding: try body(limit: limit), as: UTF8.self)
            let form = try Query(text[...])
            return RequestFields(.map(form.pairs.map { .init($0.name, .string($0.value)) }))
        default:
            throw Refusal(.unsupportedMediaType, "the body must be application/json, in UTF-8")
        }
    }

    private func json(_ limit: Int) throws(Refusal) -> WireValue {
        let bytes = try body(limit: limit)
        let value: WireValue
        do { value = try JSONReader.decode(bytes) } catch {
            throw Refusal(.malformed, "the body is not JSON: \(error)")
        }
        guard case .map = value else { throw Refusal(.malformed, "the body is not a JSON object") }
        return value
    }
}
