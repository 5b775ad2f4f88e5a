import CLinux
import Glibc
import Logging

/// Owns the listening sockets and never handles a request: it spawns, watches and replaces workers. The three programs
/// use it like this.
///
/// `serve`, on the main thread (workers die with the *thread* that spawned them):
///
///     let master = Master(
///         program: "queue-worker", runFolder: settings.runDir, pools: pools(of: settings),
///         workerArguments: ["worker", "-c", file], checkArguments: ["serve", "--check", "-c", file],
///         counters: ["commands_total", "queue_depth"], // names ending in _total are sums, others current values
///         reload: { try pools(of: Settings(reading: file)) })   // throws: the running configuration stays
///     exit(master.run())
///
/// `worker`, which the master starts with the same binary:
///
///     let channel = try WorkerChannel.fromEnvironment()         // first thing; pool, slot, poolSize, listeners
///     …open everything…
///     channel.ready()
///     loop { poll [channel.fileDescriptor, …]
///            while let message = channel.next() { .quit: finish the current work and return }
///            channel.scoreboard.beginRequest("GET", path) … .endRequest(status: 200, bytes: 512)
///            channel.scoreboard.add(to: 0)                      // counter by its position in `counters`
///            channel.scoreboard.heartbeat() }                   // about once a second
///
/// Other commands: `try askMaster("status", in: RunFolder(runDir, program: name))` (also `scale POOL +1`, `reload`,
/// `stop`), `Scoreboard.open(at: folder.scoreboard)` for /metrics, `LineLog.start(program:level:)` for the log.
public final class Master {
    let program: String
    let folder: RunFolder
    let path = programPath()
    let workerArguments: [String]
    let checkArguments: [String]
    let counterNames: [String]
    let histogramNames: [String]
    let readSpecs: () throws -> [PoolSpec]
    let kernel: any Kernel
    let log: Logger

    var specs: [PoolSpec]
    var state: MasterState
    /// A worker's channel, by the worker's id.
    var channels: [Int: DescriptorSocket] = [:]
    /// Channels to the workers' file keepers, by the worker's id; closing one closes the kept descriptors.
    var fileKeepers: [Int: DescriptorSocket] = [:]
    /// The path at which another master finds each file keeper, by the worker's id.
    var keeperSockets: [Int: String] = [:]
    /// Pools whose sockets the operator wants elsewhere.
    var drains: [String: Drained] = [:]
    var listeners: [Listener] = []
    var check: BinaryCheck?
    var exitCode: Int32?
    // Opened by `run`.
    private var signals: Int32 = -1
    var lock: Descriptor!
    var board: Scoreboard!
    var control: ControlSocket!
    var givenNames: Set<String> = []
    private var lastTick: Nanoseconds = 0
    /// For each silent worker: the time since when, and the CPU time of its main thread at that time.
    private var silent: [Int: (since: Nanoseconds, burnt: Nanoseconds)] = [:]

    public convenience init(
        program: String, runFolder: String, pools: [PoolSpec], workerArguments: [String] = ["worker"],
        checkArguments: [String] = ["serve", "--check"], counters: [String] = [], histograms: [String] = [],
        reload: @escaping () throws -> [PoolSpec]
    ) {
        self.init(
            program: program, runFolder: runFolder, pools: pools, workerArguments: workerArguments,
            checkArguments: checkArguments, counters: counters, histograms: histograms, kernel: LinuxKernel(),
            log: Logger(label: program), reload: reload)
    }

    init(
        program: String, runFolder: String, pools: [PoolSpec], workerArguments: [String] = ["worker"],
        checkArguments: [String] = ["serve", "--check"], counters: [String] = [], histograms: [String] = [],
        kernel: any Kernel, log: Logger, reload: @escaping () throws -> [PoolSpec]
    ) {
        self.program = program
        self.folder = RunFolder(runFolder, program: program)
        self.specs = pools
        self.workerArguments = workerArguments
        self.checkArguments = checkArguments
        self.counterNames = counters
        self.histogramNames = histograms
        self.readSpecs = reload
        self.kernel = kernel
        self.log = log
        self.state = MasterState(pools: pools, rows: Scoreboard.workerRows)
    }

    /// Serves until it is told to stop. Returns the exit status; 1: it could not start, and the log says why.
    public func run() -> Int32 {
        do { try begin() } catch {
            log.critical("\(error)")
            return 1
        }
        while exitCode == nil { turn() }
        control.remove()
        return exitCode ?? 0
    }

    func begin() throws {
        signals = try kernel.watchSignals()
        try open()
    }

    /// One round: waits for an event, at most a second, and handles everything that has happened.
    func turn() {
        wait()
        kernel.signals().forEach { handle(.signal($0)) }
        reap()
        readChannels()
        check?.enforceLimit()
        control.serve(now: kernel.now, answer: answer)
        tick()
    }

    /// Passes an event to the rules and performs their actions. An action may cause the next event.
    func handle(_ event: MasterEvent) {
        for action in state.handle(event, at: kernel.now) { perform(action) }
    }

    /// Waits for a signal, a worker, a control client or the next deadline; at most one second.
    private func wait() {
        let quiet = quietListeners
        let readable =
            [signals] + control.descriptors + channels.values.map(\.descriptor.number)
            + quiet.map(\.descriptor)
        var polls = readable.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let now = kernel.now
        // A deadline may lie far in the past: clamp it before subtracting.
        kernel.wait(&polls, milliseconds: Int32((max(nextTick(), now) - now) / 1_000_000 + 1))
        for (place, (pool, _)) in quiet.enumerated()
        where polls[polls.count - quiet.count + place].revents & Int16(POLLIN) != 0 {
            handle(.demand(pool: pool))
        }
    }

    private func nextTick() -> Nanoseconds {
        let isWatched = specs.contains { $0.isDynamic || $0.slowAfter.map { $0 < .seconds(5) } == true }
        let pace: Nanoseconds = isWatched && !state.stopping ? 50_000_000 : 1_000_000_000
        return min(lastTick + pace, state.nextDue ?? .max)
    }

    private func tick() {
        let now = kernel.now
        guard now >= nextTick() else { return }
        lastTick = now
        handle(.tick(observations(now: now)))
    }

    private func reap() {
        while let (pid, status) = kernel.ended() {
            if let ended = check, ended.pid == pid {
                check = nil
                handle(.binaryChecked(ended.problem(status)))
            } else {
                handle(.exited(pid: pid, status))
            }
        }
    }

    private func readChannels() {
        for (id, channel) in channels {
            while case .message(let text, let descriptor) = channel.receive() {
                if let descriptor { close(descriptor) }
                if text == "ready" { handle(.ready(worker: id)) }
                if text.hasPrefix("renew") {
                    handle(.wantsRenewal(worker: id, reason: String(text.dropFirst(6))))
                }
            }
        }
    }

    /// The observations from the workers' rows; a row that its worker has not taken yet gives none.
    private func observations(now: Nanoseconds) -> [Int: Observation] {
        var result: [Int: Observation] = [:]
        for worker in state.workers {
            let row = board.row(worker.row)
            guard row[.pid] == worker.pid else { continue }
            let since = Nanoseconds(row[.requestStartedAt])
            let silence = silence(of: worker, row, now)
            result[worker.row] = Observation(
                busySince: since == 0 ? nil : since, frozenSince: frozenSince(worker, row, now),
                silentSince: since == 0 ? silence?.since : nil, burnt: silence?.burnt ?? 0,
                residentBytes: row[.residentBytes],
                request: since != 0 && now - since > 1_000_000_000 ? row.request : "")
        }
        return result
    }

    /// Nil for a live worker. The CPU time of its main thread counts from the first time it was found silent.
    private func silence(
        of worker: Worker, _ row: ScoreboardRow, _ now: Nanoseconds
    ) -> (since: Nanoseconds, burnt: Nanoseconds)? {
        let lastLife = Nanoseconds(row[.heartbeatAt])
        guard now - lastLife > 2_000_000_000 else {
            silent[worker.id] = nil
            return nil
        }
        let burnt = kernel.mainThreadTime(worker.pid)
        if silent[worker.id]?.since != lastLife { silent[worker.id] = (lastLife, burnt) }
        return (lastLife, burnt - (silent[worker.id]?.burnt ?? burnt))
    }

    private func frozenSince(_ worker: Worker, _ row: ScoreboardRow, _ now: Nanoseconds) -> Nanoseconds? {
        let lastLife = Nanoseconds(row[.heartbeatAt])
        return now - lastLife > 2_000_000_000 && kernel.isStopped(worker.pid) ? lastLife : nil
    }
}
