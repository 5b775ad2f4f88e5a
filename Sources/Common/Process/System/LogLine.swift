import CLinux
import ChatCore
@preconcurrency import Glibc
import Logging

/// The bytes of one line. Hand-written, since every request writes one.
///
/// Characters that would end the line, move a terminal's cursor or change the direction of writing are escaped.
struct LogLine {
    private(set) var bytes: [UInt8] = []

    init() { bytes.reserveCapacity(256) }

    mutating func plain(_ text: String) { bytes.append(contentsOf: text.utf8) }

    // MARK: As text

    /// A newline in a message would look like another message.
    mutating func text(_ text: some StringProtocol) {
        guard !text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else {
            bytes.append(contentsOf: text.utf8)
            return
        }
        for scalar in text.unicodeScalars {
            if scalar == "\n" { plain("\\n") } else if isUnseen(scalar) { plain("?") } else { append(scalar) }
        }
    }

    mutating func quoted(_ text: String) {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy {
                $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=")
            }
        guard !isPlain else { return plain(text) }
        plain("\"")
        for (index, part) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
            if index > 0 { plain("\\\"") }
            self.text(part)
        }
        plain("\"")
    }

    // MARK: As JSON

    /// With its quotation marks.
    mutating func json(_ text: String) {
        plain("\"")
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": plain("\\\"")
            case "\\": plain("\\\\")
            case "\n": plain("\\n")
            case _ where isUnseen(scalar): escape(scalar.value)
            default: append(scalar)
            }
        }
        plain("\"")
    }

    mutating func json(_ value: Logger.Metadata.Value) {
        switch value {
        case .string(let text): json(text)
        case .stringConvertible(let truth as Bool): plain(truth ? "true" : "false")
        case .stringConvertible(let number as Int): plain(String(number))
        case .stringConvertible(let number as Double) where number.isFinite: plain(String(number))
        case .stringConvertible(let other): json(other.description)
        case .array(let values): list("[", "]", values) { $0.json($1) }
        case .dictionary(let values): fields(values)
        }
    }

    mutating func fields(_ values: Logger.Metadata) {
        list("{", "}", values.sorted { $0.key < $1.key }) { line, entry in
            line.json(entry.key)
            line.plain(":")
            if LineLog.isSecret(entry.key) { line.plain("\"***\"") } else { line.json(entry.value) }
        }
    }

    private mutating func list<Element>(
        _ open: String, _ close: String, _ elements: [Element], _ write: (inout LogLine, Element) -> Void
    ) {
        plain(open)
        for (index, element) in elements.enumerated() {
            if index > 0 { plain(",") }
            write(&self, element)
        }
        plain(close)
    }

    private mutating func escape(_ value: UInt32) {
        let units = value > 0xffff ? Array(String(UnicodeScalar(value)!).utf16) : [UInt16(value)]
        for unit in units {
            let digits = String(unit, radix: 16)
            plain("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits)
        }
    }

    private mutating func append(_ scalar: UnicodeScalar) { bytes.append(contentsOf: UTF8.encode(scalar)!) }

    // MARK: Numbers, time, the end

    mutating func number(_ value: Int, width: Int = 1) {
        let digits = String(value)
        for _ in 0..<max(0, width - digits.utf8.count) { bytes.append(UInt8(ascii: "0")) }
        plain(digits)
    }

    /// UTC with milliseconds, as RFC 3339 writes it.
    mutating func timestamp() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        var seconds = now.tv_sec
        gmtime_r(&seconds, &parts)
        let fields: [(Int, Int, String)] = [
            (1900 + Int(parts.tm_year), 4, "-"), (Int(parts.tm_mon) + 1, 2, "-"), (Int(parts.tm_mday), 2, "T"),
            (Int(parts.tm_hour), 2, ":"), (Int(parts.tm_min), 2, ":"), (Int(parts.tm_sec), 2, "."),
            (now.tv_nsec / 1_000_000, 3, "Z"),
        ]
        for (value, width, after) in fields {
            number(value, width: width)
            plain(after)
        }
    }

    /// Each line is one write, so that lines of several processes do not mix.
    mutating func end() {
        bytes.append(UInt8(ascii: "\n"))
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0 { if errno == EINTR { continue } else { return } }
            rest = rest.dropFirst(written)
        }
    }
}
