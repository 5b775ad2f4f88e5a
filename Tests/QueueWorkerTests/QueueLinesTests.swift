import ChatCore
import Testing

@testable import queue_worker

/// Several workers with an injected clock, and the lines of a broker: a queue's first consumer is its active one.
@Suite struct QueueLinesTests {
    private final class World {
        let layout: QueueLayout
        var now: Int64 = 1_000_000
        var ticket: Int64 = 0
        var reports: [QueueSeat: QueueWorkerReport] = [:]
        var workers: [QueueSeat: QueueLines] = [:]
        var lines: [[QueueSeat]]
        /// Every step that was taken, in order.
        var steps: [(seat: QueueSeat, step: QueueLines.Step, at: Int64)] = []

        init(queues: Int) {
            layout = QueueLayout(generation: 1, total: queues, byUser: false)
            lines = Array(repeating: [], count: queues)
        }

        func start(_ host: String, slots: Int) {
            for slot in 0..<slots { start(QueueSeat(host: host, slot: slot)) }
        }

        func start(_ seat: QueueSeat) {
            workers[seat] = QueueLines(seat, layout, now: now)
            report(seat)
        }

        /// Its process ends without a word; its report lives on for a while.
        func kill(_ host: String) {
            for seat in workers.keys where seat.host == host { workers[seat] = nil }
            for queue in lines.indices { lines[queue].removeAll { $0.host == host } }
        }

        func forget(_ host: String) { reports = reports.filter { $0.key.host != host } }

        func report(_ seat: QueueSeat) {
            ticket += 1
            reports[seat] = QueueWorkerReport(
                seat: seat, worker: UUID128(high: 1, low: 1), generation: 1, lines: workers[seat]!.claimed,
                working: workers[seat]!.working)
            workers[seat]!.know(Array(reports.values), expected: [], ticket: ticket)
        }

        func act(_ seat: QueueSeat) {
            for turn in 0... {
                guard let step = workers[seat]!.next(now: now) else { return }
                guard turn < 1000 else { return #expect(Bool(false), "steps without end") }
                steps.append((seat, step, now))
                switch step {
                case .enter(let queue):
                    lines[queue].append(seat)
                    workers[seat]!.entered(queue)
                case .leave(let queue):
                    lines[queue].removeAll { $0 == seat }
                    workers[seat]!.left(queue, now: now)
                }
            }
        }

        /// Each queue is busy: the first in its line receives. Reports come every two seconds, in some order.
        func run(_ milliseconds: Int64, seed: UInt64 = 1) {
            let end = now + milliseconds
            var order = workers.keys.sorted()
            while now < end {
                order = Array(order.dropFirst(Int(seed) % order.count) + order.prefix(Int(seed) % order.count))
                for seat in order where workers[seat] != nil {
                    if (now / 50 + Int64(seat.slot)) % 40 == 0 { report(seat) }
                    act(seat)
                }
                for (queue, line) in lines.enumerated() {
                    if let first = line.first { workers[first]!.received(queue) }
                }
                now += 50
            }
        }

        var owners: [QueueSeat] { QueueShares.owners(of: layout.total, among: Set(workers.keys)) }
        var active: [QueueSeat?] { lines.map(\.first) }
        func count(_ host: String) -> Int { active.count { $0?.host == host } }
    }

    @Test func aHostAloneHasAllQueuesAtOnce() {
        let world = World(queues: 10)
        world.start("a", slots: 1)
        world.act(QueueSeat(host: "a", slot: 0))
        #expect(world.count("a") == 10)
    }

    @Test(arguments: 1...5) func aSecondHostGetsItsShareAndEachQueueItsOwner(_ seed: UInt64) {
        let world = World(queues: 10)
        world.start("a", slots: 2)
        world.run(5000, seed: seed)
        #expect(world.count("a") == 10)
        world.start("b", slots: 2)
        world.run(20_000, seed: seed)
        #expect(world.active == world.owners)
        #expect(world.count("a") == 5 && world.count("b") == 5)
        // Everybody stands in every line.
        #expect(world.lines.allSatisfy { Set($0) == Set(world.workers.keys) })
    }

    @Test(arguments: 1...5) func aHostThatDiesIsReplacedAtOnceAndGetsItsShareBack(_ seed: UInt64) {
        let world = World(queues: 10)
        for host in ["a", "b", "c"] { world.start(host, slots: 2) }
        world.run(20_000, seed: seed)
        #expect(world.active == world.owners)
        world.kill("b")
        // The next in line.
        #expect(world.active.allSatisfy { $0 != nil } && world.count("a") + world.count("c") == 10)
        world.run(10_000, seed: seed)
        world.forget("b")
        world.run(20_000, seed: seed)
        #expect(world.active == world.owners)
        #expect(abs(world.count("a") - world.count("c")) <= 1)
        world.start("b", slots: 2)
        world.run(20_000, seed: seed)
        #expect(world.active == world.owners)
        #expect(["a", "b", "c"].allSatisfy { [3, 4].contains(world.count($0)) })
    }

    @Test func queuesInUseAreHandedOverOneAfterTheOther() {
        let world = World(queues: 10)
        world.start("a", slots: 1)
        world.run(5000)
        world.steps = []
        world.start("b", slots: 1)
        world.run(20_000)
        let times = world.steps.compactMap { entry in
            if case .leave = entry.step { entry.at } else { nil as Int64? }
        }
        #expect(times.count == 5)
        #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 >= QueueLines.pace.milliseconds })
    }

    /// A database was restored while workers run: the claims of some are larger than every ticket from now on.
    @Test func ticketsThatAreSetBackLetNobodyLeaveAndJoinForEver() {
        let world = World(queues: 10)
        world.ticket = 1_000_000
        for host in ["a", "b"] { world.start(host, slots: 1) }
        world.run(20_000)
        world.ticket = 1
        world.start("c", slots: 1)
        world.run(20_000)
        world.steps = []
        world.run(20_000)
        #expect(world.steps.isEmpty)
        #expect(world.active.allSatisfy { $0 != nil })
    }

    /// Moving costs redeliveries.
    @Test func nothingMovesWhileNothingChanges() {
        let world = World(queues: 12)
        for host in ["a", "b", "c"] { world.start(host, slots: 3) }
        world.run(30_000)
        world.steps = []
        world.run(60_000)
        #expect(world.steps.isEmpty)
    }

    /// The owner has not joined the line: whoever works on the queue continues.
    @Test func aQueueIsNotLeftToAnOwnerThatDoesNotStandInItsLine() {
        let world = World(queues: 4)
        world.start("a", slots: 1)
        world.run(5000)
        let dead = QueueSeat(host: "b", slot: 0)
        world.reports[dead] = QueueWorkerReport(seat: dead, worker: UUID128(high: 2, low: 2), generation: 1)
        world.steps = []
        world.run(20_000)
        #expect(world.count("a") == 4 && world.steps.isEmpty)
    }

    /// Queues of an earlier generation say nothing of these.
    @Test func claimsOfAnotherGenerationDoNotCount() {
        let world = World(queues: 4)
        world.start("a", slots: 1)
        world.run(5000)
        let other = QueueSeat(host: "b", slot: 0)
        world.reports[other] = QueueWorkerReport(
            seat: other, worker: UUID128(high: 2, low: 2), generation: 2, lines: [0: 99, 1: 99, 2: 99, 3: 99])
        world.run(20_000)
        #expect(world.count("a") == 4)
    }
}
