import ChatAdapters
import ChatCore
import Glibc
import Synchronization
import Testing

/// Answers one connection as clamd does: reads the pieces of a file, then gives its verdict.
private final class Clamd {
    private final class Heard: Sendable {
        let command = Mutex<[UInt8]>([])
        let file = Mutex<[UInt8]>([])
    }

    private let heard: Heard
    private let listener: Int32
    private let thread: pthread_t
    let path: String

    /// - Parameter limit: bytes after which it answers and closes at once.
    init(_ answer: String, limit: Int = .max) {
        let path = "/tmp/clamd-\(UUID128.v7(at: systemClock()))"
        self.path = path
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        listen(listener, 1)
        let heard = Heard()
        self.heard = heard
        thread = startThread {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { return }
            heard.command.withLock { $0 = Clamd.receive(10, client) }
            while let size = Clamd.size(client), size > 0 {
                let piece = Clamd.receive(size, client)
                let all = heard.file.withLock {
                    $0 += piece
                    return $0.count
                }
                if all > limit { break }
            }
            _ = send(client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
            close(client)
        }
    }

    /// Call it once. The zero that ends the pieces is not in the file.
    func conversation() -> (command: String, file: [UInt8]) {
        shutdown(listener, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
        close(listener)
        unlink(path)
        return (String(decoding: heard.command.withLock { $0 }, as: UTF8.self), heard.file.withLock { $0 })
    }

    private static func receive(_ count: Int, _ client: Int32) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = recv(client, &bytes, count, Int32(MSG_WAITALL))
        return Array(bytes.prefix(max(0, got)))
    }

    private static func size(_ client: Int32) -> Int? {
        let bytes = receive(4, client)
        return bytes.count == 4 ? bytes.reduce(0) { $0 << 8 | Int($1) } : nil
    }
}

@Suite(.timeLimit(.minutes(1))) struct ClamdScannerTests {
    /// More than one piece.
    private let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    private let part: FilePart

    init() {
        let path = "/tmp/scanned-\(UUID128.v7(at: systemClock()))"
        let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        unlink(path)
        _ = write(file, bytes, bytes.count)
        part = FilePart(descriptor: file, offset: 100, length: 150_000, owner: Closing(file))
    }

    private final class Closing: Sendable {
        private let file: Int32
        init(_ file: Int32) { self.file = file }
        deinit { close(file) }
    }

    private func scan(_ clamd: Clamd) throws(StoreError) -> String? {
        try ClamdScanner(address: "unix:\(clamd.path)").scan(part)
    }

    @Test func theWholePartIsScannedAndNothingElse() throws {
        let clamd = Clamd("stream: OK\0")
        #expect(try scan(clamd) == nil)
        let (command, file) = clamd.conversation()
        #expect(command == "zINSTREAM\0")
        // Not in the report when they differ.
        let isWhole = file == Array(bytes[100..<150_100])
        #expect(isWhole)
    }

    @Test func aFindingHasAName() throws {
        let clamd = Clamd("stream: Win.Test.EICAR_HDB-1 FOUND\0")
        #expect(try scan(clamd) == "Win.Test.EICAR_HDB-1")
        _ = clamd.conversation()
    }

    /// Neither is a verdict: the file is looked at again later.
    @Test(arguments: ["stream: Can't allocate memory ERROR\0", "", "stream: "])
    func whatIsNoVerdictIsAnErrorThatMayPass(_ answer: String) {
        let clamd = Clamd(answer)
        #expect { try scan(clamd) } throws: { ($0 as? StoreError)?.isTransient == true }
        _ = clamd.conversation()
    }

    @Test func theReasonOfADaemonThatClosesIsInTheError() {
        let clamd = Clamd("INSTREAM size limit exceeded. ERROR\0", limit: 10)
        #expect { try scan(clamd) } throws: {
            "\($0)".contains("size limit exceeded") && ($0 as? StoreError)?.isTransient == true
        }
        _ = clamd.conversation()
    }

    @Test func aFileThatIsShorterThanItsPartIsNoCleanFile() {
        let clamd = Clamd("stream: OK\0")
        let beyond = FilePart(descriptor: part.descriptor, offset: 150_000, length: 60_000)
        #expect { try ClamdScanner(address: "unix:\(clamd.path)").scan(beyond) } throws: {
            "\($0)".contains("cannot be read")
        }
        _ = clamd.conversation()
    }

    @Test(arguments: [
        "unix:/tmp/nobody-listens-here", "unix:/" + String(repeating: "x", count: 200), "127.0.0.1:1", "no-colon", "",
    ])
    func aDaemonThatIsAwayIsAnErrorThatMayPass(_ address: String) {
        #expect { try ClamdScanner(address: address).scan(part) } throws: { ($0 as? StoreError)?.isTransient == true }
    }
}
