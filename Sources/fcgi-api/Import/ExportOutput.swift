import ChatProcess
import Glibc

/// Writes lines to a descriptor. With a folder it never waits for its reader: what the reader has not taken goes to a file
/// without a name. The database is read meanwhile, whose transaction would hold up migrations.
final class ExportOutput {
    private let descriptor: Int32
    private let folder: String?
    private var buffer: [UInt8] = []
    /// The bytes from `sent` to `kept` wait in it.
    private var file: Int32 = -1
    private var (sent, kept) = (0, 0)
    private let isFile: Bool
    private static let piece = 1 << 18
    /// A pipe that can be written at all takes so many bytes.
    private static let step = Int(PIPE_BUF)

    init(_ descriptor: Int32, folder: String?) {
        self.descriptor = descriptor
        self.folder = folder
        var facts = stat()
        isFile = fstat(descriptor, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG
    }

    deinit { if file >= 0 { close(file) } }

    func line(_ bytes: [UInt8]) throws {
        buffer += bytes
        buffer.append(0x0a)
        if buffer.count >= Self.piece { try flush() }
    }

    /// Everything goes to the reader, however long it takes.
    func finish() throws {
        try drain(waiting: true)
        _ = try write(buffer, waiting: true)
        buffer.removeAll()
    }

    private func flush() throws {
        try drain(waiting: folder == nil)
        let taken = sent == kept ? try write(buffer, waiting: folder == nil) : 0
        if taken < buffer.count { try keep(buffer[taken...]) }
        buffer.removeAll(keepingCapacity: true)
    }

    private func drain(waiting: Bool) throws {
        while sent < kept {
            var piece = [UInt8](repeating: 0, count: min(Self.piece, kept - sent))
            let count = piece.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, off_t(sent)) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failed("read what waits in \(folder ?? "")") }
            piece.removeLast(piece.count - count)
            let taken = try write(piece, waiting: waiting)
            sent += taken
            guard taken == piece.count else { return }
        }
        guard kept > 0 else { return }
        (sent, kept) = (0, 0)
        _ = ftruncate(file, 0)
    }

    /// Returns how many bytes the reader took.
    private func write(_ bytes: [UInt8], waiting: Bool) throws -> Int {
        var done = 0
        while done < bytes.count {
            if !isFile, !waiting {
                var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&state, 1, 0) > 0 else { return done }
            }
            let most = isFile || waiting ? bytes.count : Self.step
            let count = bytes.withUnsafeBytes {
                Glibc.write(descriptor, $0.baseAddress! + done, min(most, bytes.count - done))
            }
            if count > 0 {
                done += count
            } else if errno == EAGAIN {
                // Another program has made it non-blocking.
                guard waiting else { return done }
                var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&state, 1, -1)
            } else if errno != EINTR {
                throw Self.failed("write")
            }
        }
        return done
    }

    private func keep(_ bytes: ArraySlice<UInt8>) throws {
        let folder = folder ?? ""
        if file < 0 {
            var path = Array("\(folder)/export.XXXXXX".utf8CString)
            file = mkstemp(&path)
            guard file >= 0 else { throw Self.failed("make a file in \(folder) (UPLOAD_TEMP_DIR)") }
            unlink(path)
        }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                pwrite(file, $0.baseAddress! + done, $0.count - done, off_t(kept))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failed("keep in \(folder) what is not read yet") }
            done += count
            kept += count
        }
    }

    private static func failed(_ what: String) -> OperatorError {
        OperatorError("cannot \(what): \(String(cString: strerror(errno)))")
    }
}
