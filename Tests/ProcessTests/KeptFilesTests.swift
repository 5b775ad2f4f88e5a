import CLinux
import ChatCore
import Glibc
import Testing

@testable import ChatProcess

/// The keeper's own code, on a thread: it answers with the descriptors of this process.
private final class Keeper {
    /// Of `WorkerChannel.stateFile` and `WorkerChannel.line`.
    let table: Int32
    let line: Int32
    private let master: Int32
    let asker: Descriptor
    private let thread: pthread_t

    init() {
        func pair() -> [Int32] {
            var ends: [Int32] = [-1, -1]
            socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends)
            return ends
        }
        table = chat_memfd_create("test", 0)
        let (channel, lines, answers) = (pair(), pair(), pair())
        line = lines[1]
        close(lines[0])
        master = channel[0]
        asker = Descriptor(answers[0])
        _ = chat_send_fds(master, "G", 1, [answers[1]], 1)
        close(answers[1])
        let (table, line, kept) = (table, line, channel[1])
        thread = startThread {
            chat_keep_for(kept, table, line)
            close(kept)
        }
    }

    /// Its master and the asker have gone: the thread ends.
    deinit {
        close(master)
        shutdown(asker.number, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
        close(table)
        close(line)
    }
}

@Suite(.timeLimit(.minutes(1))) struct KeptFilesTests {
    /// A file with this text.
    private func file(_ text: String) -> Int32 {
        let file = chat_memfd_create("test", 0)
        pwrite(file, text, text.utf8.count, 0)
        return file
    }

    private func text(_ file: Int32?) -> String? {
        guard let file else { return nil }
        var bytes = [UInt8](repeating: 0, count: 100)
        let got = pread(file, &bytes, bytes.count, 0)
        return String(decoding: bytes.prefix(max(0, got)), as: UTF8.self)
    }

    @Test func filesComeInTheOrderOfTheirNumbers() {
        let keeper = Keeper()
        let files = (0..<3).map { file("file \($0)") }
        let got = KeptFiles(keeper.asker).files([files[2], files[0], files[1]])
        #expect(got.map(text) == ["file 2", "file 0", "file 1"])
        #expect(Set(got.compactMap { $0 }).isDisjoint(with: files))
        (files + got.compactMap { $0 }).forEach { close($0) }
    }

    @Test func aClosedOneIsNilAndTheOthersCome() {
        let keeper = Keeper()
        let files = (0..<2).map { file("file \($0)") }
        // Above every number that this process may have.
        let got = KeptFiles(keeper.asker).files([files[0], 1_000_000, files[1]])
        #expect(got.map(text) == ["file 0", nil, "file 1"])
        (files + got.compactMap { $0 }).forEach { close($0) }
    }

    /// The kernel passes 253 in a message.
    @Test func moreFilesThanAMessageHolds() {
        let keeper = Keeper()
        let files = (0..<3).map { file("file \($0)") }
        let got = KeptFiles(keeper.asker).files((0..<601).map { files[$0 % 3] })
        #expect(got.map(text) == (0..<601).map { "file \($0 % 3)" })
        (files + got.compactMap { $0 }).forEach { close($0) }
    }

    @Test func theStateFileIsTheOneOfTheWorker() throws {
        let keeper = Keeper()
        pwrite(keeper.table, "state", 5, 0)
        let file = try #require(KeptFiles(keeper.asker).stateFile())
        #expect(text(file) == "state")
        close(file)
    }

    @Test func aKeeperThatEndedHasNothing() {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
        close(ends[1])
        let kept = KeptFiles(Descriptor(ends[0]))
        #expect(kept.stateFile() == nil)
        #expect(kept.files([0, 1]) == [nil, nil])
    }

    @Test func aSilentKeeperIsGivenUp() {
        var ends: [Int32] = [-1, -1]
        socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends)
        #expect(KeptFiles(Descriptor(ends[0]), answerTimeout: .milliseconds(1)).stateFile() == nil)
        close(ends[1])
    }

    /// A PID may have passed to another program since.
    @Test func anOrphanIsKnownByItsName() throws {
        let keeper = Keeper()
        let kept = KeptFiles(keeper.asker)
        var bytes = [UInt8](repeating: 0, count: 16)
        let comm = open("/proc/self/comm", O_RDONLY)
        let got = read(comm, &bytes, bytes.count)
        close(comm)
        let name = String(decoding: bytes.prefix(got - 1), as: UTF8.self)
        #expect(kept.worker(named: name + "x") == nil)
        let worker = try #require(kept.worker(named: name))
        let line = worker.openLine()
        #expect(chat_peer_pid(line) == getpid())
        close(line)
    }
}
