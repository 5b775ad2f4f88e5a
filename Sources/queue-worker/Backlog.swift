import ChatCore

/// The commands in progress, each room's in the order of their arrival. Rooms take turns: even when one room has
/// thousands of commands, another room's newest command is in the very next batch.
///
/// Fairness covers only what the worker can see, which is the prefetch of each queue. Later commands wait in the broker
/// in the order of their arrival.
struct Backlog {
    private struct Delivery {
        let tag: UInt64
        let bytes: Int
        /// Commands that are not executed yet.
        var left: Int
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
    mutating func append(_ commands: [Command], tag: UInt64, bytes: Int) {
        let number = firstNumber + deliveries.count
        deliveries.append(Delivery(tag: tag, bytes: bytes, left: commands.count))
        self.bytes += bytes
        waiting += commands.count
        for command in commands {
            if rooms[command.room] == nil { turns.append(command.room) }
            rooms[command.room, default: []].append((command, number))
        }
    }

    /// The next batch, by round-robin: an equal share for each waiting room; unused shares go to the others. Rooms
    /// without a place come first in the next batch.
    mutating func next(atMost limit: Int) -> [Command] {
        var batch: [Command] = []
        inHand = []
        while batch.count < limit, !turns.isEmpty {
            let room = limit - batch.count
            let served = turns.prefix(room)
            for id in served { take(max(1, room / turns.count), of: id, into: &batch) }
            turns = turns.dropFirst(served.count) + served.filter { rooms[$0] != nil }
        }
        return batch
    }

    private mutating func take(_ share: Int, of room: UUID128, into batch: inout [Command]) {
        for (command, delivery) in rooms[room]!.prefix(share) {
            batch.append(command)
            inHand.append(delivery)
        }
        waiting -= min(share, rooms[room]!.count)
        rooms[room]!.removeFirst(min(share, rooms[room]!.count))
        if rooms[room]!.isEmpty { rooms[room] = nil }
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
