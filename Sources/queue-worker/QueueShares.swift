import ChatCore

/// Computes the owner of each queue. Every worker does it from the same list, with the same result.
enum QueueShares {
    /// Every seat gets the same number of queues, the first seats one more. When a seat comes or goes, few other queues
    /// move, because each queue has its own order of preferred seats (rendezvous hashing).
    ///
    /// - Returns: the owner of each queue; empty without seats.
    static func owners(of total: Int, among seats: Set<QueueSeat>) -> [QueueSeat] {
        guard !seats.isEmpty else { return [] }
        let seats = seats.sorted()
        let (share, more) = total.quotientAndRemainder(dividingBy: seats.count)
        var free = seats.indices.map { $0 < more ? share + 1 : share }
        return (0..<total).map { queue in
            let weights = seats.indices.filter { free[$0] > 0 }.map { (weight: weight(queue, seats[$0]), seat: $0) }
            let best = weights.max { $0.weight < $1.weight }!.seat
            free[best] -= 1
            return seats[best]
        }
    }

    private static func weight(_ queue: Int, _ seat: QueueSeat) -> UInt64 {
        // FNV alone hardly mixes the last bytes into the high bits.
        var hash = fnv1a64(Array("\(seat) \(queue)".utf8))
        hash = (hash ^ hash >> 30) &* 0xBF58_476D_1CE4_E5B9
        hash = (hash ^ hash >> 27) &* 0x94D0_49BB_1331_11EB
        return hash ^ hash >> 31
    }
}
