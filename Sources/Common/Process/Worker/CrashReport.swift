import CLinux
import Glibc

/// Crash reports: a process that dies by a trap, a bad access or an abort writes the signal and its stack into a file
/// that was opened before. SIGKILL leaves no report.
public enum CrashReport {
    /// The beginning of each report; readers count them.
    public static let mark = "died by signal "
    private static let signals = [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT]
    private static let stackBytes = 65_536

    /// Sets the descriptor for reports; -1: none.
    public static func write(to descriptor: Int32) { crashDescriptor = descriptor }

    /// The signal that the master sends to a hanging worker.
    public static let hangSignal = SIGXCPU

    /// Call this once in every worker. On `hangSignal` the main thread writes its stack to standard error, where the
    /// log goes, and the process ends. Only the main thread takes signals, and a hanging worker hangs there.
    static func installForHang() {
        backtrace(crashFrames, crashFrameLimit)
        crashLines[Int(hangSignal)] = strdup("\(mark)\(hangSignal) (it hangs; its stack follows)\n")
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { number in
            let count = backtrace(crashFrames, crashFrameLimit)
            sayStack(number, count, to: 2)
            if crashDescriptor >= 0 { sayStack(number, count, to: crashDescriptor) }
            kill(getpid(), SIGKILL)
        }
        sigaction(hangSignal, &action, nil)
    }

    /// Call this once at the start. It allocates everything that the handler needs, because a handler must not
    /// allocate.
    public static func install() {
        // After a stack overflow the handler needs a stack of its own.
        var stack = stack_t()
        stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: stackBytes, alignment: 16)
        stack.ss_size = stackBytes
        sigaltstack(&stack, nil)
        // The first call loads a library.
        backtrace(crashFrames, crashFrameLimit)
        for number in signals {
            crashLines[Int(number)] = strdup("\(mark)\(number) (\(String(cString: strsignal(number))))\n")
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { number in
                if crashDescriptor >= 0, let line = crashLines[Int(number)] {
                    _ = Glibc.write(crashDescriptor, line, strlen(line))
                    backtrace_symbols_fd(crashFrames, backtrace(crashFrames, crashFrameLimit), crashDescriptor)
                }
                // The signal is blocked until the handler returns; then it ends the process.
                kill(getpid(), number)
            }
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_ONSTACK
            sigaction(number, &action, nil)
        }
    }
}

/// Runs in a signal handler: nothing here may allocate.
private func sayStack(_ number: Int32, _ count: Int32, to descriptor: Int32) {
    if let line = crashLines[Int(number)] { _ = Glibc.write(descriptor, line, strlen(line)) }
    backtrace_symbols_fd(crashFrames, count, descriptor)
}

// A signal handler can reach only globals. All but the descriptor are set before the handler is installed.
nonisolated(unsafe) private var crashDescriptor: Int32 = -1
private let crashFrameLimit: Int32 = 48
nonisolated(unsafe) private let crashFrames = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(
    capacity: Int(crashFrameLimit))
nonisolated(unsafe) private let crashLines = {
    let lines = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: 65)
    lines.initialize(repeating: nil, count: 65)
    return lines
}()
