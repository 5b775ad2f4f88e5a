/// The workers of all hosts that consume command queues, as they see each other.
public protocol QueueWorkers: AnyObject {
    /// Records what this worker does, for ten seconds.
    ///
    /// - Returns: all living workers, and a ticket that is larger than every earlier one.
    func report(_ own: QueueWorkerReport) throws(StoreError) -> (all: [QueueWorkerReport], ticket: Int64)
    /// All living workers.
    func all() throws(StoreError) -> [QueueWorkerReport]
    /// Records the end of this worker: others take its queues, unless a successor already has its place.
    func end(_ own: QueueWorkerReport) throws(StoreError)
}

/// A worker's place among all hosts; a successor in the same slot has the same one.
public struct QueueSeat: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var host: String
    public var slot: Int

    public init(host: String, slot: Int) {
        self.host = host
        self.slot = slot
    }

    /// Orders by slot first and then by host, so that hosts get equally many queues even if there are fewer queues than
    /// workers.
    public static func < (one: QueueSeat, other: QueueSeat) -> Bool {
        one.slot != other.slot
            ? one.slot < other.slot : one.host.utf8.lexicographicallyPrecedes(other.host.utf8)
    }

    public var description: String { "\(host)/\(slot)" }
}

public struct QueueWorkerReport: Sendable, Equatable {
    public var seat: QueueSeat
    /// The process.
    public var worker: UUID128
    public var generation: Int
    /// Its own queues, with the tickets that it drew after it had joined their lines.
    public var lines: [Int: Int64]
    /// The queues of which it is the active consumer, as far as it knows.
    public var working: Set<Int>
    /// The queues that its settings ask for.
    public var setting: String
    /// The prefix of its queues' names.
    public var prefix: String

    public init(
        seat: QueueSeat, worker: UUID128, generation: Int, lines: [Int: Int64] = [:], working: Set<Int> = [],
        setting: String = "", prefix: String = ""
    ) {
        self.seat = seat
        self.worker = worker
        self.generation = generation
        self.lines = lines
        self.working = working
        self.setting = setting
        self.prefix = prefix
    }
}
