import Logging

/// The position of one worker: the one in service, and its replacement that is starting.
struct Slot {
    var current: Worker?
    var next: Worker?
    /// The files of the worker that died here; they wait for a successor.
    var orphanedFiles: OrphanedFiles?
    /// Consecutive ends of workers that had not served; each doubles the wait before the next try.
    var failures = 0
    var retryAt: Nanoseconds = .min

    static let firstDelay: Nanoseconds = 100_000_000
    static let longestDelay: Nanoseconds = 5_000_000_000
    static let steadyAfter: Nanoseconds = 1_000_000_000

    /// Counts the end of a worker and returns the wait before the next one. A worker that was ready and lived for a
    /// second is replaced at once, however often: clients wait, and one restart a second is acceptable.
    mutating func recordEnd(of worker: Worker, now: Nanoseconds) -> Nanoseconds {
        let served = worker.phase == .ready && now - worker.startedAt >= Slot.steadyAfter
        failures = served ? 0 : failures + 1
        let delay = failures == 0 ? 0 : min(Slot.firstDelay << min(failures - 1, 20), Slot.longestDelay)
        retryAt = now + delay
        return delay
    }

    mutating func forgetFailures() {
        failures = 0
        retryAt = .min
    }

    // MARK: Files of a dead worker

    /// Workers that may crash while adopting a dead worker's descriptors. After that the descriptors are closed, since
    /// they may be the cause.
    static let adoptionAttempts = 3
    /// A successor that died before it was ready may already have taken over the descriptors. Then the worker in
    /// service has none and ends within this time, and the next one adopts those of the successor. After this time they
    /// are closed.
    static let adoptionUncertainFor: Nanoseconds = 3_000_000_000

    /// The adoption is settled: the kept descriptors may be closed.
    mutating func releaseOrphanedFiles(_ turn: inout Turn) {
        if let files = orphanedFiles { turn.add(.release(worker: files.worker)) }
        orphanedFiles = nil
    }

    /// Keeps the dead worker's descriptors for the next one, unless an earlier set has crashed too many workers or is
    /// still kept.
    mutating func keepFiles(of worker: Worker, handover: Bool, _ turn: inout Turn) {
        if let old = orphanedFiles, old.attempts >= Slot.adoptionAttempts {
            turn.log(.error, "the open files of a dead worker are closed: its successors crashed while adopting them")
            releaseOrphanedFiles(&turn)
        }
        if handover, worker.phase == .ready, orphanedFiles == nil {
            orphanedFiles = OrphanedFiles(worker: worker.id, since: turn.now)
        } else {
            turn.add(.release(worker: worker.id))
        }
    }
}

/// A dead worker's descriptors, kept until a successor has adopted them.
struct OrphanedFiles: Equatable {
    let worker: Int
    let since: Nanoseconds
    /// Successors started so far.
    var attempts = 0
}
