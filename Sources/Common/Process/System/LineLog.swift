@preconcurrency import Glibc
public import Logging

/// One line per message on stderr, as text or as a JSON object (``LogStyle``):
///
///     time level program[pid] message key=value …
///     {"time":…,"level":…,"program":…,"pid":…,"worker":…,"request":…,"message":…,"fields":{…}}
///
/// A line is one `write`, so lines of several processes do not mix. Values whose name marks them as secret are never
/// printed.
public struct LineLog: LogHandler {
    /// The level of the process, unless one was set on this logger.
    public var logLevel: Logger.Level {
        get { ownLevel ?? LogState.shared.level }
        set { ownLevel = newValue }
    }
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    private let program: String
    private var ownLevel: Logger.Level?

    init(program: String) { self.program = program }

    /// Directs every logger of this process here. Call it once.
    ///
    /// - Parameter worker: `pool/slot`; nil in a master.
    public static func start(program: String, worker: String? = nil, style: LogStyle) {
        LogState.shared.change { $0 = LogContext(style: style, worker: worker ?? "") }
        LoggingSystem.bootstrap { _ in LineLog(program: program) }
    }

    /// Takes effect with the next line, also for existing loggers.
    public static func change(to style: LogStyle) { LogState.shared.change { $0.style = style } }

    /// From now on the lines of this thread belong to this request; nil: to no request.
    public static func begin(request: String?) {
        LogState.shared.change { ($0.request, $0.thread) = (request ?? "", pthread_self()) }
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let own = event.metadata ?? [:]
        var line = line(
            event.level, event.message.description, metadata.isEmpty ? own : metadata.merging(own) { _, new in new },
            LogState.shared.now)
        line.end()
    }

    func line(_ level: Logger.Level, _ message: String, _ values: Logger.Metadata, _ context: LogContext) -> LogLine {
        var (line, values) = (LogLine(), values)
        if values["request"] == nil, !context.request.isEmpty, pthread_equal(context.thread, pthread_self()) != 0 {
            values["request"] = .string(context.request)
        }
        if context.style.hasPriorities { line.plain("<\(level.priority)>") }
        switch context.style.format {
        case .text: writeText(level, message, values, to: &line)
        case .json: writeJSON(level, message, values, context, to: &line)
        }
        return line
    }

    private func writeText(_ level: Logger.Level, _ message: String, _ values: Logger.Metadata, to line: inout LogLine)
    {
        line.timestamp()
        line.plain(" \(level) \(program)[")
        line.number(Int(getpid()))
        line.plain("] ")
        line.text(message)
        for (key, value) in values.sorted(by: { $0.key < $1.key }) {
            line.plain(" ")
            line.plain(key)
            line.plain("=")
            line.quoted(LineLog.isSecret(key) ? "***" : value.description)
        }
    }

    private func writeJSON(
        _ level: Logger.Level, _ message: String, _ values: Logger.Metadata, _ context: LogContext,
        to line: inout LogLine
    ) {
        var values = values
        line.plain("{\"time\":\"")
        line.timestamp()
        line.plain("\",\"level\":\"\(level)\",\"program\":\"\(program)\",\"pid\":")
        line.number(Int(getpid()))
        if !context.worker.isEmpty {
            line.plain(",\"worker\":")
            line.json(context.worker)
        }
        if let request = values.removeValue(forKey: "request") {
            line.plain(",\"request\":")
            line.json(request.description)
        }
        line.plain(",\"message\":")
        line.json(message)
        if !values.isEmpty {
            line.plain(",\"fields\":")
            line.fields(values)
        }
        line.plain("}")
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
