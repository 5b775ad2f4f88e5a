import Glibc
import Logging

/// The events of a master. The time is passed beside each event.
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
    /// A client waits for a pool without workers.
    case demand(pool: String)
    case reloadRefused(String)
    /// `serve --check` of the binary on disk: nil when it accepted the configuration, else its error.
    case binaryChecked(String?)
    case execFailed(String)
}

enum MasterSignal: Equatable { case hangup, terminate, quit, upgrade, more, fewer }

enum Scale: Equatable {
    case by(Int)
    case to(Int)
}

/// The actions of a master, in this order.
enum MasterAction: Equatable {
    /// `replaces`: the ready worker whose sockets the new one takes over.
    /// `adopts`: the dead worker whose descriptors it receives.
    case spawn(Worker, replaces: Int?, adopts: Int? = nil, poolSize: Int)
    case askToStop(worker: Int)
    /// The same, but the worker first answers the clients that are already connected, since no other worker can.
    case askToDrain(worker: Int)
    case kill(worker: Int)
    /// Asks a hanging worker for its stack; that ends the worker, if it still reacts.
    case askWhere(worker: Int)
    /// Asks a worker for its stack, which goes to the slow log; the worker continues.
    case askStack(worker: Int)
    case tellPoolSize(worker: Int, Int)
    case cancelHandover(worker: Int)
    /// The worker is gone: close its channel, keep its totals.
    case forget(Worker)
    /// Nobody needs the descriptors of this dead worker.
    case release(worker: Int)
    case readConfiguration
    case checkBinary
    case exec
    /// Close and remove the sockets on which no pool listens, before their last worker looks for its last clients.
    case dropListeners
    /// During a stop new clients are refused at once, instead of waiting in a queue without a server.
    case closeListeners
    case notify(String)
    case log(Logger.Level, String)
    case exit(Int32)
}
