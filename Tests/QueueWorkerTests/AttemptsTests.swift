import ChatCore
import ChatProcess
import Glibc
import Testing

@testable import queue_worker

@Suite struct AttemptsTests {
    private let folder: String

    init() {
        folder = "/tmp/attempts-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
    }

    private func attempts() -> Attempts { Attempts(runDirectory: folder) }

    @Test func whatIsDoneIsForgotten() {
        let attempts = attempts()
        attempts.begin("a")
        attempts.end()
        #expect(attempts.deaths(of: "a") == .init())
    }

    @Test func anAttemptThatNobodyEndedIsASilentDeath() {
        // Each stands for a killed process.
        for _ in 0..<2 { attempts().begin("a") }
        #expect(attempts().deaths(of: "a").silent == 2)
        #expect(attempts().deaths(of: "b") == .init())
    }

    @Test func waitingIsNobodysFault() {
        let attempts = attempts()
        attempts.begin("a")
        attempts.pause()
        #expect(attempts.deaths(of: "a") == .init())
        attempts.resume()
        #expect(attempts.deaths(of: "a").silent == 1)
        attempts.takeBack()
        #expect(attempts.deaths(of: "a") == .init())
    }

    @Test func takingBackLeavesEarlierDeaths() {
        attempts().begin("a")
        let attempts = attempts()
        attempts.begin("a")
        attempts.takeBack()
        #expect(attempts.deaths(of: "a").silent == 1)
    }

    @Test func aCrashLeavesItsSignalAndItsStack() async {
        let shared = "/tmp/attempts-of-a-crash-\(getpid())"
        mkdir(shared, 0o700)
        // The crashing process is a child of this one: the folder's name contains this PID.
        await #expect(processExitsWith: .signal(SIGABRT)) {
            CrashReport.install()
            Attempts(runDirectory: "/tmp/attempts-of-a-crash-\(getppid())").begin("a")
            abort()
        }
        let attempts = Attempts(runDirectory: shared)
        let deaths = attempts.deaths(of: "a")
        attempts.forget("a")
        rmdir("\(shared)/queue-worker.attempts")
        rmdir(shared)
        #expect(deaths.crashed == 1 && deaths.silent == 0)
        #expect(deaths.text.contains("\(CrashReport.mark)6"))
        #expect(deaths.text.split(separator: "\n").count > 3, "no stack: \(deaths.text)")
    }
}

@Suite struct DeadLetterTests {
    @Test func comesBackAsItWas() throws {
        let letter = DeadLetter(
            id: .v7(at: 1), queue: "chat.queue.3", at: 1_700_000_000_000, reason: "it crashed three workers",
            stack: String(repeating: "frame\n", count: 1000), body: (0..<1000).map { UInt8(truncatingIfNeeded: $0) })
        #expect(try DeadLetter.decode(letter.encode()) == letter)
        #expect(throws: WireError.self) { try DeadLetter.decode([0x80]) }
    }
}
