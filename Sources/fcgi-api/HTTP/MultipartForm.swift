import ChatCore
import Glibc

/// Parses multipart/form-data (RFC 7578) from pieces cut anywhere. It does no I/O: pieces go in, events come out, and a
/// part's content is not kept. Bytes before the first boundary and after the last are skipped within bounds (RFC 2046,
/// 5.1.1); anything else that is not a form is refused.
struct MultipartForm {
    enum FormEvent {
        case begin(PartHead)
        /// Content of the part that began last: a slice of the input, or a few bytes held back from before.
        case data(ArraySlice<UInt8>)
        case end
    }

    static let maxBoundary = 70  // RFC 2046, 5.1.1
    static let maxHead = 8192
    static let maxParts = 32
    /// Bytes before the first boundary and after the last one, together.
    static let maxAround = 8192

    private enum Place {
        /// Before the first boundary, which is at the very beginning or after a line break.
        case first
        case content
        /// After a boundary: `\r
        /// ` begins a part, `--` ends the form.
        case behindBoundary
        case head
        /// After the last boundary.
        case end
    }

    /// `\r
    /// --boundary`. Only its first byte is a CR, so a failed search starts again at the byte that failed.
    private let delimiter: [UInt8]
    private var place = Place.first
    /// How many bytes of `delimiter` match so far.
    private var matched = 2
    /// The bytes after a boundary, a part's head, or those after the end.
    private var held: [UInt8] = []
    private var parts = 0
    private var around = 0
    private var isClosed = false

    /// - Parameter contentType: the request's, including its boundary.
    init(contentType: String) throws(Refusal) {
        let parameters = try HeaderValue(contentType)
        guard parameters.value == "multipart/form-data" else {
            throw Refusal(.unsupportedMediaType, "the body must be multipart/form-data")
        }
        guard let boundary = parameters["boundary"], (1...Self.maxBoundary).contains(boundary.utf8.count),
            boundary.utf8.allSatisfy({ (0x20...0x7e).contains($0) }), boundary.utf8.last != 0x20
        else { throw Refusal(.malformed, "the Content-Type has no boundary of 1 to \(Self.maxBoundary) characters") }
        delimiter = Array("\r\n--\(boundary)".utf8)
    }

    mutating func feed(_ bytes: ArraySlice<UInt8>, _ handle: (FormEvent) throws(Refusal) -> Void) throws(Refusal) {
        var rest = bytes
        while !rest.isEmpty {
            switch place {
            case .first: try begin(&rest)
            case .content: try content(&rest, handle)
            case .behindBoundary: try behindBoundary(&rest)
            case .head: try head(&rest, handle)
            case .end:
                try passOver(rest.count)
                rest = []
            }
        }
    }

    /// Call this after the last byte.
    func finish() throws(Refusal) {
        guard isClosed else { throw Refusal(.malformed, "the form is cut off") }
    }

    /// `matched` begins as if a line break preceded the form.
    private mutating func begin(_ rest: inout ArraySlice<UInt8>) throws(Refusal) {
        while matched < delimiter.count, let byte = rest.popFirst() {
            if byte == delimiter[matched] {
                matched += 1
            } else {
                try passOver(matched + 1)
                // Only the first byte of a delimiter is a CR.
                matched = byte == delimiter[0] ? 1 : 0
            }
        }
        if matched == delimiter.count { place = .behindBoundary }
    }

    private mutating func passOver(_ count: Int) throws(Refusal) {
        around += count
        guard around <= Self.maxAround else {
            throw Refusal(.malformed, "the form does not begin with its boundary, or has too many bytes around it")
        }
    }

    private mutating func content(
        _ rest: inout ArraySlice<UInt8>, _ handle: (FormEvent) throws(Refusal) -> Void
    ) throws(Refusal) {
        if matched == 0 {
            let found = rest.place(of: delimiter)
            let end = found ?? rest.endIndex - rest.lengthOfBeginning(of: delimiter)
            if end > rest.startIndex { try handle(.data(rest[..<end])) }
            rest = rest[end...]
        }
        while let byte = rest.first, byte == delimiter[matched] {
            matched += 1
            rest.removeFirst()
            guard matched < delimiter.count else {
                place = .behindBoundary
                return try handle(.end)
            }
        }
        // The match failed: these bytes were content.
        if !rest.isEmpty, matched > 0 {
            let bytes = delimiter[..<matched]
            matched = 0
            try handle(.data(bytes))
        }
    }

    private mutating func behindBoundary(_ rest: inout ArraySlice<UInt8>) throws(Refusal) {
        while held.count < 2, let byte = rest.popFirst() { held.append(byte) }
        guard held.count == 2 else { return }
        switch held {
        case [13, 10]:
            parts += 1
            guard parts <= Self.maxParts else {
                throw Refusal(.malformed, "the form has more than \(Self.maxParts) parts")
            }
            place = .head
        case [UInt8(ascii: "-"), UInt8(ascii: "-")]:
            held = []
            isClosed = true
            place = .end
        default: throw Refusal(.malformed, "a boundary of the form is followed by unexpected bytes")
        }
    }

    /// `held` begins with the line break after the boundary, so that an empty head ends like any other head.
    private mutating func head(
        _ rest: inout ArraySlice<UInt8>, _ handle: (FormEvent) throws(Refusal) -> Void
    ) throws(Refusal) {
        while let byte = rest.popFirst() {
            guard held.count < Self.maxHead else {
                throw Refusal(.malformed, "the headers of a part have more than \(Self.maxHead) bytes")
            }
            held.append(byte)
            guard byte == 10, held.suffix(4) == [13, 10, 13, 10] else { continue }
            let head = try PartHead(held.dropFirst(2).dropLast(2))
            held = []
            matched = 0
            place = .content
            return try handle(.begin(head))
        }
    }
}

extension ArraySlice<UInt8> {
    /// The position of `pattern`, which begins with a CR. Searches a whole buffer at once: handing on data from one CR
    /// to the next would write a file in pieces of 256 bytes.
    fileprivate func place(of pattern: [UInt8]) -> Int? {
        withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return nil }
            var from = 0
            while from + pattern.count <= bytes.count, let found = memchr(start + from, 13, bytes.count - from) {
                let offset = UnsafeRawPointer(found) - start
                guard offset + pattern.count <= bytes.count else { return nil }
                if memcmp(found, pattern, pattern.count) == 0 { return startIndex + offset }
                from = offset + 1
            }
            return nil
        }
    }

    /// The length of a beginning of `pattern` at the end of these bytes.
    fileprivate func lengthOfBeginning(of pattern: [UInt8]) -> Int {
        let tail = suffix(pattern.count - 1)
        let start = tail.indices.first { tail[$0] == pattern[0] && pattern.starts(with: tail[$0...]) }
        return start.map { tail.endIndex - $0 } ?? 0
    }
}

/// The relevant headers of a part.
struct PartHead: Equatable {
    var name: String
    var fileName: String?
    var contentType: String?
    /// By header name, in base64; see ``Checksums``.
    var checksums: [String: String]

    /// - Parameter bytes: lines, each with its line break.
    init(_ bytes: ArraySlice<UInt8>) throws(Refusal) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Refusal(.malformed, "a part's headers are not UTF-8")
        }
        var values: [String: String] = [:]
        for line in PartHead.unfolded(text) {
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex,
                !line.unicodeScalars.contains(where: { $0.value < 0x20 && $0 != "\t" || $0.value == 0x7f }),
                line.first != " ", line.first != "\t"
            else { throw Refusal(.malformed, "a part has a line that is not a header") }
            let name = line[..<colon].lowercased()
            guard values.updateValue(trimmed(line[line.index(after: colon)...]), forKey: name) == nil else {
                throw Refusal(.malformed, "a part has a header twice")
            }
        }
        let disposition = try HeaderValue(values["content-disposition"] ?? "")
        guard disposition.value == "form-data", let name = disposition["name"] else {
            throw Refusal(.malformed, "a part has no Content-Disposition: form-data with a name")
        }
        self.name = name
        fileName = disposition["filename*"].flatMap(PartHead.extended) ?? disposition["filename"]
        contentType = values["content-type"]
        checksums = values.filter { Checksums.names.contains($0.key) }
        let encoding = values["content-transfer-encoding"]?.lowercased() ?? "binary"
        guard ["binary", "8bit", "7bit"].contains(encoding) else {
            throw Refusal(.malformed, "a part is encoded in a way that browsers do not use")
        }
    }

    /// A line that begins with a space or a tab continues the one before it (RFC 5322, 2.2.3).
    private static func unfolded(_ text: String) -> [String] {
        var lines: [String] = []
        for line in text.split(separator: "\r\n") {
            let isFolded = line.unicodeScalars.first == " " || line.unicodeScalars.first == "\t"
            if isFolded, !lines.isEmpty { lines[lines.count - 1] += line } else { lines.append(String(line)) }
        }
        return lines
    }

    /// RFC 5987: `UTF-8''…`, the form that some libraries use for non-ASCII names.
    private static func extended(_ text: String) -> String? {
        let parts = text.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].lowercased() == "utf-8" else { return nil }
        return try? percentDecoded(parts[2])
    }
}

/// `value; name=text; name="text"`.
struct HeaderValue {
    /// In lower case.
    let value: String
    private var parameters: [String: String] = [:]

    init(_ text: String) throws(Refusal) {
        let wrong = Refusal(.malformed, "a header's parameters cannot be read")
        var rest = Array(text.unicodeScalars)[...]
        func take(until stop: (Unicode.Scalar) -> Bool) -> String {
            let taken = rest.prefix { !stop($0) }
            rest = rest.dropFirst(taken.count)
            var text = ""
            text.unicodeScalars.append(contentsOf: taken)
            return trimmed(text)
        }
        value = take { $0 == ";" }.lowercased()
        while rest.popFirst() != nil {
            let name = take { $0 == "=" || $0 == ";" }.lowercased()
            if name.isEmpty, rest.first != "=" { continue }
            guard !name.isEmpty, rest.popFirst() == "=" else { throw wrong }
            while rest.first == " " || rest.first == "\t" { rest.removeFirst() }
            let text: String
            if rest.first == "\"" {
                guard let quoted = HeaderValue.quoted(&rest) else { throw wrong }
                text = quoted
                guard take(until: { $0 == ";" }).isEmpty else { throw wrong }
            } else {
                text = take { $0 == ";" }
            }
            guard parameters.updateValue(text, forKey: name) == nil else { throw wrong }
        }
    }

    subscript(name: String) -> String? { parameters[name] }

    /// Browsers write a quote as %22, curl as \"; any other backslash is literal, as in old paths.
    private static func quoted(_ rest: inout ArraySlice<Unicode.Scalar>) -> String? {
        rest.removeFirst()
        var text = String.UnicodeScalarView()
        while let scalar = rest.popFirst() {
            if scalar == "\"" { return String(text).replacing("%22", with: "\"") }
            if scalar == "\\", let next = rest.first, next == "\"" || next == "\\" {
                text.append(next)
                rest.removeFirst()
            } else {
                text.append(scalar)
            }
        }
        return nil
    }
}
