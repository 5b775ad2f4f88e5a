import ChatCore

/// The commands in progress, each room's in the order of their arrival. Rooms take turns: even when one room has
/// thousands of commands, another room's newest command is in the very next batch.
///
/// Fairness covers only what the worker can see, which is the prefetch of each queue. Later commands wait in the broker
/// in the order of their arrival.
struct Backlog {
    /// Bytes after which no further command joins a batch: other rooms wait while it is stored. Each waiting room gets
    /// at least one command.
    static let batchBytes = 512 << 10

    private struct Delivery {
        let tag: UInt64
        let queue: String
        let bytes: Int
        /// Commands that are not executed yet.
        var left: Int
        /// Bytes of one command, on average.
        let weight: Int
    }

    /// In the channel's order; the first delivery has the number `firstNumber`.
    private var deliveries: ArraySlice<Delivery> = []
    private var firstNumber = 0
    private var rooms: [UUID128: ArraySlice<(command: Command, delivery: Int)>] = [:]
    /// The waiting rooms, the next one first.
    private var turns: [UUID128] = []
    /// The deliveries of the last batch, one number for each command.
    private var inHand: [Int] = []
    /// Bytes of the unfinished bodies.
    private(set) var bytes = 0

    /// Commands that are in no batch yet.
    private(set) var waiting = 0

    /// Nothing is left to execute or to acknowledge.
    var isEmpty: Bool { deliveries.isEmpty }

    /// A message without commands is finished together with those before it.
    mutating func append(_ commands: [Command], tag: UInt64, bytes: Int, queue: String = "") {
        let number = firstNumber + deliveries.count
        let weight = bytes / max(1, commands.count)
        deliveries.append(Delivery(tag: tag, queue: queue, bytes: bytes, left: commands.count, weight: weight))
        self.bytes += bytes
        waiting += commands.count
        for command in commands {
            if rooms[command.room] == nil { turns.append(command.room) }
            rooms[command.room, default: []].append((command, number))
        }
    }

    /// Drops the deliveries of this queue. Call it between two batches.
    ///
    /// - Returns: as ``finish()``.
    mutating func drop(_ queue: String) -> UInt64? {
        for place in deliveries.indices where deliveries[place].queue == queue { deliveries[place].left = 0 }
        for room in turns {
            rooms[room]!.removeAll { entry in
                deliveries[deliveries.startIndex + entry.delivery - firstNumber].queue == queue
            }
            if rooms[room]!.isEmpty { rooms[room] = nil }
        }
        turns.removeAll { rooms[$0] == nil }
        waiting = rooms.values.reduce(0) { $0 + $1.count }
        return finish()
    }

    /// The next batch, by round-robin: an equal share of its commands and of `batchBytes` for each waiting room; unused
    /// shares go to the others. Rooms without a place come first in the next batch.
    mutating func next(atMost limit: Int) -> [Command] {
        var batch: [Command] = []
        var left = Self.batchBytes
        inHand = []
        while batch.count < limit, left > 0, !turns.isEmpty {
            let room = limit - batch.count
            let served = turns.prefix(room)
            let share = (commands: max(1, room / turns.count), bytes: left / turns.count)
            for id in served { left -= take(share.commands, share.bytes, of: id, into: &batch) }
            turns = turns.dropFirst(served.count) + served.filter { rooms[$0] != nil }
        }
        return batch
    }

    /// - Returns: the bytes of the commands that were taken, at least one.
    private mutating func take(_ share: Int, _ bytes: Int, of room: UUID128, into batch: inout [Command]) -> Int {
        var (taken, weight) = (0, 0)
        for (command, delivery) in rooms[room]!.prefix(share) where taken == 0 || weight < bytes {
            batch.append(command)
            inHand.append(delivery)
            taken += 1
            weight += deliveries[deliveries.startIndex + delivery - firstNumber].weight
        }
        waiting -= taken
        rooms[room]!.removeFirst(taken)
        if rooms[room]!.isEmpty { rooms[room] = nil }
        return weight
    }

    /// Marks the last batch as executed. Returns the tag up to which everything is executed; nil when it did not
    /// advance.
    mutating func finish() -> UInt64? {
        for number in inHand { deliveries[deliveries.startIndex + number - firstNumber].left -= 1 }
        inHand = []
        var tag: UInt64?
        while let first = deliveries.first, first.left == 0 {
            tag = first.tag
            bytes -= first.bytes
            deliveries.removeFirst()
            firstNumber += 1
        }
        return tag
    }
}
