import Glibc

/// How often Ctrl-C was pressed.
nonisolated(unsafe) private(set) var interrupts: sig_atomic_t = 0

/// The first ends the run in order, with its report; the second ends at once.
func watchInterrupts() {
    for number in [SIGINT, SIGTERM] {
        signal(number) { _ in
            interrupts += 1
            if interrupts > 1 { _exit(130) }
        }
    }
    signal(SIGPIPE, SIG_IGN)
}
