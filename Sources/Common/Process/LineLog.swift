import CLinux
@preconcurrency import Glibc
public import Logging

/// One line per message on stderr: `time level program[pid] message key=value …`.
///
/// A line is one `write`, so lines of several processes do not mix. Values whose name marks them as secret are never
/// printed.
public struct LineLog: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let program: String

    public init(program: String, level: Logger.Level) {
        self.program = program
        logLevel = level
    }

    /// Sends every logger of this process here. Call it once in each process.
    public static func start(program: String, level: Logger.Level) {
        LoggingSystem.bootstrap { _ in LineLog(program: program, level: level) }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var line = Line()
        line.timestamp()
        line.plain(" \(event.level) \(program)[")
        line.number(Int(getpid()))
        line.plain("] ")
        line.text(event.message.description)
        let own = event.metadata ?? [:]
        let values = metadata.isEmpty ? own : metadata.merging(own) { _, new in new }
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            line.plain(" ")
            line.plain(key)
            line.plain("=")
            line.quoted(LineLog.isSecret(key) ? "***" : value.description)
        }
        line.end()
    }

    private static let secretWords = ["password", "secret", "token", "authorization", "cookie"].map { Array($0.utf8) }

    /// Names whose values must never appear in a log, whoever passes them. Hand-written, because it runs for every
    /// value of every line: the library's text search cost more than the rest of the line.
    static func isSecret(_ key: String) -> Bool {
        var key = key
        return key.withUTF8 { name in
            secretWords.contains { word in
                name.count >= word.count
                    && (0...name.count - word.count).contains { start in
                        word.indices.allSatisfy { name[start + $0] | 0x20 == word[$0] }
                    }
            }
        }
    }
}

/// The bytes of one line. Hand-written, because every request writes one.
private struct Line {
    private var bytes: [UInt8] = []

    init() { bytes.reserveCapacity(256) }

    mutating func plain(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Replaces newlines: a newline in a message would look like another message.
    mutating func text(_ text: some StringProtocol) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\n"): plain("\\n")
            case ..<0x20, 0x7f: plain("?")
            default: bytes.append(byte)
            }
        }
    }

    mutating func quoted(_ text: String) {
        let isPlain =
            !text.isEmpty
            && text.utf8.allSatisfy {
                $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=")
            }
        guard !isPlain else { return plain(text) }
        plain("\"")
        for (index, part) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
            if index > 0 { plain("\\\"") }
            self.text(part)
        }
        plain("\"")
    }

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

    /// One write per line, so that lines of several processes do not mix.
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
