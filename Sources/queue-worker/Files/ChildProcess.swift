import CLinux
import Glibc

/// Runs another program to its end.
enum ChildProcess {
    /// Bytes of its output that are kept.
    private static let maxOutput = 65_536

    /// - Parameter words: its name, found in PATH, and its arguments. The program must end by itself: there is no time
    ///   limit here.
    /// - Returns: its output; nil when it failed.
    static func output(of words: [String], environment: [String]) -> String? {
        var pipeEnds: [Int32] = [0, 0]
        guard pipe(&pipeEnds) == 0 else { return nil }
        for end in pipeEnds { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(pipeEnds[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipeEnds[1], 1)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        // The program reads untrusted input: it inherits no open file of ours, even one without close-on-exec.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        var child = pid_t()
        let arguments = words.map { strdup($0) } + [nil]
        let variables = environment.map { strdup($0) } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        let status = posix_spawnp(&child, words[0], &actions, nil, arguments, variables)
        close(pipeEnds[1])
        guard status == 0 else { return nil }
        let text = read(pipeEnds[0])
        var ending: Int32 = 0
        while waitpid(child, &ending, 0) < 0 { guard errno == EINTR else { return nil } }
        return ending == 0 ? text : nil
    }

    private static func read(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            // Read the rest too, or the child would block forever.
            bytes += buffer[..<count].prefix(max(0, maxOutput - bytes.count))
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
