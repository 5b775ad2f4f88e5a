import CLinux
@preconcurrency import Glibc

/// A message from a master to its worker.
public enum WorkerMessage: Equatable, Sendable {
    /// Accept nothing new, finish the current work, end. Also sent when the master has died, and on SIGTERM.
    case quit
    /// A replacement is starting: this descriptor is one end of a SOCK_SEQPACKET pair to it. The receiver closes it.
    case handover(Int32)
    /// The replacement died before it was ready: continue. Its end of the pair is closed as well.
    case handoverCancelled
    /// The pool has this many workers from now on.
    case poolSize(Int)
    /// In a pool with `handover`: the master is dead. Keep serving: a worker of another master takes over through this
    /// end of a SOCK_SEQPACKET pair. End after the take-over, or when none happens within `takeoverSeconds`.
    case orphaned(Int32)
    /// In a pool with `handover`: the operator drains this machine; the text says how (`Master.drains`). Sent again when that
    /// changes, and to every worker that starts meanwhile.
    case drain(String)
    /// The drain is stopped.
    case drainStopped
}

/// The worker's connection to its master. See `Master` for its use.
public final class WorkerChannel {
    public let program: String
    public let pool: String
    /// 0 ..< poolSize; no two ready workers of a generation share a slot.
    public let slot: Int
    public let generation: Int
    /// The pool's size at the start; `WorkerMessage.poolSize` reports changes.
    public let poolSize: Int
    /// Listening sockets in the order of `PoolSpec.listen`, non-blocking: another worker may win the accept.
    public let listeners: [Int32]
    /// In a pool with `handover`: the socket to the worker that this one replaces; nil when there is none.
    public let handover: Int32?
    /// In a pool with `handover`: the socket to the file keeper of a worker that died here; nil when there is none, or
    /// when it has ended. See `KeptFiles`.
    public let orphanedFiles: Int32?
    /// In a pool with `handover`: a file that outlives this process like its other descriptors, with the state for its
    /// successor; nil where descriptors are not kept.
    public let stateFile: Int32?
    public let scoreboard: ScoreboardRow
    /// Readable when `next()` has a message.
    public var fileDescriptor: Int32 { channel.descriptor.number }

    /// Also the process's name.
    public var label: String { "\(pool)/\(slot)" }

    private let channel: DescriptorSocket
    /// All rows, for /metrics; this worker writes only its own.
    public let board: Scoreboard
    private var toldToQuit = false
    /// With `quit`: no other worker answers the clients that are already connected to the pool's sockets.
    public private(set) var isLast = false
    /// See `WorkerMessage.orphaned`.
    private let line: Int32?
    private var isOrphan = false

    static let channelNumber: Int32 = 3
    static let boardNumber: Int32 = 4
    static let firstListener: Int32 = 5

    /// The kernel ends a worker without a master after this time, in case it is stuck.
    static let orphanSeconds: UInt32 = 30
    /// Seconds that another master has to start.
    public static let takeoverSeconds: Int64 = 15

    /// Reads the master's parameters from `CHAT_WORKER` and ties this process to the master. Call it first, on the main
    /// thread, before any library installs signal handlers.
    public static func fromEnvironment() throws -> WorkerChannel {
        guard let text = environment("CHAT_WORKER") else {
            throw OperatorError("\"worker\" is started by \"serve\" and not by hand")
        }
        unsetenv("CHAT_WORKER")
        CrashReport.installForHang()
        let facts = Dictionary(
            text.split(separator: " ").compactMap { entry -> (String, String)? in
                let parts = entry.split(separator: "=", maxSplits: 1)
                return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
            }, uniquingKeysWith: { first, _ in first })
        return try WorkerChannel(facts)
    }

    private init(_ facts: [String: String]) throws {
        func number(_ key: String) -> Int { facts[key].flatMap { Int($0) } ?? 0 }
        program = facts["program"] ?? "worker"
        pool = facts["pool"] ?? ""
        slot = number("slot")
        generation = number("generation")
        poolSize = number("of")
        listeners = (0..<Int32(number("listen"))).map { WorkerChannel.firstListener + $0 }
        let firstEnd = WorkerChannel.firstListener + Int32(listeners.count)
        let ends = (facts["ends"] ?? "").split(separator: ",").map(String.init)
        func end(_ name: String) -> Int32? { ends.firstIndex(of: name).map { firstEnd + Int32($0) } }
        (handover, orphanedFiles) = (end("handover"), end("wreck"))
        for descriptor in WorkerChannel.channelNumber..<firstEnd + Int32(ends.count) {
            _ = chat_fcntl_set(descriptor, F_SETFD, FD_CLOEXEC)
        }
        (stateFile, line) =
            end("keeper").flatMap { WorkerChannel.startKeeper($0, door: end("door") ?? -1) } ?? (nil, nil)
        channel = DescriptorSocket(descriptor: Descriptor(WorkerChannel.channelNumber))
        channel.descriptor.setNonBlocking()
        board = try Scoreboard(mapping: Descriptor(WorkerChannel.boardNumber), writable: true)
        scoreboard = board.row(number("board"))
        scoreboard[.pid] = Int(getpid())
        _ = chat_prctl_name(label)
        try followMaster(pid_t(number("master")))
    }

    /// Starts the file keeper: from here on this process's descriptors outlive it, until the master releases
    /// them. Call it before anything else, because the holder is a copy of this process.
    private static func startKeeper(_ channel: Int32, door: Int32) -> (stateFile: Int32?, line: Int32?)? {
        let file = chat_memfd_create("chat-keepsake", 0)
        var line: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard file >= 0, socketpair(AF_UNIX, type, 0, &line) == 0, chat_start_keeper(channel, door, file, line[1]) > 0
        else { return nil }
        return (file, line[0])
    }

    /// SIGTERM instead of SIGKILL when the master dies, so that the current request is still answered. The closed
    /// channel tells a worker that polls; the signal reaches one that is inside a library call.
    private func followMaster(_ master: pid_t) throws {
        quitDescriptor = channel.descriptor.number
        masterPid = master
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in
            wasTerminated = 1
            shutdown(quitDescriptor, Int32(SHUT_RD))
            if getppid() != masterPid { alarm(WorkerChannel.orphanSeconds) }
        }
        action.sa_flags = SA_RESTART
        sigaction(SIGTERM, &action, nil)
        // A terminal sends these to the whole process group; only the master handles them.
        for number in [SIGHUP, SIGINT, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGPIPE] {
            signal(number, SIG_IGN)
        }
        // Another master may take over this worker, so it must not end: it keeps serving for a while.
        if line != nil {
            signal(SIGUSR2) { _ in
                if getppid() != masterPid { alarm(WorkerChannel.orphanSeconds + UInt32(WorkerChannel.takeoverSeconds)) }
            }
        }
        _ = chat_prctl_pdeathsig(line == nil ? SIGTERM : SIGUSR2)
        // The master may have died before the line above.
        guard getppid() == master else { throw OperatorError("the master is gone") }
    }

    /// Ties this process to the master again: the kernel drops the tie when a process changes its user.
    public func followAgain() throws {
        _ = chat_prctl_pdeathsig(line == nil ? SIGTERM : SIGUSR2)
        guard getppid() == masterPid else { throw OperatorError("the master is gone") }
    }

    /// Reports that this worker accepts work; the master then asks the replaced worker to stop.
    public func ready() {
        scoreboard.state = .idle
        scoreboard.heartbeat()
        channel.send("ready")
    }

    /// Asks for a replacement (after a number of requests, for example): it starts first, then `quit` arrives.
    public func renew(_ reason: String) { channel.send("renew \(reason)") }

    /// Returns the next message without waiting; nil when there is none. After `quit` it always returns `quit`.
    public func next() -> WorkerMessage? {
        if toldToQuit { return .quit }
        if isOrphan { return wasTerminated != 0 ? quit() : nil }
        while true {
            switch channel.receive() {
            case .nothing: return nil
            case .closed: return line == nil || wasTerminated != 0 ? quit() : orphaned()
            case .message(let text, let descriptor):
                if let message = parse(text, descriptor) { return message }
            }
        }
    }

    /// For a worker that only needs to know whether to continue.
    public var mustQuit: Bool {
        while let message = next() {
            if message == .quit { return true }
            if case .handover(let descriptor) = message { close(descriptor) }
        }
        return isOrphan
    }

    private func quit() -> WorkerMessage {
        toldToQuit = true
        scoreboard.state = .stopping
        if getppid() != masterPid { alarm(WorkerChannel.orphanSeconds) }
        return .quit
    }

    private func orphaned() -> WorkerMessage {
        isOrphan = true
        return .orphaned(line!)
    }

    private func parse(_ text: String, _ descriptor: Int32?) -> WorkerMessage? {
        if text == "handover", let descriptor { return .handover(descriptor) }
        if let descriptor { close(descriptor) }
        if text == "quit" { return quit() }
        if text == "drain" {
            isLast = true
            return quit()
        }
        if text == "handover-cancelled" { return .handoverCancelled }
        // The word "drain" is taken: see `isLast`.
        if text.hasPrefix("move-away ") { return .drain(String(text.dropFirst(10))) }
        if text == "stay" { return .drainStopped }
        if text.hasPrefix("pool "), let size = Int(text.dropFirst(5)) { return .poolSize(size) }
        // An unknown word from a newer master.
        return nil
    }
}

// A signal handler can reach only globals; the last two are set once, before the handler is installed.
nonisolated(unsafe) private var wasTerminated: sig_atomic_t = 0
nonisolated(unsafe) private var quitDescriptor: Int32 = -1
nonisolated(unsafe) private var masterPid: pid_t = 0
