import ChatCore

/// The answer of a FastCGI server to one request, read record by record. It holds at most ``HTTPClient/maxAnswer`` bytes.
struct FastCGIAnswer {
    /// The number of the one request of a connection.
    static let request: UInt16 = 1
    /// Bytes that are kept of what the server says on its error stream.
    private let maxErrors: Int

    /// The beginning of a record of which more is to come: less than one record.
    private var pending: [UInt8] = []
    private var output: [UInt8] = []
    private var errors: [UInt8] = []
    /// The server ended the request.
    private(set) var isOver = false

    init(keepsErrors: Bool = true) { maxErrors = keepsErrors ? 200 : 0 }

    mutating func receive(_ bytes: ArraySlice<UInt8>) throws(HTTPTransfer.Failure) {
        pending += bytes
        var rest = pending[...]
        while !isOver, let record = try Self.record(rest) {
            rest = rest.dropFirst(record.length)
            try take(record)
        }
        pending = Array(rest)
    }

    private struct Record {
        var type: UInt8
        var request: UInt16
        var content: ArraySlice<UInt8>
        /// Bytes with head and padding.
        var length: Int
    }

    /// Nil until the record is complete.
    private static func record(_ bytes: ArraySlice<UInt8>) throws(HTTPTransfer.Failure) -> Record? {
        guard bytes.count >= FastCGIRecord.headLength else { return nil }
        let head = Array(bytes.prefix(FastCGIRecord.headLength))
        guard head[0] == FastCGIRecord.version else {
            throw HTTPTransfer.Failure(description: "its answer is not FastCGI")
        }
        let count = Int(head[4]) << 8 | Int(head[5])
        let length = FastCGIRecord.headLength + count + Int(head[6])
        guard bytes.count >= length else { return nil }
        return Record(
            type: head[1], request: UInt16(head[2]) << 8 | UInt16(head[3]),
            content: bytes.dropFirst(FastCGIRecord.headLength).prefix(count), length: length)
    }

    /// Records of another request, and those of unknown types, are ignored.
    private mutating func take(_ record: Record) throws(HTTPTransfer.Failure) {
        guard record.request == Self.request else { return }
        switch FastCGIRecord(rawValue: record.type) {
        case .output:
            guard output.count + record.content.count <= HTTPClient.maxAnswer else {
                throw HTTPTransfer.Failure(description: "its answer has more than \(HTTPClient.maxAnswer) bytes")
            }
            output += record.content
        case .errors:
            errors += record.content.prefix(maxErrors - errors.count)
        case .endRequest:
            // Four bytes of the script's exit status, then the protocol's: FCGI_REQUEST_COMPLETE is 0.
            let status = record.content.dropFirst(4).first ?? 0
            guard status == 0 else {
                throw HTTPTransfer.Failure(description: status == 2 ? "it is overloaded" : "it refused the request")
            }
            isOver = true
        default: break
        }
    }

    /// The output as CGI's response (RFC 3875, section 6): header lines, an empty line, the body.
    func answer() throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        var answer = HTTPTransfer.Answer(status: 200, body: [], sunk: 0)
        answer.complaint = complaint
        var rest = output[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            var line = rest[..<end]
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            rest = rest[(end + 1)...]
            if line.isEmpty {
                answer.body = Array(rest)
                return answer
            }
            try Self.read(line, into: &answer)
        }
        throw HTTPTransfer.Failure(description: "it ended without an answer\(complaint.map { ": \($0)" } ?? "")")
    }

    private static func read(
        _ line: ArraySlice<UInt8>, into answer: inout HTTPTransfer.Answer
    ) throws(HTTPTransfer.Failure) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            throw HTTPTransfer.Failure(description: "a header line of its answer has no colon")
        }
        let value = trimmed(String(decoding: line[(colon + 1)...], as: UTF8.self))
        switch asciiLowercased(String(decoding: line[..<colon], as: UTF8.self)) {
        case "status":
            let digits = value.utf8.prefix { $0 != UInt8(ascii: " ") }
            guard digits.count == 3, digits.allSatisfy({ (0x30...0x39).contains($0) }),
                let status = Int(String(Substring(digits))), status >= 100
            else { throw HTTPTransfer.Failure(description: "its answer has no status") }
            answer.status = status
        case "retry-after": answer.retryAfter = HTTPTransfer.seconds(value)
        default: break
        }
    }

    /// The first line of the error stream.
    private var complaint: String? {
        let line = errors.prefix { $0 != UInt8(ascii: "\n") }.map { $0 < 32 || $0 == 127 ? 32 : $0 }
        return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
    }
}
