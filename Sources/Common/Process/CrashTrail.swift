import CLinux
import Glibc

/// What a process that dies by a signal of its own (a trap, a bad access, an abort) still says: the signal and its stack,
/// into a file that was opened before. A kill -9 says nothing.
public enum CrashTrail {
    /// How each such line begins; readers count them.
    public static let mark = "died by signal "
    private static let signals = [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT]
    private static let stackBytes = 65_536

    /// Where to write from now on; -1: nowhere.
    public static func write(to descriptor: Int32) { crashDescriptor = descriptor }

    /// What the master sends to a worker that hangs.
    public static let hangSignal = SIGXCPU

    /// Once, in every worker: on `hangSignal` the stack goes to standard error, where the log goes, and the process ends.
    /// Only the main thread takes signals, and it is the one that hangs.
    static func installForHang() {
        backtrace(crashFrames, crashFrameLimit)
        crashLines[Int(hangSignal)] = strdup("\(mark)\(hangSignal) (it hangs; this is where)\n")
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { number in
            let count = backtrace(crashFrames, crashFrameLimit)
            sayStack(number, count, to: 2)
            if crashDescriptor >= 0 { sayStack(number, count, to: crashDescriptor) }
            kill(getpid(), SIGKILL)
        }
        sigaction(hangSignal, &action, nil)
    }

    /// Once, at the start. Everything that the handler needs is made here: it may call nothing that allocates.
    public static func install() {
        // A stack that has overflowed cannot run a handler.
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
                // Blocked until this returns, and then it is the end.
                kill(getpid(), number)
            }
            action.sa_flags = Int32(bitPattern: UInt32(SA_RESETHAND)) | SA_ONSTACK
            sigaction(number, &action, nil)
        }
    }
}

/// In a signal handler: nothing here allocates.
private func sayStack(_ number: Int32, _ count: Int32, to descriptor: Int32) {
    if let line = crashLines[Int(number)] { _ = Glibc.write(descriptor, line, strlen(line)) }
    backtrace_symbols_fd(crashFrames, count, descriptor)
}

// A signal handler can reach nothing else than globals; all are set before it is installed, but for the descriptor.
nonisolated(unsafe) private var crashDescriptor: Int32 = -1
private let crashFrameLimit: Int32 = 48
nonisolated(unsafe) private let crashFrames = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(
    capacity: Int(crashFrameLimit))
nonisolated(unsafe) private let crashLines = {
    let lines = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: 65)
    lines.initialize(repeating: nil, count: 65)
    return lines
}()
