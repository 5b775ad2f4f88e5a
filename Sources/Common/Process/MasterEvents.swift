import Glibc
import Logging

/// What can happen to a master. The clock's reading comes beside each event.
enum MasterEvent {
    case start
    case spawned(worker: Int, pid: pid_t)
    case spawnFailed(worker: Int, reason: String)
    case ready(worker: Int)
    case wantsRenewal(worker: Int, reason: String)
    case exited(pid: pid_t, ExitStatus)
    /// Time has passed; observations by scoreboard row.
    case tick([Int: Observation])
    case signal(MasterSignal)
    case scale(pool: String, Scale)
    /// The configuration was read again (after HUP), or the new image starts with its own (after USR2).
    case reload([PoolSpec])
    case reloadRefused(String)
    /// `serve --check` of the binary on disk: nil when it agreed, else why not.
    case binaryChecked(String?)
    case execFailed(String)
}

enum MasterSignal: Equatable { case hangup, terminate, quit, upgrade, more, fewer }

enum Scale: Equatable {
    case by(Int)
    case to(Int)
}

/// What a master has to do, in this order.
enum MasterAction: Equatable {
    /// `replaces`: the ready worker whose sockets the new one takes over.
    /// `salvages`: the dead one whose open files it gets.
    case spawn(Worker, replaces: Int?, salvages: Int? = nil, poolSize: Int)
    case askToStop(worker: Int)
    case kill(worker: Int)
    /// A hanging worker is asked for its stack; it ends by that, if it can.
    case askWhere(worker: Int)
    case tellPoolSize(worker: Int, Int)
    case cancelHandover(worker: Int)
    /// The worker is gone: close its channel, keep its totals.
    case forget(Worker)
    /// Nobody wants the open files of this dead worker.
    case release(worker: Int)
    case readConfiguration
    case checkBinary
    case exec
    /// At a stop: new clients are refused at once instead of waiting in a queue that nobody serves.
    case closeListeners
    case notify(String)
    case log(Logger.Level, String)
    case exit(Int32)
}
