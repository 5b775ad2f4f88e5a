import CLinux
import ChatCore
import Glibc
import Logging

@testable import ChatProcess

/// A process that a master started, as a test plays it: its end of the channel, and the signals that it got.
final class MemoryProcess {
    let id: pid_t
    let arguments: [String]
    /// The words of `CHAT_WORKER`; empty for a check of the binary.
    let place: [String: String]
    /// Its numbers of descriptors.
    let descriptors: [Int32]
    var signals: [Int32] = []
    fileprivate(set) var hasEnded = false
    private var channel: DescriptorSocket?
    private var output: Descriptor?

    fileprivate init(_ spawn: Spawn, id: pid_t) {
        self.id = id
        arguments = spawn.arguments
        descriptors = spawn.descriptors.map(\.target)
        place = Self.words(spawn.environment.first { $0.hasPrefix("CHAT_WORKER=") }?.dropFirst(12) ?? "")
        func copy(_ target: Int32) -> Descriptor? {
            spawn.descriptors.first { $0.target == target }
                .map { Descriptor(chat_fcntl_set($0.source, F_DUPFD_CLOEXEC, 64)) }
        }
        if isWorker {
            channel = copy(WorkerChannel.channelNumber).map { DescriptorSocket(descriptor: $0) }
            channel?.descriptor.setNonBlocking()
        } else {
            output = copy(STDOUT_FILENO)
        }
    }

    private static func words(_ text: Substring) -> [String: String] {
        let pairs = text.split(separator: " ").map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
        return Dictionary(pairs.map { ($0[0], $0.count > 1 ? $0[1] : "") }) { $1 }
    }

    var isWorker: Bool { !place.isEmpty }

    func say(_ text: String) { channel?.send(text) }

    /// To the standard output.
    func print(_ text: String) { _ = write(output!.number, text, text.utf8.count) }

    /// The words of its master since the last call.
    func heard() -> [String] {
        var result: [String] = []
        while case .message(let text, _)? = channel?.receive() { result.append(text) }
        return result
    }

    /// Nobody reads what its master says.
    func closeChannel() { channel = nil }

    fileprivate func end() {
        hasEnded = true
        channel = nil
        output = nil
    }
}

/// A system in memory: processes do what a test plays, and the clock goes on only while the master waits for nothing.
final class MemoryKernel: Kernel {
    var now: Nanoseconds = 1_000_000_000_000
    var standsStill = false
    private(set) var processes: [MemoryProcess] = []
    var startError: SystemError?
    /// Called for each new process.
    var onStart: (MemoryProcess) -> Void = { _ in }
    /// Called in each wait.
    var onWait: () -> Void = {}
    /// In place of the next program.
    var onExecute: () -> Void = {}
    private var pending: [MasterSignal] = []
    private var ends: [(process: pid_t, status: ExitStatus)] = []
    private var waits = 0
    /// A master that turns for ever ends its test.
    private static let maxWaits = 20_000
    private let noSignals = Descriptor(eventfd(0, Int32(EFD_CLOEXEC)))

    func send(_ signal: MasterSignal) { pending.append(signal) }

    func end(_ process: MemoryProcess, _ status: ExitStatus = .exited(0)) {
        guard !process.hasEnded else { return }
        process.end()
        ends.append((process.id, status))
    }

    var living: [MemoryProcess] { processes.filter { !$0.hasEnded } }

    // MARK: As the master sees it

    func watchSignals() throws -> Int32 { noSignals.number }

    func signals() -> [MasterSignal] {
        defer { pending = [] }
        return pending
    }

    func wait(_ polls: inout [pollfd], milliseconds: Int32) {
        waits += 1
        precondition(waits < Self.maxWaits, "the master turns for ever")
        onWait()
        let some = poll(&polls, nfds_t(polls.count), 0)
        if !standsStill, some == 0, pending.isEmpty, ends.isEmpty { now += Nanoseconds(milliseconds) * 1_000_000 }
    }

    func start(_ spawn: Spawn) throws -> pid_t {
        if let startError { throw startError }
        let process = MemoryProcess(spawn, id: pid_t(1_000_000 + processes.count))
        processes.append(process)
        onStart(process)
        return process.id
    }

    func send(_ signal: Int32, to id: pid_t) {
        guard let process = living.first(where: { $0.id == id }) else { return }
        process.signals.append(signal)
        if signal == SIGKILL { end(process, .killed(SIGKILL)) }
    }

    func ended() -> (process: pid_t, status: ExitStatus)? { ends.isEmpty ? nil : ends.removeFirst() }
    func isStopped(_ process: pid_t) -> Bool { false }
    func mainThreadTime(_ process: pid_t) -> Nanoseconds { 0 }

    func execute(_ path: String, _ arguments: [String]) -> SystemError {
        onExecute()
        return SystemError("run \(path)", code: ENOENT)
    }
}

/// A whole master with its files and sockets in a folder of its own, over a system in memory.
final class MasterScene {
    let kernel = MemoryKernel()
    let path: String
    private(set) var master: Master!
    /// The configuration that a reload reads.
    var specs: [PoolSpec]
    /// In place of it.
    var refusal: OperatorError?

    /// - Parameter listens: the last pool has a socket.
    init(_ pools: PoolSpec..., listens: Bool = false) {
        var template = Array("/tmp/chat-master-XXXXXX".utf8CString)
        mkdtemp(&template)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        specs = pools
        if listens { specs[specs.count - 1].listen = [Self.unix(path + "/socket")] }
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        master = Master(
            program: "p", runFolder: path, pools: specs, counters: ["things_total"], kernel: kernel, log: log
        ) { [unowned self] in
            if let refusal { throw refusal }
            return specs
        }
    }

    /// All workers are ready.
    func serving() throws -> MasterScene {
        try master.begin()
        allReady()
        return self
    }

    static func unix(_ path: String) -> ListenAddress { .unix(path: path, mode: 0o600, group: nil) }

    func turns(_ count: Int) { for _ in 0..<count where master.exitCode == nil { master.turn() } }

    /// Everything that has happened is handled, at this very time.
    func settle() {
        kernel.standsStill = true
        turns(5)
        kernel.standsStill = false
    }

    func pass(_ time: Duration) {
        let end = kernel.now + time.nanoseconds
        while kernel.now < end, master.exitCode == nil { master.turn() }
    }

    func send(_ signal: MasterSignal) {
        kernel.send(signal)
        settle()
    }

    func end(_ process: MemoryProcess, _ status: ExitStatus = .exited(0)) {
        kernel.end(process, status)
        settle()
    }

    /// Every process that lives says so.
    func allReady() {
        kernel.living.filter(\.isWorker).forEach { $0.say("ready") }
        settle()
    }

    func row(of process: MemoryProcess) -> ScoreboardRow { master.board.row(Int(process.place["board"] ?? "")!) }

    /// As a worker does when it starts.
    func takeRow(_ process: MemoryProcess) -> ScoreboardRow {
        let row = row(of: process)
        row[.pid] = Int(process.id)
        row.heartbeat(at: kernel.now)
        return row
    }

    var processes: [MemoryProcess] { kernel.processes }
    var socket: String { path + "/socket" }
    var hasSocket: Bool { access(socket, F_OK) == 0 }
}
