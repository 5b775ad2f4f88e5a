public import ChatCore
import Glibc

/// Places that are locks of files: the kernel frees those of a process that ends, however it ends.
public final class LockedPlaces: SharedPlaces {
    private let files: [Int32]
    private var taken: Int32?

    /// - Parameters:
    ///   - path: of the files; a number is added.
    ///   - onFailure: told why no file can be opened. Then each process has a place of its own.
    public init(_ path: String, count: Int, onFailure: (String) -> Void) {
        files = (0..<count).map { open("\(path).\($0)", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600) }
            .filter { $0 >= 0 }
        if files.isEmpty { onFailure(String(cString: strerror(errno))) }
    }

    deinit { for file in files { close(file) } }

    public func take() -> Bool {
        guard !files.isEmpty else { return true }
        taken = files.first { flock($0, LOCK_EX | LOCK_NB) == 0 }
        return taken != nil
    }

    public func leave() {
        if let taken { flock(taken, LOCK_UN) }
        taken = nil
    }
}
