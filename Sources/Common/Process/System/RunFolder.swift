import CLinux
import Glibc

/// RUN_DIR: a program's lock, scoreboard and control socket. Each folder has one master of a program.
public struct RunFolder: Sendable {
    public let path: String
    public let program: String

    public init(_ path: String, program: String) {
        self.path = path
        self.program = program
    }

    public var scoreboard: String { "\(path)/\(program).scoreboard" }
    public var control: String { "\(path)/\(program).control" }
    var lockFile: String { "\(path)/\(program).pid" }

    /// The socket of this worker's file keeper, for another master once this one is dead.
    func keeperSocket(of worker: Worker) -> String {
        "\(keeperSocketStart)\(worker.pool).\(worker.slot).\(getpid()).\(worker.id)"
    }

    /// All such sockets, newest first.
    func keeperSockets() -> [(path: String, pool: String, slot: Int)] {
        var found = glob_t()
        defer { globfree(&found) }
        guard glob("\(keeperSocketStart)*", GLOB_NOSORT, nil, &found) == 0 else { return [] }
        let paths = (0..<Int(found.gl_pathc)).map { String(cString: found.gl_pathv[$0]!) }
        return paths.sorted { Self.made($0) > Self.made($1) }.compactMap { path in
            let parts = path.dropFirst(keeperSocketStart.count).split(separator: ".")
            return parts.count == 4 ? Int(parts[1]).map { (path, String(parts[0]), $0) } : nil
        }
    }

    /// A sentence when the folder's path is too long for a socket that a master of these pools makes in it.
    public func problem(with pools: [PoolSpec]) -> String? {
        // The greatest numbers of a slot, a process and a worker.
        let kept = pools.filter(\.handover).map { "\(keeperSocketStart)\($0.name).999.4194304.9999999999" }
        let excess = (kept + [control]).map(\.utf8.count).max().map { $0 - ListenAddress.longestPath } ?? 0
        guard excess > 0 else { return nil }
        let length = path.utf8.count
        return
            "RUN_DIR=\(path) has \(length) bytes, at most \(length - excess) work for \(program): its sockets' paths are "
            + "longer, and may have \(ListenAddress.longestPath)"
    }

    private var keeperSocketStart: String { "\(path)/\(program).kept." }

    private static func made(_ path: String) -> Int64 {
        var status = stat()
        lstat(path, &status)
        return Int64(status.st_mtim.tv_sec) << 30 | Int64(status.st_mtim.tv_nsec)
    }

    /// Holds the lock while the descriptor is open, also over an `execve`. The file contains the holder's PID.
    func lock() throws -> Descriptor {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            throw SystemError("make the folder \(path)")
        }
        let number = open(lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        let file = try Descriptor(high: number, "open \(lockFile)")
        guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
            let holder = readPid(file.number).map { " (process \($0))" } ?? ""
            throw OperatorError(
                "\(program) already runs in \(path)\(holder): stop it, or set another RUN_DIR")
        }
        let text = "\(getpid())\n"
        ftruncate(file.number, 0)
        pwrite(file.number, text, text.utf8.count, 0)
        return file
    }

    private func readPid(_ file: Int32) -> Int? {
        var bytes = [UInt8](repeating: 0, count: 32)
        let got = pread(file, &bytes, bytes.count, 0)
        return Int(
            String(decoding: bytes.prefix(max(0, got)).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        )
    }
}
