import ChatCore

/// The workers of all hosts, as PostgreSQL records them.
final class MemoryWorkers: QueueWorkers {
    var known: [QueueSeat: QueueWorkerReport] = [:]
    var failure: StoreError?
    var reports = 0
    private var ticket: Int64 = 0

    func report(_ own: QueueWorkerReport) throws(StoreError) -> (all: [QueueWorkerReport], ticket: Int64) {
        if let failure { throw failure }
        reports += 1
        known[own.seat] = own
        ticket += 1
        return (Array(known.values), ticket)
    }

    func all() throws(StoreError) -> [QueueWorkerReport] {
        if let failure { throw failure }
        return known.values.sorted { $0.seat < $1.seat }
    }

    func end(_ own: QueueWorkerReport) throws(StoreError) {
        if known[own.seat]?.worker == own.worker { known[own.seat] = nil }
    }
}
