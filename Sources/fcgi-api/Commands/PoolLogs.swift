import ChatCore
import ChatProcess
import Glibc
import Logging

/// The log files of a pool. A worker serves requests even if it cannot open them.
final class PoolLogs {
    let access: AccessLog?
    private let slow: Int32
    private let log: Logger

    /// Call this before the process changes its user: the logs belong to the master's user.
    init(_ pool: PoolSettings, _ log: Logger) {
        self.log = log
        access = Self.open("access_log", pool.accessLog, log).map {
            AccessLog(AccessFormat(of: pool), pool.name, to: $0)
        }
        slow = Self.open("slow_log", pool.slowLog, log) ?? -1
    }

    /// From now on the master may ask for this process's stack.
    func catchSlow(_ channel: WorkerChannel) {
        guard slow >= 0 else { return }
        do { try SlowReport.install(log: slow, label: channel.label, row: channel.scoreboard) } catch {
            log.warning("the slow log gets no stacks", metadata: ["error": "\(error)"])
        }
    }

    private static func open(_ key: String, _ path: String?, _ log: Logger) -> Int32? {
        guard let path else { return nil }
        // A pipe without a reader must not block the worker.
        let file = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
        if file >= 0 { return file }
        log.error("\(key) \(path) cannot be opened", metadata: ["error": "\(String(cString: strerror(errno)))"])
        return nil
    }
}
