import ChatCore
import Glibc

/// Writes and reads files atomically: a file is complete or absent.
enum DiskFile {
    struct Facts {
        var size: Int64
        /// Changes each time the file is written.
        var etag: String
        /// Unix milliseconds.
        var changedAt: Int64
    }

    /// Nil when the file does not exist.
    static func facts(_ path: String) -> Facts? {
        var status = stat()
        return stat(path, &status) == 0 ? facts(status) : nil
    }

    private static func facts(_ status: stat) -> Facts {
        let changed = status.st_mtim
        return Facts(
            size: Int64(status.st_size),
            etag: "\(status.st_ino)-\(changed.tv_sec)-\(changed.tv_nsec)-\(status.st_size)",
            changedAt: Int64(changed.tv_sec) * 1000 + Int64(changed.tv_nsec) / 1_000_000)
    }

    /// - Throws: `isMissing` when the file does not exist.
    static func open(_ path: String) throws(StoreError) -> (part: FilePart, etag: String) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open a file") }
        var status = stat()
        fstat(descriptor, &status)
        let facts = facts(status)
        let part = FilePart(
            descriptor: descriptor, offset: 0, length: facts.size, owner: OwnedDescriptor(descriptor))
        return (part, facts.etag)
    }

    /// Reads a file that only this user can have written. Nil: it is not one, still has this `etag`, or is longer.
    static func own(_ path: String, unless etag: String?, limit: Int) -> (facts: Facts, text: [UInt8])? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(),
            status.st_mode & 0o022 == 0, status.st_size <= limit
        else { return nil }
        let facts = facts(status)
        guard facts.etag != etag else { return nil }
        var text = [UInt8](repeating: 0, count: Int(facts.size))
        return pread(descriptor, &text, text.count, 0) == text.count ? (facts, text) : nil
    }

    static func write(_ bytes: [UInt8], to path: String) throws(StoreError) {
        try replace(path) { descriptor throws(StoreError) in
            guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else { throw failure("write a file") }
        }
    }

    /// Writes the parts one after another.
    static func write(from parts: [FilePart], to path: String) throws(StoreError) {
        try replace(path) { descriptor throws(StoreError) in
            for part in parts {
                try copy(part) { Glibc.write(descriptor, $0.baseAddress, $0.count) == $0.count }
            }
        }
    }

    /// - Parameter take: returns false when it cannot take the bytes.
    static func copy(_ part: FilePart, _ take: (UnsafeRawBufferPointer) -> Bool) throws(StoreError) {
        var buffer = [UInt8](repeating: 0, count: 262_144)
        var done: Int64 = 0
        while done < part.length {
            let wanted = Int(min(Int64(buffer.count), part.length - done))
            let count = pread(part.descriptor, &buffer, wanted, off_t(part.offset + done))
            guard count > 0 else { throw failure("read a file") }
            guard buffer[..<count].withUnsafeBytes(take) else { throw failure("write a file") }
            done += Int64(count)
        }
    }

    /// Creates the folders of a key, never those of an upload: a part of an aborted upload must not bring its folder
    /// back.
    private static func replace(
        _ path: String, _ fill: (Int32) throws(StoreError) -> Void
    ) throws(StoreError) {
        let folder = String(path[..<path.lastIndex(of: "/")!])
        if !folder.contains("/uploads/") { try makeFolder(folder) }
        var draft = Array("\(folder)/.new-XXXXXX".utf8CString)
        let descriptor = mkstemp(&draft)
        guard descriptor >= 0 else { throw failure("make a file") }
        defer {
            close(descriptor)
            unlink(draft)  // Absent after a successful rename.
        }
        try fill(descriptor)
        // nginx runs as another user and must be able to read it.
        fchmod(descriptor, 0o644)
        guard fdatasync(descriptor) == 0, rename(draft, path) == 0 else { throw failure("store a file") }
        sync(folder)
    }

    /// A rename survives a power cut once its folder is synced.
    private static func sync(_ folder: String) {
        let descriptor = Glibc.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    static func makeFolder(_ path: String) throws(StoreError) {
        guard mkdir(path, 0o755) != 0, errno != EEXIST else { return }
        guard errno == ENOENT, let slash = path.lastIndex(of: "/"), slash > path.startIndex else {
            throw failure("make a folder")
        }
        try makeFolder(String(path[..<slash]))
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("make a folder") }
    }

    static func names(_ path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    static func removeFolder(_ path: String) {
        // Delete `key` first: an upload without it no longer counts as one.
        unlink("\(path)/key")
        for name in names(path) { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    static func failure(_ what: String) -> StoreError {
        StoreError(
            "disk: cannot \(what): \(String(cString: strerror(errno)))", isTransient: errno != ENOENT,
            isMissing: errno == ENOENT)
    }
}

private final class OwnedDescriptor: Sendable {
    private let descriptor: Int32
    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close(descriptor) }
}
