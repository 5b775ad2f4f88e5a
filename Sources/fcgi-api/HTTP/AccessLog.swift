import ChatCore
import Glibc

/// Writes one line per request, in the pool's format. No line has a query, which may contain a token.
final class AccessLog {
    private let format: AccessFormat
    private let pool: String
    private let file: Int32

    init(_ format: AccessFormat, _ pool: String, to file: Int32) {
        (self.format, self.pool, self.file) = (format, pool, file)
    }

    deinit { close(file) }

    func note(_ call: Call, _ response: Response, nanoseconds: Int64, waited: Int?) {
        let line = line(call, response, nanoseconds: nanoseconds, waited: waited) + [10]
        // One write, so that the lines of several workers do not mix.
        _ = line.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
    }

    func line(_ call: Call, _ response: Response, nanoseconds: Int64, waited: Int?) -> [UInt8] {
        var line: [UInt8] = []
        for part in format.parts {
            switch part {
            case .text(let text): line += text.utf8
            case .address: escape(call.request.parameter("REMOTE_ADDR"), &line)
            case .user: escape(call.user?.description, &line)
            case .time: line += timestampText(call.now).utf8
            case .method: escape(call.request.method, &line)
            case .path: escape(call.request.shownPath, &line)
            case .status: line += "\(response.status)".utf8
            case .bytes: line += "\(response.body.count)".utf8
            case .seconds: decimal(nanoseconds / 1_000_000, &line)
            case .milliseconds: line += "\(nanoseconds / 1_000_000)".utf8
            case .waited: if let waited { decimal(Int64(waited), &line) } else { line.append(UInt8(ascii: "-")) }
            case .waitedMilliseconds: line += (waited.map { "\($0)" } ?? "-").utf8
            case .pool: line += pool.utf8
            case .process: line += "\(getpid())".utf8
            case .request: line += call.requestID.utf8
            }
        }
        return line
    }

    /// Seconds with three decimals.
    private func decimal(_ milliseconds: Int64, _ line: inout [UInt8]) {
        let rest = "\(milliseconds % 1000 + 1000)".utf8.dropFirst()
        line += "\(milliseconds / 1000).".utf8
        line += rest
    }

    /// Text from outside cannot end a line, nor a quotation.
    private func escape(_ text: String?, _ line: inout [UInt8]) {
        guard let text, !text.isEmpty else { return line.append(UInt8(ascii: "-")) }
        for byte in text.utf8.prefix(2048) {
            if byte < 0x20 || byte >= 0x7f || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                line += "\\x\(hex([byte]))".utf8
            } else {
                line.append(byte)
            }
        }
    }
}
