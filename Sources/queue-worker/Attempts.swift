import ChatProcess
import Glibc

/// Counts the worker deaths that each message caused: one file per message in RUN_DIR/queue-worker.attempts.
///
/// A file is written before a redelivered message is tried again, and removed when it is done. A file that is still
/// there therefore proves that a worker ended in between; it contains the crash report (``CrashReport``). Files are
/// used instead of Redis or PostgreSQL because they survive a crash and are available when no server is.
final class Attempts {
    struct Deaths: Equatable {
        /// Deaths by a crash, with a crash report.
        var crashed = 0
        /// Deaths without a report: SIGKILL, or out of memory.
        var silent = 0
        var text = ""
    }

    private static let tried = "tried by process "
    private let folder: String
    private var open: (key: String, descriptor: Int32, before: off_t)?
    private var paused: String?

    init(runDirectory: String) {
        folder = "\(runDirectory)/queue-worker.attempts"
        mkdir(folder, 0o700)
    }

    /// A key may contain only letters, digits and dashes.
    private func path(_ key: String) -> String { "\(folder)/\(key)" }

    func deaths(of key: String) -> Deaths {
        guard let text = textOfFile(path(key)) else { return Deaths() }
        let lines = text.split(separator: "\n")
        let tries = lines.count { $0.hasPrefix(Self.tried) }
        let crashed = lines.count { $0.hasPrefix(CrashReport.mark) }
        return Deaths(crashed: crashed, silent: max(0, tries - crashed), text: text)
    }

    /// From here to ``end()`` a death of this process counts against `key`.
    func begin(_ key: String) {
        let descriptor = Glibc.open(path(key), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        // Without the file (for example on a full disk) nothing is counted and work continues.
        guard descriptor >= 0 else { return }
        open = (key, descriptor, lseek(descriptor, 0, SEEK_END))
        let line = Array("\(Self.tried)\(getpid())\n".utf8)
        _ = Glibc.write(descriptor, line, line.count)
        CrashReport.write(to: descriptor)
    }

    /// The message is done: its file is removed.
    func end() {
        guard let key = close() else { return }
        forget(key)
    }

    /// Takes the last attempt back: the work waits or was interrupted, so a death now would not be its fault.
    func takeBack() {
        guard let open else { return }
        CrashReport.write(to: -1)
        if open.before == 0 { forget(open.key) } else { ftruncate(open.descriptor, open.before) }
        _ = close()
    }

    /// Surrounds a wait for an unavailable server.
    func pause() {
        paused = open?.key
        takeBack()
    }

    func resume() {
        if let paused { begin(paused) }
        paused = nil
    }

    func forget(_ key: String) { unlink(path(key)) }

    private func close() -> String? {
        guard let (key, descriptor, _) = open else { return nil }
        CrashReport.write(to: -1)
        Glibc.close(descriptor)
        open = nil
        return key
    }

    private func textOfFile(_ path: String) -> String? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { Glibc.close(descriptor) }
        // Three stacks are a few KiB; the rest is not shown.
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = read(descriptor, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}
