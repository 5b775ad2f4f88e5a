import CLinux
import Glibc

/// Before an upgrade, runs the binary on disk with `serve --check`: it must start and accept the configuration.
struct BinaryCheck {
    static let limit: Nanoseconds = 30_000_000_000

    let pid: pid_t
    private let output: Descriptor
    private let deadline: Nanoseconds
    private let kernel: any Kernel

    init(path: String, arguments: [String], _ kernel: any Kernel) throws {
        self.kernel = kernel
        var ends: [Int32] = [-1, -1]
        guard chat_pipe2(&ends, O_CLOEXEC) == 0 else { throw SystemError("make a pipe") }
        output = try Descriptor(high: ends[0], "make a pipe")
        let input = try Descriptor(high: ends[1], "make a pipe")
        output.setNonBlocking()
        deadline = kernel.now + BinaryCheck.limit
        pid = try kernel.start(
            Spawn(
                path: path, arguments: arguments, environment: inheritedEnvironment(),
                descriptors: [(input.number, STDOUT_FILENO), (input.number, STDERR_FILENO)]))
    }

    func enforceLimit() {
        if kernel.now > deadline { kernel.send(SIGKILL, to: pid) }
    }

    /// Nil when the new binary accepts the configuration; else its last output.
    func problem(_ status: ExitStatus) -> String? {
        guard status != .exited(0) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let got = read(output.number, &bytes, bytes.count)
        let lines = String(decoding: bytes.prefix(max(0, got)), as: UTF8.self).split(separator: "\n")
        let words = lines.suffix(5).joined(separator: " | ")
        return "the new binary's check \(status)" + (words.isEmpty ? "" : ": \(words)")
    }
}
