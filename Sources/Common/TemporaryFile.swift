import Crypto
import Glibc

/// A file without a name: the kernel frees it however the process ends.
///
/// For one thread; Sendable only because it keeps a ``FilePart``'s file open.
public final class TemporaryFile: @unchecked Sendable {
    public let descriptor: Int32
    public private(set) var size: Int64 = 0

    public init(in folder: String) throws(Refusal) {
        var path = Array("\(folder)/upload-XXXXXX".utf8CString)
        let opened = mkstemp(&path)
        guard opened >= 0 else { throw .disk("the folder of temporary files", errno) }
        unlink(path)
        _ = fcntl(opened, F_SETFD, FD_CLOEXEC)
        descriptor = opened
    }

    deinit { close(descriptor) }

    /// Returns the whole file or a range; the file stays open as long as the part is in use.
    public func part(from offset: Int64 = 0, length: Int64? = nil) -> FilePart {
        FilePart(descriptor: descriptor, offset: offset, length: length ?? size - offset, owner: self)
    }

    /// Counts bytes that were appended through the descriptor elsewhere.
    public func continueBehind(_ bytes: Int64) throws(Refusal) {
        guard lseek(descriptor, off_t(bytes), SEEK_SET) == off_t(bytes) else {
            throw .unavailable("the disk for temporary files")
        }
        size = bytes
    }

    public func append(_ bytes: ArraySlice<UInt8>) throws(Refusal) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .disk("the disk for temporary files", errno) }
            rest = rest.dropFirst(count)
            size += Int64(count)
        }
    }
}

extension Refusal {
    /// - Parameter problem: errno.
    public static func disk(_ what: String, _ problem: Int32) -> Refusal {
        let isFull = problem == ENOSPC || problem == EDQUOT
        let name = isFull ? problem == ENOSPC ? "ENOSPC: " : "EDQUOT: " : ""
        let state = isFull ? "is full" : "cannot be used"
        return Refusal(
            .unavailable, "\(what) \(state) (\(name)\(String(cString: strerror(problem)))); try again later",
            retryAfter: 30)
    }
}

extension FilePart {
    /// In lower-case hexadecimal; nil when the file cannot be read.
    public func md5() -> String? {
        var sum = Insecure.MD5()
        var buffer = [UInt8](repeating: 0, count: 262_144)
        var done: Int64 = 0
        while done < length {
            let count = pread(descriptor, &buffer, Int(min(Int64(buffer.count), length - done)), off_t(offset + done))
            guard count > 0 else { return nil }
            buffer[..<count].withUnsafeBytes { sum.update(bufferPointer: $0) }
            done += Int64(count)
        }
        return hex(sum.finalize())
    }

    /// Returns the first bytes; fewer when the file is shorter or cannot be read.
    public func head(_ most: Int) -> [UInt8] {
        let wanted = Int(min(Int64(most), length))
        return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            count = max(0, pread(descriptor, buffer.baseAddress, wanted, off_t(offset)))
        }
    }
}
