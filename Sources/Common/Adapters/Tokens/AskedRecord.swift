import Glibc

/// The time at which an address was last asked, with a lock that is held as long as this object lives.
final class AskedRecord {
    private let descriptor: Int32
    /// Unix milliseconds; 0: never.
    let askedAt: Int64
    let hasFailed: Bool

    /// Waits for the worker that is asking now.
    init?(_ path: String) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { return nil }
        var got: Int32
        repeat { got = flock(descriptor, LOCK_EX) } while got != 0 && errno == EINTR
        var bytes = [UInt8](repeating: 0, count: 32)
        let count = max(0, pread(descriptor, &bytes, bytes.count, 0))
        let words = bytes.prefix(count).split(separator: UInt8(ascii: " "))
        self.descriptor = descriptor
        askedAt = words.first.flatMap { Int64(String(decoding: $0, as: UTF8.self)) } ?? 0
        hasFailed = words.count > 1 && words[1].first == UInt8(ascii: "f")
    }

    deinit { close(descriptor) }

    func write(askedAt: Int64, hasFailed: Bool) {
        let text = Array("\(askedAt) \(hasFailed ? "failed" : "good")\n".utf8)
        ftruncate(descriptor, 0)
        _ = pwrite(descriptor, text, text.count, 0)
    }
}
