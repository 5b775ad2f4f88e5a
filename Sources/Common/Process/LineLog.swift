import CLinux
@preconcurrency import Glibc
public import Logging

/// One line a message on stderr: `time level program[pid] message key=value …`.
///
/// A line is one `write`, so lines of several processes do not mix. Values that carry a secret by their name are
/// never printed.
public struct LineLog: LogHandler {
    public var logLevel: Logger.Level
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let program: String

    public init(program: String, level: Logger.Level) {
        self.program = program
        logLevel = level
    }

    /// Sends every logger of this process here. Once for each process.
    public static func start(program: String, level: Logger.Level) {
        LoggingSystem.bootstrap { _ in LineLog(program: program, level: level) }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var line = "\(timestamp()) \(event.level) \(program)[\(getpid())] "
        append(event.message.description, to: &line)
        let values = metadata.merging(event.metadata ?? [:]) { _, new in new }
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            line += " \(key)="
            appendQuoted(LineLog.isSecret(key) ? "***" : value.description, to: &line)
        }
        line += "\n"
        writeAll(line)
    }

    private static let secretWords = ["password", "secret", "token", "authorization", "cookie"].map { Array($0.utf8) }

    /// Names whose values never belong in a log, whoever passes them. By hand: it runs for every value of every line, and
    /// the library's search for a text in a text costs more than all the rest of the line.
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

/// A newline in a message would look like another message.
private func append(_ text: String, to line: inout String) {
    for scalar in text.unicodeScalars {
        if scalar.value >= 0x20 && scalar.value != 0x7f {
            line.unicodeScalars.append(scalar)
        } else {
            line += scalar == "\n" ? "\\n" : "?"
        }
    }
}

private func appendQuoted(_ text: String, to line: inout String) {
    let plain =
        !text.isEmpty
        && text.utf8.allSatisfy {
            $0 > 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "=")
        }
    guard !plain else {
        line += text
        return
    }
    line += "\""
    for part in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
        if part.offset > 0 { line += "\\\"" }
        append(String(part.element), to: &line)
    }
    line += "\""
}

/// UTC with milliseconds, as RFC 3339 writes it.
private func timestamp() -> String {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var parts = tm()
    var seconds = now.tv_sec
    gmtime_r(&seconds, &parts)
    func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    let day =
        "\(1900 + Int(parts.tm_year))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
    let clock =
        "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
    return "\(day)T\(clock).\(padded(now.tv_nsec / 1_000_000, 3))Z"
}

private func writeAll(_ line: String) {
    var bytes = line.utf8.withContiguousStorageIfAvailable { Array($0) } ?? Array(line.utf8)
    while !bytes.isEmpty {
        let written = write(STDERR_FILENO, bytes, bytes.count)
        if written < 0 { if errno == EINTR { continue } else { return } }
        bytes.removeFirst(written)
    }
}
