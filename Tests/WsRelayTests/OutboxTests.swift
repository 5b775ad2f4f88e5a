import Testing

@testable import ws_relay

@Suite struct OutboxTests {
    private static let limits = Outbox.OutboxLimits(bytes: 1000, seconds: 30)

    private static func frame(_ byte: UInt8, _ count: Int, ephemeral: Bool = false) -> SharedFrame {
        SharedFrame(whole: Array(repeating: byte, count: count), isEphemeral: ephemeral)
    }

    /// The bytes received by a socket that takes `atMost` bytes per write.
    private static func drain(_ outbox: inout Outbox, atMost: Int = .max) -> [UInt8] {
        var all: [UInt8] = []
        while !outbox.isEmpty {
            var piece: [UInt8] = []
            outbox.forEachPiece {
                piece += $0.prefix(atMost - piece.count)
                return piece.count < atMost
            }
            outbox.took(piece.count)
            all += piece
        }
        return all
    }

    @Test(arguments: [1, 2, 3, 7, 100])
    func keepsOrderAndEveryByteHoweverLittleIsTaken(atMost: Int) {
        var outbox = Outbox()
        outbox.begin(Self.frame(1, 5), taken: 2, now: 0)
        for byte in UInt8(2)...9 {
            #expect(outbox.enqueue(Self.frame(byte, 4), now: 0, limits: Self.limits) == .queued)
        }
        #expect(outbox.bytes == 3 + 8 * 4)
        let wanted: [UInt8] = [1, 1, 1] + (UInt8(2)...9).flatMap { Array(repeating: $0, count: 4) }
        #expect(Self.drain(&outbox, atMost: atMost) == wanted)
        #expect(outbox.bytes == 0 && outbox.isEmpty)
    }

    @Test func dropsWhatIsWorthNothingLate() {
        var outbox = Outbox()
        #expect(outbox.enqueue(Self.frame(1, 9), now: 0, limits: Self.limits) == .queued)
        #expect(outbox.enqueue(Self.frame(2, 9, ephemeral: true), now: 0, limits: Self.limits) == .dropped)
        #expect(Self.drain(&outbox) == Array(repeating: 1, count: 9))
    }

    @Test func overflowsByBytesAndByTime() {
        var outbox = Outbox()
        #expect(outbox.enqueue(Self.frame(1, 600), now: 10, limits: Self.limits) == .queued)
        #expect(outbox.enqueue(Self.frame(2, 401), now: 10, limits: Self.limits) == .overflow)
        #expect(outbox.enqueue(Self.frame(3, 400), now: 11, limits: Self.limits) == .queued)
        #expect(!outbox.isOverdue(now: 40, limits: Self.limits))
        #expect(outbox.isOverdue(now: 41, limits: Self.limits))
        outbox.took(600)
        #expect(!outbox.isOverdue(now: 41, limits: Self.limits))
    }

    @Test func theFirstFrameIsTakenWhateverItsSize() {
        var outbox = Outbox()
        outbox.begin(Self.frame(1, 5000), taken: 1, now: 0)
        #expect(outbox.bytes == 4999)
        #expect(outbox.enqueue(Self.frame(2, 1), now: 0, limits: Self.limits) == .overflow)
    }

    @Test func endsWithTheFrameBegunAndTheClose() {
        var outbox = Outbox()
        outbox.begin(Self.frame(1, 4), taken: 1, now: 0)
        _ = outbox.enqueue(Self.frame(2, 4), now: 0, limits: Self.limits)
        outbox.finish(with: Self.frame(9, 2), now: 0)
        #expect(outbox.bytes == 5)
        #expect(Self.drain(&outbox) == [1, 1, 1, 9, 9])
        var untouched = Outbox()
        _ = untouched.enqueue(Self.frame(2, 4), now: 0, limits: Self.limits)
        untouched.finish(with: Self.frame(9, 2), now: 0)
        #expect(Self.drain(&untouched) == [9, 9])
    }

    @Test func forgetsWhatIsGone() {
        var outbox = Outbox()
        weak var first: SharedFrame?
        for index in 0..<500 {
            let frame = Self.frame(UInt8(index & 0xFF), 1)
            if index == 0 { first = frame }
            _ = outbox.enqueue(frame, now: 0, limits: Self.limits)
        }
        outbox.took(300)
        #expect(first == nil && outbox.count == 200)
    }
}

@Suite struct ConnectionTableTests {
    @Test func aLateEventNeverFindsTheNextUserOfTheSlot() throws {
        let table = ConnectionTable(RelayMemory(capacity: 2))
        let first = try #require(table.open(7))
        let handle = table.handle(first)
        #expect(table.slot(handle) == first)
        table.bury(first)
        #expect(table.slot(handle) == nil)
        table.reap { _, _ in }
        let second = try #require(table.open(7))
        #expect(second == first && table.slot(handle) == nil)
        #expect(table.slot(table.handle(second)) == second)
    }

    @Test func isBounded() throws {
        let table = ConnectionTable(RelayMemory(capacity: 2))
        let first = try #require(table.open(1))
        #expect(table.open(2) != nil)
        #expect(table.open(3) == nil)
        table.bury(first)
        // Code that still uses the slot in this tick finds it buried, not reused.
        #expect(table.open(3) == nil && table.count == 1 && table[first].flags == .closing)
        table.reap { _, _ in }
        #expect(table.open(3) == first && table.count == 2)
    }

    @Test func aSlotIsFreedOnce() throws {
        let table = ConnectionTable(RelayMemory(capacity: 4))
        let first = try #require(table.open(1))
        #expect(table.bury(first) && !table.bury(first) && table.count == 0)
        var freed: [Int32] = []
        for _ in 0..<2 { table.reap { freed.append($1) } }
        #expect(freed == [1] && table.free == [first])
        #expect(!table.bury(first))
        let (second, third) = (table.open(2), table.open(3))
        #expect(second != third)
    }

    @Test func aConnectionIsSmall() { #expect(MemoryLayout<Connection>.stride <= 96) }
}

@Suite struct RateBucketTests {
    private static let limits = RateBucket.BucketLimits(rate: 10, burst: 20)

    @Test func letsABurstThroughThenItsRate() {
        var bucket = RateBucket()
        for _ in 0..<20 { #expect(bucket.take(now: 5000, limits: Self.limits) == .pass) }
        #expect(bucket.take(now: 5000, limits: Self.limits) == .refuse)
        #expect(bucket.take(now: 5200, limits: Self.limits) == .pass)
        #expect(bucket.take(now: 5200, limits: Self.limits) == .refuse)
    }

    @Test func closesOnWhoDoesNotListen() {
        var bucket = RateBucket()
        let verdicts = (0..<60).map { _ in bucket.take(now: 1, limits: Self.limits) }
        #expect(verdicts.contains(.refuse) && verdicts.last == .close)
    }

    @Test func theClockMayWrap() {
        var bucket = RateBucket()
        for _ in 0..<20 { _ = bucket.take(now: .max - 10, limits: Self.limits) }
        #expect(bucket.take(now: 2000, limits: Self.limits) == .pass)
    }
}
