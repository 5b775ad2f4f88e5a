import ChatCore
import Glibc

/// A file without a name: whatever happens to the process, the kernel frees it.
final class TemporaryFile {
    let descriptor: Int32
    private(set) var size: Int64 = 0

    /// TMPDIR, or else a folder of our own.
    static func folder(otherwise folder: String) -> String {
        guard let path = getenv("TMPDIR").map({ String(cString: $0) }), !path.isEmpty else { return folder }
        return path
    }

    init(in folder: String) throws(Refusal) {
        var path = Array("\(folder)/upload-XXXXXX".utf8CString)
        let opened = mkstemp(&path)
        guard opened >= 0 else { throw .unavailable("the folder of temporary files") }
        unlink(path)
        _ = fcntl(opened, F_SETFD, FD_CLOEXEC)
        descriptor = opened
    }

    deinit { close(descriptor) }

    func append(_ bytes: ArraySlice<UInt8>) throws(Refusal) {
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .unavailable("the disk for temporary files") }
            rest = rest.dropFirst(count)
            size += Int64(count)
        }
    }
}
