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
