import ChatAdapters
import ChatCore

extension Refusal {
    /// Answered with 411.
    static let lengthRequired = Refusal(
        .malformed, "the request needs a Content-Length: a body of this size is not accepted in chunks")
}

extension Request {
    /// Bytes of a body without a length.
    private static let maxUnmeasured = 65_536

    /// Apache and Caddy pass on a chunked body without its length: a small one is read at once, a large one is refused.
    func withUnmeasuredBody() throws(Refusal) -> Request {
        var filled = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.maxUnmeasured + 1) { buffer, count in
            let whole = UnsafeMutableRawBufferPointer(buffer)
            while filled < whole.count {
                let got = read(UnsafeMutableRawBufferPointer(rebasing: whole[filled...]))
                guard got > 0 else { break }
                filled += got
            }
            count = filled
        }
        guard !bytes.isEmpty else { return self }
        guard bytes.count <= Self.maxUnmeasured else { throw .lengthRequired }
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

    /// Reads the whole body. A body shorter than its Content-Length was cut off on its way: it is refused, never
    /// stored.
    func body(limit: Int) throws(Refusal) -> [UInt8] {
        guard contentLength <= limit else {
            throw Refusal(.tooLarge, "the body has \(contentLength) bytes, at most \(limit) are allowed")
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

    /// The fields of a JSON object, or of a plain form (as texts). An empty body has no fields.
    func fields(limit: Int) throws(Refusal) -> RequestFields {
        if contentLength == 0 { return RequestFields(.map([])) }
        let body = { () throws(Refusal) in try decodedBody(limit: limit) }
        switch mediaType {
        case "application/json": return RequestFields(try json(body()))
        case "application/x-www-form-urlencoded":
            guard let text = String(validating: try body(), as: UTF8.self) else {
                throw Refusal(.malformed, "the body is not UTF-8")
            }
            let form = try Query(text[...])
            if let name = form.repeated(mayBeEqual: false) { throw .twice("the form has a field twice", name) }
            return RequestFields(.map(form.pairs.map { .init($0.name, .string($0.value)) }))
        default:
            throw Refusal(.unsupportedMediaType, "the body must be application/json, in UTF-8")
        }
    }

    /// Decompresses a gzip body; returns any other as it is. The limit applies before and after: a small body cannot
    /// become a large one.
    private func decodedBody(limit: Int) throws(Refusal) -> [UInt8] {
        let codings = pieces(of: header("content-encoding") ?? "", at: UInt8(ascii: ",")).map {
            asciiLowercased(trimmed($0))
        }.filter { !$0.isEmpty && $0 != "identity" }
        guard !codings.isEmpty else { return try body(limit: limit) }
        guard codings == ["gzip"] || codings == ["x-gzip"] else { throw .unknownEncoding("gzip, identity") }
        switch Deflate.gunzip(try body(limit: limit), most: limit) {
        case .message(let bytes): return bytes
        case .tooBig: throw Refusal(.tooLarge, "the body has more than \(limit) bytes when it is unpacked")
        case .damaged: throw Refusal(.malformed, "the body is not a valid gzip stream")
        }
    }

    /// For bodies that are a file's bytes: these are not decompressed, and a compressed body is not the file.
    func refuseEncodings() throws(Refusal) {
        guard let coding = header("content-encoding"), asciiLowercased(trimmed(coding)) != "identity" else { return }
        throw .unknownEncoding("identity")
    }

    private func json(_ bytes: [UInt8]) throws(Refusal) -> WireValue {
        let value: WireValue
        do { value = try JSONReader.decode(bytes) } catch {
            throw Refusal(.malformed, "the body is not JSON: \(error)")
        }
        guard case .map = value else { throw Refusal(.malformed, "the body is not a JSON object") }
        return value
    }
}

extension Refusal {
    private static let encodings = "Content-Encoding: accepted here: "

    static func unknownEncoding(_ taken: String) -> Refusal {
        Refusal(.unsupportedMediaType, encodings + taken, field: "Content-Encoding")
    }

    /// The Accept-Encoding header, which RFC 9110 (15.5.16) requires for such a 415.
    var acceptedEncodings: String? {
        guard code == .unsupportedMediaType, message.utf8.starts(with: Refusal.encodings.utf8) else { return nil }
        return String(message.dropFirst(Refusal.encodings.count))
    }
}
