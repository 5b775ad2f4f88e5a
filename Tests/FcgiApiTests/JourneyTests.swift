import ChatAdapters
import ChatCore
import Testing

@testable import fcgi_api

/// The way of one command, from a trail in memory.
@Suite struct JourneyTests {
    /// Redis' stream: XREVRANGE reads it from its end, a page at a time.
    private final class Stream: RedisCommands {
        var entries: [[UInt8]] = []
        var reads = 0

        func pipeline(_ commands: [[RedisWord]]) throws(RedisError) -> [RedisValue] {
            var values: [RedisValue] = []
            for words in commands { values.append(try command(words)) }
            return values
        }

        func command(_ words: [RedisWord]) throws(RedisError) -> RedisValue {
            reads += 1
            let texts = words.map { String(decoding: $0, as: UTF8.self) }
            #expect(texts[0] == "XREVRANGE" && texts[4] == "COUNT")
            let end = texts[2] == "+" ? entries.count : Int(texts[2].dropFirst().prefix { $0 != "-" })! - 1
            let page = entries.indices.prefix(end).suffix(Int(texts[5])!).reversed()
            return .array(
                page.map {
                    .array([.bytes(Array("\($0 + 1)-0".utf8)), .array([.bytes(Array("s".utf8)), .bytes(entries[$0])])])
                })
        }
    }

    private let stream = Stream()
    private let command = UUID128("0190aaaa-0000-7000-8000-000000000001")!

    private func stored(_ id: UUID128? = nil, seq: Int64 = 41, request: String? = "r-1", refusal: String? = nil) {
        add(
            .stored(
                .init(
                    process: 77, takenAt: 1010, storedAt: 1020,
                    commands: [
                        .init(
                            id: id ?? command, room: kitchen, seq: seq, acceptedAt: 1000, requestID: request,
                            what: "send", refusal: refusal)
                    ])))
    }

    private func add(_ step: TrailStep) { stream.entries.append(step.encode()) }

    private func journey(_ id: String? = nil) throws -> Journey? {
        try Journey(of: id ?? command.description, in: RedisTrail(stream))
    }

    private func steps(_ journey: Journey?) -> [String] {
        (journey?.lines.dropFirst() ?? []).map { line in
            String(line.split(separator: " ", maxSplits: 1)[1]).split(separator: " ").joined(separator: " ")
        }
    }

    @Test func itHasAllStepsInTheOrderOfTheirTimes() throws {
        stored()
        add(.pushed(room: kitchen, seq: 43, devices: 2, at: 1300))
        add(.delivered(relay: 0xa, room: kitchen, first: 40, last: 42, sockets: 3, at: 1040))
        add(.delivered(relay: 0xa, room: kitchen, first: 41, last: 41, sockets: 1, at: 1030))
        add(.pushed(room: kitchen, seq: 50, devices: 9, at: 1400))
        let found = try journey()
        #expect(
            steps(found) == [
                "+0 ms accepted", "+10 ms taken from its queue by process 77, in a batch of 1",
                "+20 ms stored with Seq 41, then published", "+30 ms delivered to 4 sockets by relay a",
                "+300 ms pushed to 2 devices, with all up to Seq 43",
            ])
        #expect(found?.lines.first?.hasPrefix("send \(command) in room \(kitchen), request r-1, traceparent ") == true)
    }

    @Test func otherSeqsAndRoomsAreNotItsOwn() throws {
        stored()
        add(.delivered(relay: 1, room: kitchen, first: 42, last: 45, sockets: 1, at: 1030))
        add(.delivered(relay: 1, room: alice, first: 1, last: 99, sockets: 1, at: 1030))
        add(.pushed(room: kitchen, seq: 40, devices: 1, at: 1030))
        #expect(steps(try journey()).count == 3)
    }

    @Test func aRefusalAndAnAnswerAloneAreSaid() throws {
        stored(seq: 0, refusal: "muted")
        #expect(steps(try journey()).last == "+20 ms refused: muted")
        stored(seq: 0)
        #expect(steps(try journey()).last == "+20 ms answered; it changed nothing")
    }

    /// A message's id, the trace's id in a traceparent, or X-Request-ID.
    @Test(arguments: ["0190AAAA-0000-7000-8000-000000000001", "0190aaaa000070008000000000000001", "r-1"])
    func itIsFoundByEachOfItsIDs(id: String) throws {
        stored()
        stored(UUID128(high: 1, low: 1), request: nil)
        #expect(try journey(id) != nil)
    }

    @Test func whatTheTrailHasLostIsNotFound() throws {
        stored(UUID128(high: 1, low: 1), request: nil)
        stream.entries.append([1, 2, 3])
        #expect(try journey() == nil)
    }

    /// The newest is looked at first, and nothing behind the command's own batch.
    @Test func aLongTrailIsReadPageByPageUntilItIsFound() throws {
        for seq in 1...700 as ClosedRange<Int64> { stored(UUID128(high: 1, low: UInt64(seq)), seq: seq, request: nil) }
        stored()
        for seq in 1...700 as ClosedRange<Int64> { add(.pushed(room: alice, seq: seq, devices: 1, at: 2000)) }
        #expect(try journey() != nil && stream.reads == 2)
        #expect(try journey("nobody") == nil && stream.reads == 5)
    }
}
