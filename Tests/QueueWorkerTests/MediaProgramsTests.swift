import ChatCore
import Glibc
import Logging
import Testing

@testable import queue_worker

/// The end of a program that uses too much, with a script in place of ffprobe.
@Suite struct MediaProgramsTests {
    private let folder = "/tmp/chat-media-test-\(UUID128.v7(at: systemClock()))"

    init() { mkdir(folder, 0o700) }

    private func duration(_ script: String, _ change: (inout MediaPrograms.MediaLimits) -> Void = { _ in }) -> Int? {
        var limits = MediaPrograms.MediaLimits()
        change(&limits)
        let text = "#!/bin/sh\n\(script)\n"
        let file = open("\(folder)/ffprobe", O_WRONLY | O_CREAT | O_TRUNC, 0o700)
        _ = write(file, text, text.utf8.count)
        close(file)
        return MediaPrograms(path: "\(folder):/usr/bin:/bin", limits: limits).duration(of: "/dev/null")
    }

    @Test func whatItSaysIsRead() {
        #expect(duration("echo 1.5") == 1500)
        for script in ["echo N/A", "echo -1", "echo nan", "echo 1.5; exit 1", "echo 1.5; kill -9 $$", ":"] {
            #expect(duration(script) == nil, "\(script)")
        }
    }

    @Test func oneThatSleepsIsEnded() { #expect(duration("sleep 600; echo 1.5") { $0.seconds = 1 } == nil) }

    @Test func oneThatTurnsInCirclesIsEnded() {
        #expect(duration("while :; do :; done") { $0.cpuSeconds = 1 } == nil)
    }

    @Test func oneThatTakesMemoryGetsNone() {
        let script = "exec python3 -c 'bytes(1 << 29); print(1.5)'"
        #expect(duration(script) == 1500)
        #expect(duration(script) { $0.memory = 1 << 29 } == nil)
    }

    @Test func oneThatWritesTooMuchIsEnded() {
        #expect(duration("head -c 1000 /dev/zero > \(folder)/big && echo 1.5") == 1500)
        #expect(duration("head -c 1000 /dev/zero > \(folder)/big && echo 1.5") { $0.file = 100 } == nil)
    }

    /// It reads untrusted input: it must not inherit our connections.
    @Test func oneGetsNothingThatWeHaveOpen() {
        let open = dup(0)
        defer { close(open) }
        #expect(duration("[ -e /proc/$$/fd/1 ] && echo 1.5") == 1500)
        #expect(duration("[ -e /proc/$$/fd/\(open) ] && echo 1.5") == nil)
    }

    /// Skipped, with a reason, when bubblewrap is missing or may not make namespaces.
    @Test func inItsJailThereIsNothingButItsFolder() throws {
        let jail = MediaJail.make("auto", log: Logger(label: "test"))
        guard jail == .bubblewrap else {
            print("bubblewrap does not work here: its jail is not tested")
            return
        }
        let work = "\(folder)/work"
        mkdir(work, 0o700)
        let environment = ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"]
        func output(_ script: String) -> String? {
            ChildProcess.output(
                of: jail.words(folder: work, environment: environment)! + ["sh", "-c", script],
                environment: environment + ["SECRET=x"])
        }
        #expect(output("echo -n $PATH$SECRET") == "/usr/bin:/bin")
        #expect(output("echo x > \(work)/a && cat \(work)/a") == "x\n")
        #expect(output("touch /usr/b || echo -n no") == "no")
        // Files written outside of its folder disappear with it.
        _ = output("touch \(folder)/b")
        #expect(access("\(folder)/b", F_OK) != 0)
        #expect(output("cat /etc/passwd /proc/1/environ || echo -n no") == "no")
        // Not even the loopback address of the machine.
        let (listener, port) = try listening()
        defer { close(listener) }
        let call = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", \(port)), 5)'"
        #expect(ChildProcess.output(of: ["sh", "-c", call], environment: environment) == "")
        #expect(output("\(call) || echo -n no") == "no")
    }

    private func listening() throws -> (descriptor: Int32, port: Int) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port = try withUnsafeMutablePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try #require(bind(descriptor, generic, length) == 0 && listen(descriptor, 5) == 0)
                try #require(getsockname(descriptor, generic, &length) == 0)
            }
            return Int(UInt16(bigEndian: pointer.pointee.sin_port))
        }
        return (descriptor, port)
    }

    @Test func aDemandedJailThatDoesNotWorkRunsNothing() {
        #expect(MediaJail.broken.words(folder: "/tmp", environment: []) == nil)
        #expect(MediaJail.make("none", log: Logger(label: "test")) == .none)
        #expect(MediaPrograms(jail: .broken).duration(of: "/dev/null") == nil)
    }

    /// As on a machine without ffprobe and libvips.
    @Test func oneThatIsNotThereIsNotMissed() {
        symlink("/usr/bin/timeout", "\(folder)/timeout")
        let programs = MediaPrograms(path: folder)
        #expect(programs.duration(of: "/dev/null") == nil)
        #expect(programs.describe(picture: "/dev/null").media == nil)
    }
}
