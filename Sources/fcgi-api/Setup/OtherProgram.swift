import Glibc

/// Runs a program of the system for setup: psql, rabbitmqctl, systemctl.
struct OtherProgram {
    struct Ending {
        var isGood: Bool
        /// Its output with errors, without spaces at the end.
        var text: String
        /// Its last line, for a sentence.
        var lastLine: String { text.split(separator: "\n").last.map(String.init) ?? "it printed nothing" }
    }

    /// - Parameter input: its standard input. Secrets go here, never into `words`, which every user of the machine can
    ///   see.
    /// - Parameter environment: its variables, each `NAME=value`; nil: those of this process.
    /// - Returns: nil when the program does not exist.
    static func run(_ words: [String], input: String = "", environment: [String]? = nil) -> Ending? {
        var inputEnds: [Int32] = [0, 0]
        var outputEnds: [Int32] = [0, 0]
        guard pipe(&inputEnds) == 0, pipe(&outputEnds) == 0 else { return nil }
        for end in inputEnds + outputEnds { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, inputEnds[0], 0)
        posix_spawn_file_actions_adddup2(&actions, outputEnds[1], 1)
        posix_spawn_file_actions_adddup2(&actions, outputEnds[1], 2)
        var child = pid_t()
        let arguments = words.map { strdup($0) } + [nil]
        defer { arguments.forEach { free($0) } }
        var variables = (environment ?? []).map { strdup($0) } + [nil]
        defer { variables.forEach { free($0) } }
        let status = variables.withUnsafeMutableBufferPointer {
            posix_spawnp(
                &child, words[0], &actions, nil, arguments, environment == nil ? environ : $0.baseAddress ?? environ)
        }
        close(inputEnds[0])
        close(outputEnds[1])
        defer { close(outputEnds[0]) }
        // The input fits into a pipe, so neither side can block the other.
        signal(SIGPIPE, SIG_IGN)
        _ = Array(input.utf8).withUnsafeBytes { write(inputEnds[1], $0.baseAddress, $0.count) }
        close(inputEnds[1])
        guard status == 0 else { return nil }
        let text = readAll(outputEnds[0])
        var ending: Int32 = 0
        while waitpid(child, &ending, 0) < 0 { guard errno == EINTR else { return nil } }
        return ending == 127 << 8 && text.isEmpty ? nil : Ending(isGood: ending == 0, text: text)
    }

    private static func readAll(_ descriptor: Int32) -> String {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            bytes += buffer[..<count].prefix(max(0, 65_536 - bytes.count))
        }
        while let last = bytes.last, last <= 0x20 { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }
}
