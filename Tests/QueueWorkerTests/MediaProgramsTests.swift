import ChatCore
import Glibc
import Testing

@testable import queue_worker

/// What becomes of a program that takes too much, with one of ours in ffprobe's place.
@Suite struct MediaProgramsTests {
    private let folder = "/tmp/chat-media-test-\(UUID128.v7(at: systemClock()))"

    init() { mkdir(folder, 0o700) }

    private func duration(_ script: String, _ change: (inout MediaPrograms.Limits) -> Void = { _ in }) -> Int? {
        var limits = MediaPrograms.Limits()
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

    /// It reads what strangers sent: our connections are not its own.
    @Test func oneGetsNothingThatWeHaveOpen() {
        let open = dup(0)
        defer { close(open) }
        #expect(duration("[ -e /proc/$$/fd/1 ] && echo 1.5") == 1500)
        #expect(duration("[ -e /proc/$$/fd/\(open) ] && echo 1.5") == nil)
    }

    /// As on a machine without ffprobe and libvips.
    @Test func oneThatIsNotThereIsNotMissed() {
        symlink("/usr/bin/timeout", "\(folder)/timeout")
        let programs = MediaPrograms(path: folder)
        #expect(programs.duration(of: "/dev/null") == nil)
        #expect(programs.describe(picture: "/dev/null") == nil)
    }
}
