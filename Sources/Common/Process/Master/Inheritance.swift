import CLinux
@preconcurrency import Glibc

/// The state that one image of the master passes to the next at an `execve`: descriptors stay open, and this text
/// describes them. It travels in a memfd whose number is in `CHAT_MASTER_STATE`.
///
/// One fact per line, fields separated by tabs. A newer image must be able to read the text of an older one.
struct Inheritance {
    struct OldPool: Equatable {
        var name: String
        var workers: Int
        var maxWorkers: Int
        var wanted: Int
        /// The addresses of the workers in service and of starting ones. Empty in images from before it existed.
        var listen: [String] = []
    }

    var generation = 1
    var board: Int32 = -1
    var lock: Int32 = -1
    var control: Int32 = -1
    /// `file` is nil for TCP, and in images from before it existed.
    var listeners: [(name: String, descriptor: Int32, inherited: Bool, path: String, file: SocketFile?)] = []
    var pools: [OldPool] = []
    /// By pool. An image from before it existed begins without a drain.
    var drains: [String: Drained] = [:]
    /// `keeper` is -1 when there is none, as in images from before it existed.
    var workers: [(worker: Worker, channel: Int32, keeper: Int32)] = []

    static let variable = "CHAT_MASTER_STATE"
    private static let title = "chat-master 1"

    var text: String {
        var lines = [Inheritance.title, "generation\t\(generation)"]
        lines.append("descriptors\t\(board)\t\(lock)\t\(control)")
        lines += listeners.map {
            "listener\t\($0.descriptor)\t\($0.inherited ? 1 : 0)\t\($0.name)\t\($0.path)"
                + ($0.file.map { "\t\($0.device)\t\($0.inode)" } ?? "")
        }
        lines += pools.map {
            "pool\t\($0.name)\t\($0.workers)\t\($0.maxWorkers)\t\($0.wanted)" + $0.listen.map { "\t\($0)" }.joined()
        }
        lines += drains.sorted { $0.key < $1.key }.map { pool, drained in
            "drain\t\(pool)\t\(drained.since)\t\(drained.moved)\t\(drained.closed)\t\(drained.order)"
        }
        lines += workers.map { entry in
            let worker = entry.worker
            let place = "\(worker.pool)\t\(worker.slot)\t\(worker.generation)\t\(worker.row)"
            let life =
                "\(worker.phase.rawValue)\t\(worker.startedAt)\t\(worker.deadline ?? 0)\t\(entry.channel)\t\(entry.keeper)"
            return "worker\t\(worker.id)\t\(worker.pid)\t\(place)\t\(life)"
        }
        return lines.joined(separator: "\n") + "\n"
    }

    init() {}

    init(parsing text: String) throws {
        let lines = text.split(separator: "\n")
        guard lines.first == Inheritance.title[...] else {
            throw OperatorError(
                "the running program's state has another version: restart instead of upgrading in place")
        }
        for line in lines.dropFirst() {
            try read(line.split(separator: "\t", omittingEmptySubsequences: false))
        }
    }

    private mutating func read(_ fields: [Substring]) throws {
        func number<Number: FixedWidthInteger>(_ index: Int) throws -> Number {
            guard index < fields.count, let value = Number(fields[index]) else {
                throw OperatorError(
                    "the running program's state is damaged at \"\(fields.joined(separator: " "))\"")
            }
            return value
        }
        switch fields[0] {
        case "generation": generation = try number(1)
        case "descriptors": (board, lock, control) = (try number(1), try number(2), try number(3))
        case "listener" where fields.count > 4:
            let path = String(fields[4])
            let file =
                fields.count > 6 ? SocketFile(path: path, device: try number(5), inode: try number(6)) : nil
            listeners.append((String(fields[3]), try number(1), try number(2) == 1, path, file))
        case "pool":
            let name = String(fields[1])
            pools.append(
                OldPool(
                    name: name, workers: try number(2), maxWorkers: try number(3), wanted: try number(4),
                    listen: fields.dropFirst(5).map(String.init)))
        case "drain" where fields.count > 5:
            drains[String(fields[1])] = Drained(
                order: String(fields[5]), since: try number(2), moved: try number(3), closed: try number(4))
        case "worker" where fields.count > 10:
            var worker = Worker(
                id: try number(1), pool: String(fields[3]), slot: try number(4), generation: try number(5),
                row: try number(6), startedAt: try number(8), pid: try number(2))
            worker.phase = Worker.Phase(rawValue: String(fields[7])) ?? .stopping
            let deadline: Nanoseconds = try number(9)
            worker.deadline = deadline == 0 ? nil : deadline
            workers.append((worker, try number(10), fields.count > 11 ? try number(11) : -1))
        default: break
        }
    }

    /// Writes the text for the next image. The memfd stays open over the `execve`.
    func leave() throws -> Descriptor {
        let file = Descriptor(chat_memfd_create("chat-master", 0))
        guard file.number >= 0 else { throw SystemError("keep the state for the new program") }
        let bytes = Array(text.utf8)
        guard pwrite(file.number, bytes, bytes.count, 0) == bytes.count else {
            throw SystemError("keep the state")
        }
        setenv(Inheritance.variable, String(file.number), 1)
        return file
    }

    /// The state from an earlier image of this process; nil at an ordinary start.
    static func find() throws -> Inheritance? {
        guard let number = environment(variable).flatMap({ Int32($0) }) else { return nil }
        unsetenv(variable)
        let file = Descriptor(number)
        var status = stat()
        guard fstat(file.number, &status) == 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        guard pread(file.number, &bytes, bytes.count, 0) == bytes.count else {
            throw SystemError("read the old state")
        }
        return try Inheritance(parsing: String(decoding: bytes, as: UTF8.self))
    }
}
