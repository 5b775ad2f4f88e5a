public import Logging
import Synchronization

/// Keeps what is logged, one text an entry: the level, the message, and the metadata by name.
public final class MemoryLog: Sendable {
    private let kept = Mutex<[String]>([])

    public init() {}

    public var lines: [String] { kept.withLock { $0 } }

    public var log: Logger { Logger(label: "test") { _ in Handler(memory: self) } }

    private struct Handler: LogHandler {
        let memory: MemoryLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
            let fields = all.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            memory.kept.withLock { $0.append("\(event.level) \(event.message)\(fields)") }
        }
    }
}
