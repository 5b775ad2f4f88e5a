import Testing

@testable import chat_load

@Suite struct StreamTests {
    /// The steps of these Seqs on a stream that has everything up to 10.
    private func steps(_ seqs: [Int64], resuming: Bool = false) -> ([Stream.Step], Stream) {
        var stream = Stream(room: 0, last: 10)
        stream.isResuming = resuming
        return (seqs.map { stream.take($0, isResponse: false) }, stream)
    }

    @Test func anOrderWithoutHolesIsNew() {
        #expect(steps([11, 12, 13]).0 == [.new, .new, .new])
        #expect(steps([11, 12, 13]).1.missing == 0)
    }

    @Test func aDroppedFrameIsAHole() {
        let (found, stream) = steps([11, 14])
        #expect(found == [.new, .new])
        #expect(stream.holes == [12...13])
        #expect(stream.missing == 2)
        #expect(stream.lacks(13) && !stream.lacks(14) && stream.lacks(15))
    }

    @Test func swappedFramesAreLateAndNoHole() {
        let (found, stream) = steps([12, 11, 13])
        #expect(found == [.new, .late, .new])
        #expect(stream.missing == 0)
    }

    @Test func aDoubledFrameIsTwice() { #expect(steps([11, 11, 10]).0 == [.new, .twice, .twice]) }

    @Test func aHoleIsFilledInTheMiddle() {
        let (found, stream) = steps([15, 13])
        #expect(found == [.new, .late])
        #expect(stream.holes == [11...12, 14...14])
    }

    @Test func whileResumingFramesMayComeAgainAndOutOfOrder() {
        // A live frame before those that the resume brings.
        let (found, stream) = steps([13, 11, 12, 13], resuming: true)
        #expect(found == [.new, .new, .new, .again])
        #expect(stream.missing == 0)
    }

    @Test func theAnswerToARepeatedRequestIsInNoOrder() {
        var stream = Stream(room: 0, last: 10)
        let answers = [7, 13, 13].map { stream.take($0, isResponse: true) }
        #expect(answers == [.answer, .early, .answer])
        #expect(!stream.lacks(13) && stream.lacks(12))
        // Its frame follows in its own turn.
        let frames = [11, 12, 13, 14].map { stream.take($0, isResponse: false) }
        #expect(frames == [.new, .new, .again, .new])
        let last = stream.take(15, isResponse: true)
        #expect(last == .new)
        #expect(stream.missing == 0 && stream.last == 15)
    }

    @Test func anAnswerCountsAsItsFrame() {
        // 11 was swapped with 12, which is an answer.
        var stream = Stream(room: 0, last: 10)
        let first = [stream.take(12, isResponse: true), stream.take(13, isResponse: false)]
        #expect(first == [.early, .new])
        #expect(stream.holes == [11...11])
        let filled = stream.take(11, isResponse: false)
        #expect(filled == .late)
        // And an answer that came behind a later frame.
        let swapped = [stream.take(15, isResponse: false), stream.take(14, isResponse: true)]
        #expect(swapped == [.new, .late])
        #expect(stream.missing == 0)
    }

    @Test func resyncAsksForWhatIsMissingAlone() {
        var (_, stream) = steps([11, 14])
        let wanted = stream.skip(to: 20)
        #expect(wanted == [12...13, 15...20])
        #expect(stream.missing == 0 && stream.last == 20)
    }

    @Test func aHoleOfALiveSocketIsNotHiddenByItsReconnect() {
        var (_, stream) = steps([12])
        #expect(stream.resumePoint == 12)
        stream.isResuming = true
        #expect(stream.resumePoint == 10)
    }

    @Test func manyHolesCostNoMemory() {
        var stream = Stream(room: 0, last: 0)
        for number in 1...10_000 { _ = stream.take(Int64(number) * 2, isResponse: false) }
        #expect(stream.holes.count <= 256)
        #expect(stream.missing >= 10_000)
        _ = stream.take(.max, isResponse: false)
        _ = stream.take(.min, isResponse: false)
    }
}

@Suite struct LedgerTests {
    private func ledger() -> Ledger {
        var ledger = Ledger(run: "0a0b0c0d")
        ledger.rooms = [Ledger.Room(id: "r", name: "", members: [0, 1], base: 1)]
        return ledger
    }

    @Test func aMessageIsOverWhenAcknowledgedAndAtAllMembers() {
        var ledger = ledger()
        let number = ledger.open(room: 0, sender: 0, due: 5)
        let first = ledger.copy(number, room: 0, seq: 2)
        let isNew = ledger.acknowledge(number, seq: 2)
        #expect(first == 5 && isNew && ledger.inFlight == 1)
        let second = ledger.copy(number, room: 0, seq: 2)
        #expect(second == 5)
        #expect(ledger.inFlight == 0 && ledger.completed == 1 && !ledger.isBroken)
        // The answer to a repeated request.
        let again = ledger.acknowledge(number, seq: 2)
        #expect(!again)
    }

    @Test func theOldestInFlightKeepsOthers() {
        var ledger = ledger()
        for number in 0..<5000 {
            let opened = ledger.open(room: 0, sender: 0, due: 0)
            #expect(opened == number)
            if number > 0 { ledger.refuse(number) }
        }
        #expect(ledger.inFlight == 5000 && ledger.refused == 4999)
        ledger.refuse(0)
        #expect(ledger.inFlight == 0)
    }

    @Test func oneMessageAtTwoSeqsIsDoubled() {
        var ledger = ledger()
        let number = ledger.open(room: 0, sender: 0, due: 0)
        _ = ledger.copy(number, room: 0, seq: 2)
        _ = ledger.copy(number, room: 0, seq: 3)
        #expect(ledger.breaches == [.doubled: 1])
        #expect(ledger.examples[0].contains("Seq 3, Sign load-0a0b0c0d-00000000"))
    }

    @Test func aFinishedMessageThatComesAgainIsDoubled() {
        var ledger = ledger()
        let number = ledger.open(room: 0, sender: 0, due: 0)
        _ = ledger.acknowledge(number, seq: 2)
        _ = ledger.copy(number, room: 0, seq: 2)
        _ = ledger.copy(number, room: 0, seq: 2)
        #expect(ledger.inFlight == 0 && !ledger.isBroken)
        _ = ledger.copy(number, room: 0, seq: 4)
        #expect(ledger.breaches == [.doubled: 1])
    }

    @Test func twoMessagesAtOneSeqAreAltered() {
        var ledger = ledger()
        let (one, other) = (ledger.open(room: 0, sender: 0, due: 0), ledger.open(room: 0, sender: 1, due: 0))
        _ = ledger.acknowledge(one, seq: 2)
        _ = ledger.copy(other, room: 0, seq: 2)
        #expect(ledger.breaches == [.altered: 1])
    }

    @Test func aFalseSeqCostsNoMemory() {
        var ledger = ledger()
        let number = ledger.open(room: 0, sender: 0, due: 0)
        for seq in [Int64.max, .min, 0, 1 << 40] { _ = ledger.copy(number, room: 0, seq: seq) }
        #expect(ledger.rooms[0].order.isEmpty && ledger.breaches[.altered] == 4)
        let strange = ledger.copy(99, room: 0, seq: 2)
        #expect(strange == nil)
    }

    @Test func aSignIsOfThisRunOrOfNobody() {
        let ledger = ledger()
        #expect(ledger.number(of: ledger.sign(255)) == 255)
        for sign in ["", "load-0a0b0c0d-", "load-0a0b0c0e-00000001", "load-0a0b0c0d-0000000g"] {
            #expect(ledger.number(of: sign) == nil)
        }
    }
}

@Suite struct HistogramTests {
    @Test func percentilesAreExactBelowFourMilliseconds() {
        var histogram = Histogram()
        for value in 1...1000 { histogram.add(nanoseconds: Int64(value) * 1000) }
        #expect(histogram.quantiles([0.5, 0.9, 0.99, 1]) == [500, 900, 990, 1000])
    }

    @Test func aboveThemTheErrorIsBelowOneInTwoThousand() {
        for value in [4096, 5000, 123_456, 60_000_000, 3_600_000_000] as [Int64] {
            var histogram = Histogram()
            histogram.add(nanoseconds: value * 1000)
            #expect(abs(histogram.quantile(1) - value) * 2000 <= value)
        }
        var most = Histogram()
        most.add(nanoseconds: .max)
        most.add(nanoseconds: .min)
        #expect(most.count == 2)
    }

    @Test func theTableRisesToTheLargest() {
        var histogram = Histogram()
        for value in 1...10_000 { histogram.add(nanoseconds: Int64(value) * 1000) }
        let table = histogram.table()
        #expect(table.map(\.share) == table.map(\.share).sorted())
        #expect(table.map(\.microseconds) == table.map(\.microseconds).sorted())
        #expect(table.last?.share == 1 && table.last?.total == 10_000)
        #expect(Histogram().table().isEmpty && Histogram().quantile(0.5) == 0)
    }
}

@Suite struct LoadOptionsTests {
    @Test func timesRatesAndSizes() {
        #expect(LoadOptions.time("90") == 90_000_000_000)
        #expect(LoadOptions.time("1.5m") == 90_000_000_000)
        #expect(LoadOptions.time("500ms") == 500_000_000)
        for text in ["", "s", "-1s", "1e3", "nan", "9999d", "8000h"] { #expect(LoadOptions.time(text) == nil) }
        #expect(LoadOptions.rate("2.5/s") == 2.5)
        for text in ["", "/s", "-1", "inf", "1 000"] { #expect(LoadOptions.rate(text) == nil) }
        #expect(LoadOptions.size("30-2000") == 30...2000)
        #expect(LoadOptions.size("100") == 100...100)
        for text in ["", "-", "2-1", "+5", "1-2-3"] { #expect(LoadOptions.size(text) == nil) }
    }

    @Test func theRateGrowsDuringTheRampAndIsSteadyAfterIt() {
        var options = LoadOptions()
        options.ramp = 10 * second
        let times = (0..<1500).map { options.due($0, rate: 100) }
        #expect(times == times.sorted())
        #expect(times.filter { $0 < 10 * second }.count == 500)
        #expect(times.filter { $0 < 15 * second }.count == 1000)
    }

    @Test func aPictureOfNothingIsAPicture() {
        let figure = Chart(title: "Empty", unit: "ms", across: "seconds", lines: [("p50", [])]).figure
        #expect(figure.contains("p50: none"))
        for value in [0.0, 0.0004, 3, 81, 1e9] { #expect(Chart.round(above: value) >= value) }
        #expect(HTMLReport.text("<script>&\"\u{1b}") == "&lt;script&gt;&amp;&quot; ")
    }

    @Test func aLongRunKeepsSixHundredPoints() {
        var series = Series()
        for number in 1...5000 {
            var point = Series.Point()
            (point.sent, point.seconds, point.at) = (1, 1, Int64(number))
            series.add(point)
        }
        series.finish()
        #expect(series.points.count <= 601)
        #expect(series.points.reduce(0) { $0 + $1.sent } == 5000)
        #expect(series.points.last?.at == 5000)
    }
}
