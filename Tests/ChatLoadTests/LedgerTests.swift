import ChatCore
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
        _ = stream.take(Ledger.seqs.upperBound, isResponse: false)
        _ = stream.take(Ledger.seqs.lowerBound, isResponse: true)
        #expect(stream.missing > 1 << 52)
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
        for end in ["", "0000000g", "-0000001", "+0000001", "0000000A", "00000001a", "\u{663}\u{663}\u{663}\u{663}"] {
            #expect(ledger.number(of: "load-0a0b0c0d-\(end)") == nil)
        }
        #expect(ledger.number(of: "load-0a0b0c0e-00000001") == nil)
        #expect(ledger.number(of: "load-0a0b0c0d-ffffffff") == Int(UInt32.max))
    }

    @Test func countsOfBreachesEndAtTheGreatestNumber() {
        var ledger = ledger()
        for _ in 0..<3 { ledger.report(.hole, "much", times: .max) }
        #expect(ledger.breaches == [.hole: .max])
    }

    @Test func theLastPossibleSeqGrowsWithTheRunAndEndsWhereSeqsEnd() {
        var ledger = ledger()
        #expect(ledger.lastPossible(0) == 1 + Ledger.slack)
        _ = ledger.open(room: 0, sender: 0, due: 0)
        #expect(ledger.lastPossible(0) == 2 + Ledger.slack)
        ledger.rooms[0].base = Ledger.seqs.upperBound
        let number = ledger.open(room: 0, sender: 0, due: 0)
        _ = ledger.copy(number, room: 0, seq: .max)
        #expect(ledger.lastPossible(0) == Ledger.seqs.upperBound && ledger.breaches[.altered] == 1)
    }
}

@Suite struct FrameScanTests {
    /// A frame as ws-relay writes it, whose Seq has these bytes.
    private func scan(_ type: String, _ seq: [UInt8], _ text: String, _ more: [UInt8] = []) -> (
        seq: Int64?, number: Int?, isFailure: Bool
    ) {
        func string(_ text: String) -> [UInt8] {
            [text.utf8.count < 32 ? 0xa0 | UInt8(text.utf8.count) : 0xd9]
                + (text.utf8.count < 32 ? [] : [UInt8(text.utf8.count)]) + Array(text.utf8)
        }
        let bytes =
            [0x85] + string("Type") + string(type) + more + string("Content") + string(text) + string("RoomID")
            + string(String(repeating: "r", count: 36)) + string("Seq") + seq
        return bytes.withUnsafeBytes {
            let scan = FrameScan($0)
            return (scan.seq, scan.number(after: Array("load-1-".utf8)), scan.isFailure)
        }
    }

    @Test func aSeqOfAnySizeIsANumber() {
        let most = [UInt8](repeating: 0xff, count: 8)
        #expect(scan("new_message", [0xcf] + most, "x").seq == .max)
        #expect(scan("new_message", [0xcf, 0x80] + most.dropFirst(), "x").seq == .max)
        #expect(scan("new_message", [0xce] + most.prefix(4), "x").seq == Int64(UInt32.max))
        #expect(scan("new_message", [7], "x").seq == 7)
        // A negative one is read by the decoder.
        #expect(scan("new_message", [0xff], "x").seq == nil)
    }

    @Test func aNumberIsEightDigitsInsideOfTheFrame() {
        #expect(scan("new_message", [7], "load-1-0000001f...").number == 31)
        for text in ["load-1--0000001", "load-1-+0000001", "load-1-0000001F", "load-1-000001", "load-1-"] {
            #expect(scan("new_message", [7], text).number == nil)
        }
        #expect(FrameScan.eightDigits("12345678".utf8) == 0x1234_5678)
        #expect(FrameScan.eightDigits("123456789".utf8) == nil && FrameScan.eightDigits("1234567".utf8) == nil)
    }

    @Test func aRefusalIsOneWhateverElseIsInIt() {
        let failure = [0xa7] + Array("Success".utf8) + [0xc2]
        #expect(scan("response", [7], "load-1-00000001", failure).isFailure)
        #expect(!scan("response", [7], "load-1-00000001", failure.dropLast() + [0xc3]).isFailure)
        #expect(!scan("response", [7], "load-1-00000001 Success").isFailure)
    }
}

@Suite struct BoundsTests {
    @Test func aPauseIsShortWhateverTheServerAsks() {
        #expect(Pause.asked(nil) == nil && Pause.asked(.null) == nil)
        for wait in [Int64.min, -1, 0, 1] { #expect(Pause.asked(.int(wait)) == 50) }
        #expect(Pause.asked(.int(700)) == 700 && Pause.asked(.double(700.5)) == 700)
        #expect(Pause.asked(.int(.max)) == 60_000 && Pause.asked(.double(1e300)) == 60_000)
        #expect(Pause.asked(.double(.infinity)) == 60_000 && Pause.asked(.double(-1e300)) == 50)
        for strange in [WireValue.double(.nan), .string("soon"), .array([]), .bool(true)] {
            #expect(Pause.asked(strange) == 1000)
        }
        #expect(Pause.asked(seconds: .min) == 50 && Pause.asked(seconds: .max) == 60_000)
        #expect(Pause.asked(seconds: 3) == 3000 && Pause.asked(seconds: nil) == nil)
    }

    @Test func textsOfAServerAreFewAndShort() {
        var tally = Tally()
        for number in 0..<1000 { tally.count("\(number) \(String(repeating: "x", count: 5000))") }
        #expect(tally.total == 1000 && tally.counts.count == Tally.maxTexts + 1)
        #expect(tally.counts[Tally.others] == 1000 - Tally.maxTexts)
        #expect(tally.counts.keys.allSatisfy { $0.utf8.count <= Tally.longest })
        var one = Tally()
        one.count("\u{1b}[2J\u{202e}a\n")
        #expect(one.counts == ["?[2J?a?": 1])
        #expect(errorCode("busy: later") == "busy" && errorCode("busy") == "busy" && errorCode("") == "")
    }

    @Test func timersComeInTheirOrder() {
        var timers = Timers<Int>()
        var chance = Chance(seed: 7)
        let times = (0..<500).map { _ in Int.random(in: 0..<1000, using: &chance) }
        for time in times { timers.add(at: Int64(time), time) }
        #expect(timers.take(until: -1) == nil)
        var found: [Int] = []
        while let next = timers.take(until: 600) { found.append(next) }
        #expect(found == times.filter { $0 <= 600 }.sorted())
        #expect(timers.next == times.filter { $0 > 600 }.min().map(Int64.init))
        #expect(timers.count == times.count - found.count)
    }

    @Test func aSeqOfAServerIsANumberOrNothing() {
        #expect(WireValue.int(5).seq == 5 && WireValue.double(5).seq == 5)
        #expect(WireValue.double(1e300).seq == .max && WireValue.double(-1e300).seq == .min)
        for strange in [WireValue.double(1.5), .double(.nan), .double(.infinity), .string("5"), .null] {
            #expect(strange.seq == nil)
        }
    }

    @Test func anIDMayStandInAnAddress() {
        #expect(isID("98128064-c68e-45fb-8385-fd25e788a167"))
        for text in [
            "", "98128064-c68e-45fb-8385-fd25e788a16", "98128064-c68e-45fb-8385-fd25e788a16/",
            "98128064-C68E-45fb-8385-fd25e788a167", "98128064-c68e-45fb-8385-fd25e788a16\u{301}",
        ] {
            #expect(!isID(text))
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

    @Test func aRateOfNothingIsNeverDueAndNoTimeOverflows() {
        var options = LoadOptions()
        for ramp in [0, 5 * second] {
            options.ramp = ramp
            for rate in [0, -1, .nan, 1e-7, 1e-300, .leastNonzeroMagnitude, 1_000_000, .infinity] {
                for number in [0, 1, 1000, .max] {
                    let due = options.due(number, rate: rate)
                    #expect((0...LoadOptions.never).contains(due))
                    #expect(!monotonic().addingReportingOverflow(due).overflow)
                }
            }
            #expect(options.due(0, rate: 0) == LoadOptions.never && options.due(3, rate: 1e-12) == LoadOptions.never)
        }
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
