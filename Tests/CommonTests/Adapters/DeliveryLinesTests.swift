import Testing

@testable import ChatAdapters

@Suite struct DeliveryLinesTests {
    private func opened(_ queues: String..., in lines: inout DeliveryLines) throws -> [UInt16] {
        let channels = queues.compactMap { lines.open($0) }
        try #require(channels.count == queues.count && Set(channels).count == queues.count)
        return channels
    }

    @Test func deliveriesOfAllChannelsAreNumberedTogether() throws {
        var lines = DeliveryLines()
        let channels = try opened("a", "b", in: &lines)
        #expect(channels.allSatisfy { $0 >= 3 })
        let numbers = [(1, 0), (1, 1), (2, 1), (2, 0)].map { lines.number($0, on: channels[$1]) }
        #expect(numbers == [1, 2, 3, 4])
        let finished = [3, 3, 9].map { lines.finish(through: $0) }
        #expect(finished == [[channels[0]: 1, channels[1]: 2], [:], [channels[0]: 2]])
    }

    /// The broker gives them to the next in line.
    @Test func deliveriesOfAQueueThatWasLeftAreNeitherTakenNorAcknowledged() throws {
        var lines = DeliveryLines()
        let channels = try opened("a", "b", in: &lines)
        for channel in channels { _ = lines.number(1, on: channel) }
        let closed = [lines.close("a"), lines.close("a")]
        #expect(closed == [channels[0], nil])
        let late = lines.number(2, on: channels[0])
        #expect(late == nil)
        let finished = lines.finish(through: 2)
        #expect(finished == [channels[1]: 1])
        let again = lines.open("a")
        #expect(again != channels[0])
    }

    @Test func channelsAreUsedAgainLateAndNeverTwiceAtOnce() throws {
        var lines = DeliveryLines()
        let kept = try opened("kept", in: &lines)[0]
        var last: UInt16 = 0
        for _ in 0..<5000 {
            let channel = try opened("moved", in: &lines)[0]
            try #require(channel != kept && channel != last && channel < 2047)
            last = channel
            _ = lines.close("moved")
        }
    }

    @Test func thereAreNotMoreThanTheBrokerAllows() {
        var lines = DeliveryLines()
        let opened = (0..<3000).compactMap { lines.open("\($0)") }
        #expect(Set(opened).count == 1998)
    }
}
