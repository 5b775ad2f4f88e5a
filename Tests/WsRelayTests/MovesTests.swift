import Testing

@testable import ws_relay

/// A drain without a relay: whose turn it is, and when.
@Suite struct MovesTests {
    private static func draining(rate: Int, within: Int = 30, workers: Int = 1, at now: Int64 = 0) -> Moves {
        var moves = Moves()
        moves.workers = workers
        moves.begin(MoveOrder(rate: rate, within: within), at: now)
        return moves
    }

    private static func able(_ handles: ClosedRange<UInt64>) -> [Moves.Candidate] {
        handles.map { .init(handle: $0, understands: true) }
    }

    /// Steps of the milliseconds from `begin` on, each 100 ms.
    private func play(_ moves: inout Moves, from begin: Int64, to end: Int64) -> [(at: Int64, step: Moves.Step)] {
        stride(from: begin, through: end, by: 100).flatMap { at in moves.due(at: at).map { (at, $0) } }
    }

    @Test func nobodyGoesWithoutAnOrder() {
        var moves = Moves()
        moves.add(Self.able(1...3))
        #expect(moves.due(at: 5000).isEmpty && !moves.isActive)
    }

    @Test func theRateIsKept() {
        var moves = Self.draining(rate: 10)
        moves.add(Self.able(1...100))
        let steps = play(&moves, from: 0, to: 3000)
        // The first at once, then ten a second.
        #expect(steps.count == 31)
        #expect(steps.map(\.step) == (1...31).map { .tell($0) })
        #expect(steps.filter { (1000..<2000).contains($0.at) }.count == 10)
    }

    @Test(arguments: [2, 4]) func workersShareTheRate(workers: Int) {
        var moves = Self.draining(rate: 20, workers: workers)
        moves.add(Self.able(1...200))
        #expect(play(&moves, from: 0, to: 10_000).count == 1 + 200 / workers)
    }

    @Test func aStallIsNotMadeUpForAtOnce() {
        var moves = Self.draining(rate: 10, within: 3600)
        moves.add(Self.able(1...1000))
        _ = moves.due(at: 0)
        #expect(moves.due(at: 60_000).count == 10)
    }

    @Test func whoComesLaterHasNoTurnsOfBefore() {
        var moves = Self.draining(rate: 100)
        _ = play(&moves, from: 0, to: 5000)
        moves.add(Self.able(1...50))
        #expect(moves.due(at: 5100).count == 1 + 10)
    }

    @Test func whoDoesNotUnderstandIsClosedAtItsTurn() {
        var moves = Self.draining(rate: 1000)
        moves.add([.init(handle: 1, understands: true), .init(handle: 2, understands: false)])
        _ = moves.due(at: 0)
        #expect(moves.due(at: 1000) == [.close(2)])
        #expect(moves.counters == .init(moved: 0, closed: 1))
    }

    @Test func whoIsToldHasItsTimeAndIsClosedThen() {
        var moves = Self.draining(rate: 1000, within: 5)
        moves.add(Self.able(1...2))
        #expect(moves.due(at: 100) == [.tell(1), .tell(2)])
        moves.left(1)
        #expect(moves.due(at: 5099).isEmpty)
        #expect(moves.due(at: 5100) == [.close(2)])
        #expect(moves.counters == .init(moved: 1, closed: 1))
        // Its close frame, and the end of the connection.
        moves.left(2)
        #expect(moves.counters == .init(moved: 1, closed: 1) && !moves.hasTold(2))
    }

    @Test func nobodyIsToldTwice() {
        var moves = Self.draining(rate: 1000)
        moves.add(Self.able(1...2))
        _ = moves.due(at: 1000)
        moves.add(Self.able(1...3))
        #expect(moves.due(at: 2000) == [.tell(3)])
    }

    @Test func whoLeavesBeforeItsTurnTakesNone() {
        var moves = Self.draining(rate: 1)
        moves.add(Self.able(1...3))
        moves.left(1)
        #expect(moves.due(at: 0) == [.tell(2)])
        #expect(moves.counters == .init(moved: 0, closed: 0))
    }

    @Test func aStopLeavesEverybodyWhereTheyAre() {
        var moves = Self.draining(rate: 10, within: 5)
        moves.add(Self.able(1...20))
        _ = moves.due(at: 0)
        moves.stop()
        // The one that was told may be on its way.
        #expect(moves.isActive && moves.hasTold(1))
        #expect(play(&moves, from: 100, to: 20_000).isEmpty)
        #expect(!moves.isActive && !moves.hasTold(1) && moves.counters == .init())
    }

    @Test func whoLeavesAfterAStopOrBeforeTheSuccessorHasItsOrderHasMoved() {
        var moves = Self.draining(rate: 1000)
        moves.add(Self.able(1...3))
        _ = moves.due(at: 1)
        let told = moves.allTold
        moves.stop()
        moves.left(1)
        moves.left(3)
        #expect(moves.counters.moved == 1)
        var successor = Moves()
        successor.adopt(told)
        successor.left(2)
        #expect(successor.counters.moved == 1)
    }

    @Test func aDrainAfterAStopTellsThoseThatWereNotTold() {
        var moves = Self.draining(rate: 1000, within: 5)
        moves.add(Self.able(1...1))
        _ = moves.due(at: 0)
        moves.stop()
        moves.begin(MoveOrder(rate: 1000, within: 5), at: 1000)
        moves.add(Self.able(1...2))
        #expect(moves.due(at: 1001) == [.tell(2)])
        #expect(moves.due(at: 5000) == [.close(1)])
    }

    @Test func anotherOrderChangesThePaceAndTheTimeOfTheOthers() {
        var moves = Self.draining(rate: 1000, within: 60)
        moves.add(Self.able(1...1))
        _ = moves.due(at: 0)
        moves.begin(MoveOrder(rate: 1000, within: 5), at: 1000)
        moves.add(Self.able(2...2))
        #expect(moves.due(at: 1000) == [.tell(2)])
        #expect(moves.due(at: 6000) == [.close(2)])
        #expect(moves.due(at: 59_999).isEmpty && moves.due(at: 60_000) == [.close(1)])
    }

    @Test func aSuccessorKeepsTheTimes() {
        var old = Self.draining(rate: 1000, within: 5)
        old.add(Self.able(1...2))
        _ = old.due(at: 100)
        old.left(1)
        var new = Self.draining(rate: 1000, within: 5, at: 2000)
        new.adopt(old.allTold.map { .init(handle: $0.handle + 100, due: $0.due) })
        new.add(Self.able(102...103))
        #expect(new.due(at: 2000) == [.tell(103)])
        #expect(new.due(at: 5099).isEmpty && new.due(at: 5100) == [.close(102)])
    }
}

@Suite struct MoveOrderTests {
    @Test(arguments: ["100 30", "1 5 ws://a", "100000 3600 wss://[::1]:9/chat/ws/v1/chat"])
    func anOrderIsReadAsItIsWritten(text: String) { #expect(MoveOrder(text)?.text == text) }

    @Test(arguments: [
        "100 30 ws://h:99999/x", "100 30 ws://h:/x", "100 30 ws://a,b/x", "100 30 wss://[::1/x", "100 30 ws://h/%zz",
        "", "100", "0 30", "100001 30", "100 4", "100 3601", "100 30 http://a", "100 30 ws://a b", "100 30 ws://",
        "-1 30", "x 30",
        "99999999999999999999 30", "100 30 wss://a/?x=1", "100 30 wss://a/#x", "100 30 wss://user@a/",
        "100 30 wss://:80/",
        "100 30 wss://a\u{301}/", "100 30 wss://\(String(repeating: "a", count: 180))",
    ])
    func whatIsNoOrderIsRefused(text: String) { #expect(MoveOrder(text) == nil) }

    @Test func theLongestOrderFitsIntoALineOfTheControlSocket() {
        let order = MoveOrder(rate: 100_000, within: 3600, url: "wss://" + String(repeating: "a", count: 174))
        #expect(MoveOrder(order.text) == order)
        #expect("drain sockets \(order.text)\n".utf8.count < 256)
    }
}
