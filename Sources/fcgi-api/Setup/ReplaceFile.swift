import ChatProcess
import Glibc

/// Writes a file that another program reads: it sees the old text or the whole new one, also after a power cut.
///
/// - Parameters:
///   - mode: the umask does not matter.
///   - group: nil: the writer's.
func replaceFile(_ path: String, _ text: String, mode: mode_t, group: gid_t? = nil) throws(OperatorError) {
    let draft = "\(path).new"
    unlink(draft)
    let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
        let code = errno
        let advice = code == ENOENT ? "make the folder first" : "run as root"
        throw OperatorError("\(draft) cannot be written (\(String(cString: strerror(code)))): \(advice)")
    }
    defer { close(descriptor) }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
            throw OperatorError("\(draft) cannot be written (\(String(cString: strerror(errno)))): make room")
        }
        bytes = bytes.dropFirst(count)
    }
    if let group { _ = fchown(descriptor, uid_t.max, group) }
    guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0, rename(draft, path) == 0 else {
        throw OperatorError("\(path) cannot be written (\(String(cString: strerror(errno)))): run as root")
    }
}
