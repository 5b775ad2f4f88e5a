import CLinux
@preconcurrency import Glibc
public import Logging
import Synchronization

/// How this process writes its log. All loggers of the process share it, so a reload of the settings also affects
/// loggers that were made before.
public struct LogStyle: Sendable, Equatable {
    public enum Format: String, Sendable, CaseIterable { case text, json }
    /// Whether lines begin with a priority (`<4>`), which journald removes.
    public enum Priorities: String, Sendable, CaseIterable { case auto, on, off }

    public var level: Logger.Level
    public var format: Format
    var hasPriorities: Bool

    /// - Parameter priorities: `auto`: only when standard error is journald's own stream.
    public init(level: Logger.Level = .info, format: Format = .text, priorities: Priorities = .auto) {
        self.level = level
        self.format = format
        hasPriorities = priorities == .on || priorities == .auto && LogStyle.isJournal
    }

    /// `JOURNAL_STREAM` names the file that systemd passed; standard error may have been redirected since.
    private static let isJournal: Bool = {
        var file = stat()
        guard let named = environment("JOURNAL_STREAM"), fstat(STDERR_FILENO, &file) == 0 else { return false }
        return named == "\(file.st_dev):\(file.st_ino)"
    }()
}

/// The part that all lines of this process share: the style, the worker, the current request.
struct LogContext: Sendable {
    var style = LogStyle()
    /// `pool/slot`; empty: the master.
    var worker = ""
    /// The id of the current request, and the thread that handles it: lines of other threads do not belong to it.
    var request = ""
    var thread = pthread_t()
}

final class LogState: Sendable {
    static let shared = LogState()
    private let context = Mutex(LogContext())
    /// Separate from the rest, because every call of every logger reads it.
    private let levels = Atomic(LogState.place(of: .info))

    var now: LogContext { context.withLock { $0 } }
    func change(_ body: (inout LogContext) -> Void) {
        let level = context.withLock { context -> Logger.Level in
            body(&context)
            return context.style.level
        }
        levels.store(LogState.place(of: level), ordering: .relaxed)
    }

    var level: Logger.Level { Logger.Level.allCases[levels.load(ordering: .relaxed)] }
    private static func place(of level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }
}

extension Logger.Level {
    /// As syslog numbers them.
    var priority: Int {
        switch self {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
    }
}
