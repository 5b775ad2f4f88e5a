import ChatCore

/// The commands in hand, each room's in the order in which they came. Rooms take turns: one with thousands of commands
/// gives another's newest one a place in the very next batch.
///
/// Fairness reaches as far as the worker can see: the prefetch of each queue. Commands behind it wait in the broker in
/// the order of their arrival.
struct Backlog {
    private struct Delivery {
        let tag: UInt64
        let bytes: Int
        /// Commands that are not carried out yet.
        var left: Int
    }

    /// In the channel's order; the first one's number is `firstNumber`.
    private var deliveries: ArraySlice<Delivery> = []
    private var firstNumber = 0
    private var rooms: [UUID128: ArraySlice<(command: Command, delivery: Int)>] = [:]
    /// The rooms that wait, who is next first.
    private var turns: [UUID128] = []
    /// The deliveries of the batch that was taken last, one number a command.
    private var inHand: [Int] = []
    /// Of the bodies that are not finished.
    private(set) var bytes = 0

    /// Nothing is to be carried out and nothing to be acknowledged.
    var isEmpty: Bool { deliveries.isEmpty }

    /// A message without commands is finished with those before it.
    mutating func append(_ commands: [Command], tag: UInt64, bytes: Int) {
        let number = firstNumber + deliveries.count
        deliveries.append(Delivery(tag: tag, bytes: bytes, left: commands.count))
        self.bytes += bytes
        for command in commands {
            if rooms[command.room] == nil { turns.append(command.room) }
            rooms[command.room, default: []].append((command, number))
        }
    }

    /// The next batch: of each room that waits an equal share, and what one leaves is the others'. Rooms for whom there
    /// is no place come first in the next one.
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
        rooms[room]!.removeFirst(min(share, rooms[room]!.count))
        if rooms[room]!.isEmpty { rooms[room] = nil }
    }

    /// The batch that was taken last has been carried out. The result is the tag up to which everything is; nil: no
    /// further than before.
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
