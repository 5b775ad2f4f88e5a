import CLinux
import Glibc

/// The slow log: a worker whose request takes too long writes the request's name and its own stack. The master asks for
/// it by a signal, and the worker continues.
///
/// An entry is one write, so those of several workers do not mix:
///
///     2026-11-29T02:44:38Z search/0 pid 4711, 1034 ms in GET /search
///     fcgi-api(…)[0x…]
public enum SlowReport {
    /// Ignored by workers without a slow log.
    static let signal = SIGUSR1
    private static let maxBytes = 65_536
    /// MFD_CLOEXEC
    private static let closeOnExec: UInt32 = 1

    /// Call this once in a worker, after ``CrashReport/install()``.
    ///
    /// - Parameters:
    ///   - log: opened to append.
    ///   - label: `pool/slot`.
    ///   - row: the worker's own, which has the request.
    public static func install(log: Int32, label: String, row: ScoreboardRow) throws {
        let scratch = chat_memfd_create("chat-slow", closeOnExec)
        guard scratch >= 0 else { throw SystemError("make room for a stack") }
        // The first call loads a library.
        backtrace(slowFrames, slowFrameLimit)
        slowBuffer = .allocate(capacity: maxBytes)
        slowLabel = UnsafePointer(strdup("Z \(label) pid \(getpid()), "))
        (slowScratch, slowLog, slowRow) = (scratch, log, row)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in
            let code = errno
            SlowReport.write()
            errno = code
        }
        action.sa_flags = SA_RESTART
        sigaction(signal, &action, nil)
    }

    /// Blocks the signal during `body`, for a library that does not repeat an interrupted system call.
    public static func withoutSignal<Result>(_ body: () -> Result) -> Result {
        guard slowLog >= 0 else { return body() }
        var (mask, before) = (sigset_t(), sigset_t())
        sigemptyset(&mask)
        sigaddset(&mask, signal)
        pthread_sigmask(SIG_BLOCK, &mask, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        return body()
    }

    /// Runs in a signal handler: nothing here may allocate.
    private static func write() {
        guard slowLog >= 0, let row = slowRow, let buffer = slowBuffer, let label = slowLabel else { return }
        let since = row[.requestStartedAt]
        guard since != 0 else { return }
        let count = backtrace(slowFrames, slowFrameLimit)
        var used = stamp(buffer)
        used = append(label, strlen(label), buffer, used)
        used = append(number: Int(monotonicNow() &- Int64(since)) / 1_000_000, buffer, used)
        used = append(" ms in ", buffer, used)
        let (text, length) = row.requestBytes
        for index in 0..<length {
            let byte = text[index]
            buffer[used] = byte < 0x20 || byte == 0x7f ? UInt8(ascii: "?") : byte
            used += 1
        }
        buffer[used] = 10
        used += 1
        // glibc writes the names of the stack to a file only; through a file in memory the entry becomes one write.
        guard ftruncate(slowScratch, 0) == 0, lseek(slowScratch, 0, SEEK_SET) == 0 else { return }
        backtrace_symbols_fd(slowFrames, count, slowScratch)
        let got = pread(slowScratch, buffer + used, maxBytes - used - 1, 0)
        used += max(0, got)
        buffer[used] = 10
        _ = Glibc.write(slowLog, buffer, used + 1)
    }

    private static func append(
        _ text: UnsafePointer<CChar>, _ count: Int, _ buffer: UnsafeMutablePointer<UInt8>, _ at: Int
    )
        -> Int
    {
        memcpy(buffer + at, text, count)
        return at + count
    }

    /// The text exists as bytes of the program, so nothing is allocated.
    private static func append(_ text: StaticString, _ buffer: UnsafeMutablePointer<UInt8>, _ at: Int) -> Int {
        memcpy(buffer + at, text.utf8Start, text.utf8CodeUnitCount)
        return at + text.utf8CodeUnitCount
    }

    private static func append(
        number: Int, digits: Int = 1, _ buffer: UnsafeMutablePointer<UInt8>, _ at: Int
    ) -> Int {
        var (scale, most) = (1, digits)
        while number / scale >= 10 || most > 1 {
            scale *= 10
            most -= 1
        }
        var at = at
        while scale > 0 {
            buffer[at] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / scale % 10)
            at += 1
            scale /= 10
        }
        return at
    }

    /// UTC without the `Z`. gmtime_r may take a lock, so the date is counted here (days since 0000-03-01).
    private static func stamp(_ buffer: UnsafeMutablePointer<UInt8>) -> Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let (day, second) = (now.tv_sec / 86_400 + 719_468, now.tv_sec % 86_400)
        let (era, ofEra) = (day / 146_097, day % 146_097)
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        var at = append(number: year + era * 400 + (month >= 10 ? 1 : 0), digits: 4, buffer, 0)
        at = append(UInt8(ascii: "-"), month < 10 ? month + 3 : month - 9, buffer, at)
        at = append(UInt8(ascii: "-"), ofYear - (153 * month + 2) / 5 + 1, buffer, at)
        at = append(UInt8(ascii: "T"), second / 3600, buffer, at)
        at = append(UInt8(ascii: ":"), second / 60 % 60, buffer, at)
        return append(UInt8(ascii: ":"), second % 60, buffer, at)
    }

    private static func append(_ mark: UInt8, _ number: Int, _ buffer: UnsafeMutablePointer<UInt8>, _ at: Int) -> Int {
        buffer[at] = mark
        return append(number: number, digits: 2, buffer, at + 1)
    }
}

extension ScoreboardRow {
    /// The request's text in shared memory, without a copy.
    fileprivate var requestBytes: (UnsafePointer<UInt8>, Int) {
        let start = board.base.advanced(by: requestOffset)
        let length = Int(start.load(as: UInt8.self))
        return (UnsafePointer(start.advanced(by: 1).assumingMemoryBound(to: UInt8.self)), length)
    }
}

// A signal handler can reach only globals. All are set before the handler is installed.
private let slowFrameLimit: Int32 = 48
nonisolated(unsafe) private let slowFrames = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(
    capacity: Int(slowFrameLimit))
nonisolated(unsafe) private var slowBuffer: UnsafeMutablePointer<UInt8>?
nonisolated(unsafe) private var slowLabel: UnsafePointer<CChar>?
nonisolated(unsafe) private var slowScratch: Int32 = -1
nonisolated(unsafe) private var slowLog: Int32 = -1
nonisolated(unsafe) private var slowRow: ScoreboardRow?
