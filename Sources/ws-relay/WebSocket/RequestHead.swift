import ChatCore

/// The head of an HTTP/1.1 request, parsed strictly: a head that two servers could read differently is refused (RFC
/// 9112).
struct RequestHead: Equatable, Sendable {
    /// Enough for a browser with a large cookie jar; the same as nginx's default.
    static let maxBytes = 8 * 1024
    static let maxHeaders = 64

    let method: String
    let path: String
    /// Still percent-encoded, without the question mark.
    let query: String
    /// Names in lower case, in the order of arrival.
    let headers: [(name: String, value: String)]

    struct Malformed: Error, Equatable {
        let why: String
        init(_ why: String) { self.why = why }
    }

    static func == (a: Self, b: Self) -> Bool {
        (a.method, a.path, a.query) == (b.method, b.path, b.query) && a.headers.elementsEqual(b.headers, by: ==)
    }

    /// The value of a header that may occur once; nil when absent.
    func only(_ name: String) throws(Malformed) -> String? {
        let values = headers.filter { $0.name == name }
        guard values.count <= 1 else { throw Malformed("\(name) is given twice") }
        return values.first?.value
    }

    /// The members of a comma-separated header, over all its lines.
    func list(_ name: String) -> [String] {
        headers.filter { $0.name == name }
            .flatMap { pieces(of: $0.value, at: UInt8(ascii: ",")) }
            .map { trimmed($0) }
            .filter { !$0.isEmpty }
    }

    /// `bytes` end with the empty line.
    init(parsing bytes: [UInt8]) throws(Malformed) {
        guard let lines = Self.lines(bytes), let first = lines.first else { throw Malformed("a line ends wrongly") }
        let parts = first.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard parts.count == 3, parts[2].elementsEqual("HTTP/1.1".utf8) else {
            throw Malformed("this is not an HTTP/1.1 request")
        }
        guard !parts[0].isEmpty, parts[0].allSatisfy(isHTTPTokenByte) else { throw Malformed("bad method") }
        guard parts[1].first == UInt8(ascii: "/"), parts[1].allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Malformed("bad request target")
        }
        let target = parts[1].split(separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
        method = String(decoding: parts[0], as: UTF8.self)
        path = String(decoding: target[0], as: UTF8.self)
        query = target.count > 1 ? String(decoding: target[1], as: UTF8.self) : ""
        headers = try Self.headers(lines.dropFirst())
    }

    private static func headers(_ lines: ArraySlice<ArraySlice<UInt8>>) throws(Malformed) -> [(String, String)] {
        guard lines.count <= maxHeaders else { throw Malformed("too many headers") }
        var found: [(String, String)] = []
        for line in lines {
            // A folded line begins with a blank, so its name is not a token: it is refused like every other oddity.
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex,
                line[..<colon].allSatisfy(isHTTPTokenByte)
            else { throw Malformed("bad header name") }
            let value = line[(colon + 1)...]
            guard value.allSatisfy({ $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }) else {
                throw Malformed("bad header value")
            }
            let name = String(decoding: line[..<colon].map { $0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0 }, as: UTF8.self)
            found.append((name, trimmed(String(decoding: value, as: UTF8.self))))
        }
        return found
    }

    /// The lines without CRLF; nil when a CR or LF stands alone, or when the last line is not empty.
    private static func lines(_ bytes: [UInt8]) -> [ArraySlice<UInt8>]? {
        var found: [ArraySlice<UInt8>] = []
        var start = 0
        while let end = bytes[start...].firstIndex(where: { $0 == 0x0D || $0 == 0x0A || $0 == 0 }) {
            guard bytes[end] == 0x0D, end + 1 < bytes.count, bytes[end + 1] == 0x0A else { return nil }
            if end == start { return end + 2 == bytes.count ? found : nil }
            found.append(bytes[start..<end])
            start = end + 2
        }
        return nil
    }
}
