import Testing

@testable import ws_relay

@Suite struct RoomSequencerTests {
    struct Frame: Sequenced, Equatable { let seq: UInt64 }
    typealias Sequencer = RoomSequencer<Frame>

    private static func frames(_ seqs: some Sequence<UInt64>) -> [Frame] { seqs.map(Frame.init) }

    /// Receives a frame and returns the frames that a member would get.
    private static func receive(_ seq: UInt64, _ sequencer: inout Sequencer) -> [UInt64] {
        var got: [UInt64] = []
        if sequencer.receive(Frame(seq: seq)) == .deliver { got.append(seq) }
        while let next = sequencer.nextHeld() { got.append(next.seq) }
        return got
    }

    @Test func deliversInOrderAndDropsDoubles() {
        var room = Sequencer(last: 5)
        #expect(room.receive(Frame(seq: 5)) == .duplicate)
        #expect(room.receive(Frame(seq: 6)) == .deliver)
        #expect(room.receive(Frame(seq: 6)) == .duplicate)
        #expect(room.receive(Frame(seq: 7)) == .deliver)
        #expect(room.last == 7 && room.due == nil)
    }

    @Test func holdsAnEarlyFrameAndFetchesTheGapOnce() {
        var room = Sequencer(last: 5)
        #expect(room.receive(Frame(seq: 8)) == .held)
        #expect(room.receive(Frame(seq: 8)) == .duplicate)
        #expect(room.due == 6)
        #expect(room.beginFetch() == 6)
        #expect(room.due == nil)
        #expect(Self.receive(9, &room) == [])
        #expect(room.fetched(Self.frames(5...7), through: 7) == Self.frames(6...7))
        #expect(room.nextHeld()?.seq == 8)
        #expect(room.nextHeld()?.seq == 9)
        #expect(room.nextHeld() == nil)
        #expect(room.last == 9 && room.due == nil)
    }

    @Test func whatFillsTheGapWhileAFetchIsOutCounts() {
        var room = Sequencer(last: 0)
        #expect(Self.receive(3, &room) == [])
        _ = room.beginFetch()
        #expect(Self.receive(1, &room) == [1])
        #expect(Self.receive(2, &room) == [2, 3])
        #expect(room.fetched(Self.frames(1...3), through: 3) == [])
        #expect(room.last == 3 && room.due == nil)
    }

    @Test func anAnswerThatIsTooShortLeavesTheRestDue() {
        var room = Sequencer(last: 0)
        #expect(Self.receive(9, &room) == [])
        _ = room.beginFetch()
        #expect(room.fetched(Self.frames(1...4), through: 4) == Self.frames(1...4))
        #expect(room.nextHeld() == nil)
        #expect(room.due == 5)
        _ = room.beginFetch()
        room.fetchFailed()
        #expect(room.due == 5)
    }

    @Test func aSparseAnswerPassesOverWhatIsStoredNowhere() {
        var room = Sequencer(last: 10)
        #expect(Self.receive(20, &room) == [])
        _ = room.beginFetch()
        #expect(room.fetched(Self.frames([12, 17]), through: 19) == Self.frames([12, 17]))
        #expect(room.nextHeld()?.seq == 20)
    }

    @Test func aFetchThatLooksPastHeldFramesDropsThem() {
        var room = Sequencer(last: 0)
        for seq in [3, 4, 6] as [UInt64] { #expect(Self.receive(seq, &room) == []) }
        _ = room.beginFetch()
        #expect(room.fetched(Self.frames(1...4), through: 4).count == 4)
        #expect(room.nextHeld() == nil)
        #expect(room.held.map(\.seq) == [6])
        #expect(room.due == 5)
    }

    @Test func isBoundedAndStillKnowsTheGap() {
        var room = Sequencer(last: 0)
        for seq in 0..<UInt64(Sequencer.maxHeld) + 100 { _ = room.receive(Frame(seq: seq + 10)) }
        #expect(room.held.count <= Sequencer.maxHeld)
        #expect(room.due == 1)
    }

    /// Frames lost, repeated and shuffled, fetches that fail or are incomplete: every member gets 1, 2, 3 … n.
    @Test(arguments: 0..<200)
    func endsCompleteWhateverHappens(seed: Int) {
        var random = SplitMix(seed: UInt64(seed))
        let count: UInt64 = 60
        var room = Sequencer(last: 0)
        var got: [UInt64] = []
        var feed = (1...count).flatMap { seq in Array(repeating: seq, count: Int.random(in: 0...2, using: &random)) }
        for _ in 0..<20 where feed.count > 1 {
            let at = Int.random(in: 0..<feed.count - 1, using: &random)
            feed.swapAt(at, at + 1)
        }
        for seq in feed + [count] {
            got += Self.receive(seq, &room)
            guard let due = room.due, Bool.random(using: &random) else { continue }
            _ = room.beginFetch()
            Self.answer(from: due, upTo: seq, &room, &got, &random)
        }
        while let due = room.due {
            _ = room.beginFetch()
            Self.answer(from: due, upTo: count, &room, &got, &random)
        }
        #expect(got == Array(1...count))
    }

    private static func answer(
        from: UInt64, upTo last: UInt64, _ room: inout Sequencer, _ got: inout [UInt64], _ random: inout SplitMix
    ) {
        guard Int.random(in: 0..<4, using: &random) > 0, from <= last else { return room.fetchFailed() }
        let through = UInt64.random(in: from...last, using: &random)
        got += room.fetched(frames(from...through), through: through).map(\.seq)
        while let next = room.nextHeld() { got.append(next.seq) }
    }
}
