import CLinux
import Glibc
import Testing

@testable import ChatProcess

@Suite(.timeLimit(.minutes(1))) struct SpawnTests {
    /// The standard output of a shell, and the descriptors of this process by which it came.
    private func run(
        _ script: String, environment: [String] = ["PATH=/usr/bin:/bin"]
    ) throws -> (output: String, ours: [Int32]) {
        var ends: [Int32] = [-1, -1]
        #expect(pipe(&ends) == 0)
        _ = chat_fcntl_set(ends[0], F_SETFD, FD_CLOEXEC)
        let reading = Descriptor(ends[0])
        var writing: Descriptor? = try Descriptor(high: ends[1], "test")
        let ours = [reading.number, writing!.number]
        let pid = try Spawn(
            path: "/bin/sh", arguments: ["sh", "-c", script], environment: environment,
            descriptors: [(writing!.number, 1)]
        ).start()
        // Otherwise the output never ends.
        writing = nil
        var text: [UInt8] = []
        var bytes = [UInt8](repeating: 0, count: 4096)
        while true {
            let got = read(reading.number, &bytes, bytes.count)
            guard got > 0 else { break }
            text += bytes.prefix(got)
        }
        waitpid(pid, nil, 0)
        return (String(decoding: text, as: UTF8.self), ours)
    }

    @Test func theChildHasTheseVariablesAndNoOther() throws {
        let lines = try run("env", environment: ["PATH=/usr/bin:/bin", "A=b c"]).output.split(separator: "\n")
        #expect(lines.contains("A=b c"))
        // The shell adds its own.
        #expect(Set(lines.map { $0.prefix { $0 != "=" } }).isSubset(of: ["PATH", "A", "PWD", "OLDPWD", "SHLVL", "_"]))
    }

    @Test func theChildHasOnlyTheDescriptorsThatItIsGiven() throws {
        let (output, ours) = try run("ls /proc/$$/fd")
        let numbers = output.split(separator: "\n").compactMap { Int32($0) }
        #expect(numbers.contains(1))
        #expect(Set(numbers).isDisjoint(with: ours))
    }

    @Test func theChildIgnoresAndBlocksNothing() throws {
        // Nobody sends this test one.
        signal(SIGURG, SIG_IGN)
        var blocked = sigset_t()
        var before = sigset_t()
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGUSR2)
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer {
            pthread_sigmask(SIG_SETMASK, &before, nil)
            signal(SIGURG, SIG_DFL)
        }
        let lines = try run("cat /proc/self/status").output.split(separator: "\n")
        for name in ["SigBlk", "SigIgn"] {
            let line = try #require(lines.first { $0.hasPrefix(name) })
            let signals = try #require(UInt64(line.split(separator: "\t")[1], radix: 16))
            // Two are the C library's own.
            #expect(signals & ~0x1_8000_0000 == 0, "\(line)")
        }
    }

    @Test func aProgramThatIsNotThereIsAnError() {
        let spawn = Spawn(path: "/no/such/program", arguments: ["x"], environment: [], descriptors: [])
        #expect { try spawn.start() } throws: { "\($0)".contains("/no/such/program") }
    }
}

@Suite struct InheritedEnvironmentTests {
    @Test func variablesForTheMasterAloneStayBehind() {
        let kept = inheritedEnvironment(
            of: [
                "PATH=/bin", "NOTIFY_SOCKET=/run/x", "LISTEN_PID=1", "LISTEN_FDS=2", "LISTEN_FDNAMES=a",
                "CHAT_MASTER_STATE=4", "CHAT_WORKER=pool=x", "NOTIFY_SOCKET_OF_MINE=y", "SWIFT_BACKTRACE=enable=yes",
            ])
        #expect(kept == ["PATH=/bin", "NOTIFY_SOCKET_OF_MINE=y", "SWIFT_BACKTRACE=enable=yes"])
    }

    @Test func itsOwnVariablesReplaceInheritedOnes() {
        let kept = inheritedEnvironment(before: ["B": "2", "A": "1"], of: ["A=0", "AB=0"])
        #expect(kept == ["A=1", "B=2", "AB=0", "SWIFT_BACKTRACE=enable=no"])
    }

    @Test func aProgramIsFoundAsAShellFindsIt() {
        #expect(programPath("/opt/chat/bin/fcgi-api") == "/opt/chat/bin/fcgi-api")
        let folder = getcwd(nil, 0)!
        defer { free(folder) }
        #expect(programPath("./bin/fcgi-api") == String(cString: folder) + "/./bin/fcgi-api")
        #expect(access(programPath("sh"), X_OK) == 0 && programPath("sh").hasSuffix("/sh"))
        #expect(programPath("no-such-program-anywhere") == "/proc/self/exe")
    }
}
