import ChatCore

/// A worker's places in the lines of all queues, on one connection to the broker.
///
/// The broker delivers a queue only to the first consumer in its line. Every worker is in every line, so the next one
/// takes over at once when the first one ends. To move a queue to its owner, all others leave its line and join it
/// again behind the owner: first the idle consumers, which have received nothing from it, then the active one. A
/// consumer notes the latest ticket that was drawn before it joins; the owner draws its ticket after it has joined. So
/// a consumer with a larger number is certainly behind the owner, whatever the clocks show.
struct QueueLines {
    /// The time after the connection before it joins the lines of others: the owners should be first.
    static let standbyDelay = Duration.seconds(2)
    /// How long the active consumer of another's queue waits for the idle ones to leave the line first.
    static let leaveDelay = Duration.milliseconds(1500)
    /// The time between two queues that it hands over: one queue after the other.
    static let pace = Duration.milliseconds(250)

    enum Step: Equatable {
        case enter(Int)
        /// It joins again at the next step.
        case leave(Int)
    }

    private struct Place {
        /// Drawn before it joined.
        let before: Int64
        /// The owner's own: drawn after it joined.
        var claim: Int64?
        /// It received something, so it is the active consumer.
        var isActive = false
        /// When the active one first saw that the owner is behind it.
        var mustLeaveSince: Int64?
    }

    private let seat: QueueSeat
    private let total: Int
    private let generation: Int
    private let standbyAt: Int64
    private var seats: Set<QueueSeat> = []
    private var owners: [QueueSeat] = []
    /// The owners' tickets.
    private var claims: [Int: Int64] = [:]
    private var places: [Int: Place] = [:]
    private var ticket: Int64 = 0
    private var mayHandOverAt: Int64 = .min
    /// Before this time there is nothing to do.
    private(set) var nextAt: Int64 = .min

    init(_ seat: QueueSeat, _ layout: QueueLayout, now: Int64) {
        self.seat = seat
        total = layout.total
        generation = layout.generation
        standbyAt = now + Self.standbyDelay.milliseconds
    }

    private func isOwn(_ queue: Int) -> Bool { owners.indices.contains(queue) && owners[queue] == seat }

    /// - Parameters:
    ///   - peers: all living workers; this one's entry may be an older one.
    ///   - expected: seats of workers that are still starting.
    ///   - ticket: drawn after every step so far; nil without one.
    mutating func know(_ peers: [QueueWorkerReport], expected: Set<QueueSeat>, ticket: Int64?) {
        let seats = Set(peers.map(\.seat)).union(expected).union([seat])
        // Rarely: with many queues and workers it takes milliseconds.
        if seats != self.seats { owners = QueueShares.owners(of: total, among: seats) }
        self.seats = seats
        if let ticket { self.ticket = ticket }
        claims = [:]
        for peer in peers where peer.seat != seat && peer.generation == generation {
            for (queue, claim) in peer.lines where owners.indices.contains(queue) && owners[queue] == peer.seat {
                // A larger one is from a sequence that has been set back since: no ticket of ours would ever be behind
                // it.
                if claim <= self.ticket { claims[queue] = claim }
            }
        }
        nextAt = .min
        guard let ticket else { return }
        for queue in places.keys where isOwn(queue) && places[queue]!.claim == nil { places[queue]!.claim = ticket }
    }

    /// The next step at this time; nil when nothing is to be done.
    mutating func next(now: Int64) -> Step? {
        guard now >= nextAt else { return nil }
        var later: Step?
        nextAt = .max
        for queue in 0..<total {
            let due = leaves(queue, now: now) ?? joins(queue)
            guard let (step, at) = due else { continue }
            if at <= now, isOwn(queue) || step == .leave(queue) {
                nextAt = now
                return step
            }
            nextAt = min(nextAt, at)
            if at <= now { later = later ?? step }
        }
        return later
    }

    private func joins(_ queue: Int) -> (Step, at: Int64)? {
        guard places[queue] == nil else { return nil }
        return (.enter(queue), at: isOwn(queue) ? .min : standbyAt)
    }

    /// Those before the owner leave.
    private mutating func leaves(_ queue: Int, now: Int64) -> (Step, at: Int64)? {
        guard let place = places[queue] else { return nil }
        guard !isOwn(queue), let claim = claims[queue], place.before < claim else {
            places[queue]!.mustLeaveSince = nil
            return nil
        }
        guard place.isActive else { return (.leave(queue), at: .min) }
        let since = place.mustLeaveSince ?? now
        places[queue]!.mustLeaveSince = since
        return (.leave(queue), at: max(since + Self.leaveDelay.milliseconds, mayHandOverAt))
    }

    mutating func entered(_ queue: Int) {
        places[queue] = Place(before: ticket)
        nextAt = .min
    }

    mutating func left(_ queue: Int, now: Int64) {
        if places.removeValue(forKey: queue)?.isActive == true { mayHandOverAt = now + Self.pace.milliseconds }
        nextAt = .min
    }

    mutating func received(_ queue: Int) {
        if places[queue]?.isActive == false { places[queue]!.isActive = true }
    }

    /// For the others: the tickets of its own queues, and the queues of which it is the active consumer.
    var claimed: [Int: Int64] { places.filter { isOwn($0.key) }.compactMapValues(\.claim) }
    var working: Set<Int> { Set(places.filter { $0.value.isActive }.keys) }
    /// A claim has to be drawn.
    var mustReport: Bool { places.contains { isOwn($0.key) && $0.value.claim == nil } }
}
