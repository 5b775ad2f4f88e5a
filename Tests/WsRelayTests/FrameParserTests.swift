import Testing

@testable import ws_relay

@Suite struct FrameParserTests {
    private static let limit = 70_000

    /// Every kind of frame, and fragments with control frames between them.
    private static let conversation: [(frames: [UInt8], events: [Seen])] = [
        (ClientFrame.bytes(2, []), [.message(text: false, [])]),
        (ClientFrame.bytes(2, [1, 2, 3]), [.message(text: false, [1, 2, 3])]),
        (ClientFrame.bytes(1, Array("grüß dich €𐍈".utf8)), [.message(text: true, Array("grüß dich €𐍈".utf8))]),
        (ClientFrame.bytes(9, []), [.ping([])]),
        (ClientFrame.bytes(9, [7, 8, 9, 10, 11]), [.ping([7, 8, 9, 10, 11])]),
        (ClientFrame.bytes(10, [1]), [.pong([1])]),
        (ClientFrame.bytes(2, bulk(200)), [.message(text: false, bulk(200))]),
        (
            ClientFrame.bytes(1, [0xE2], final: false) + ClientFrame.bytes(9, [5])
                + ClientFrame.bytes(0, [0x82], final: false) + ClientFrame.bytes(0, [], final: false)
                + ClientFrame.bytes(10, []) + ClientFrame.bytes(0, [0xAC, 0x21]),
            [.ping([5]), .pong([]), .message(text: true, Array("€!".utf8))]
        ),
        (
            ClientFrame.bytes(2, [], final: false) + ClientFrame.bytes(0, []),
            [.message(text: false, [])]
        ),
        (ClientFrame.bytes(8, [0x03, 0xE8] + Array("bye".utf8)), [.close(1000)]),
    ]

    private static func bulk(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7) } }

    @Test func readsEveryFrameCutAtEveryPlace() {
        let all = Self.conversation.flatMap(\.frames)
        let wanted = Self.conversation.flatMap(\.events)
        for cut in 0...all.count {
            var parser = FrameParser(maxMessage: Self.limit)
            let seen = parser.feed(all[..<cut]) + parser.feed(all[cut...])
            #expect(seen == wanted, "cut at \(cut)")
            #expect(parser.isIdle)
        }
    }

    @Test func readsByteByByte() {
        var parser = FrameParser(maxMessage: Self.limit)
        let seen = Self.conversation.flatMap(\.frames).flatMap { parser.feed([$0]) }
        #expect(seen == Self.conversation.flatMap(\.events))
    }

    @Test func readsOnAfterMovingToAnotherProcessAtEveryPlace() throws {
        let all = Self.conversation.flatMap(\.frames)
        for cut in 0...all.count {
            var before = FrameParser(maxMessage: Self.limit)
            var seen = before.feed(all[..<cut])
            var state = StateWriter()
            before.write(to: &state)
            var reader = StateReader(state.bytes)
            var after = try FrameParser(maxMessage: Self.limit, from: &reader)
            #expect(reader.isAtEnd)
            seen += after.feed(all[cut...])
            #expect(seen == Self.conversation.flatMap(\.events), "cut at \(cut)")
        }
    }

    @Test(arguments: [125, 126, 127, 65_535, 65_536, 65_537])
    func readsLengthsAroundEveryForm(count: Int) {
        var parser = FrameParser(maxMessage: Self.limit)
        #expect(parser.feed(ClientFrame.bytes(2, Self.bulk(count))) == [.message(text: false, Self.bulk(count))])
    }

    @Test func aHalfReadFrameIsNotIdle() {
        var parser = FrameParser(maxMessage: Self.limit)
        _ = parser.feed(ClientFrame.bytes(2, [1, 2]).dropLast())
        #expect(!parser.isIdle)
        _ = parser.feed([0])
        #expect(parser.isIdle)
        _ = parser.feed(ClientFrame.bytes(2, [1], final: false))
        #expect(!parser.isIdle)
    }

    struct Wrong: Sendable, CustomStringConvertible {
        let description: String
        let frames: [UInt8]
        let code: CloseCode
    }

    private static let violations: [Wrong] = [
        .init(description: "unmasked", frames: ClientFrame.bytes(2, [1], mask: nil), code: .protocolError),
        .init(description: "RSV1", frames: ClientFrame.bytes(2, [1], reserved: 0x40), code: .protocolError),
        .init(description: "RSV2", frames: ClientFrame.bytes(2, [1], reserved: 0x20), code: .protocolError),
        .init(description: "RSV3", frames: ClientFrame.bytes(2, [1], reserved: 0x10), code: .protocolError),
        .init(description: "opcode 3", frames: ClientFrame.bytes(3, []), code: .protocolError),
        .init(description: "opcode 7", frames: ClientFrame.bytes(7, []), code: .protocolError),
        .init(description: "opcode 11", frames: ClientFrame.bytes(11, []), code: .protocolError),
        .init(description: "opcode 15", frames: ClientFrame.bytes(15, []), code: .protocolError),
        .init(description: "long ping", frames: ClientFrame.bytes(9, bulk(126)), code: .protocolError),
        .init(description: "fragmented ping", frames: ClientFrame.bytes(9, [], final: false), code: .protocolError),
        .init(description: "stray continuation", frames: ClientFrame.bytes(0, [1]), code: .protocolError),
        .init(
            description: "a message inside a message",
            frames: ClientFrame.bytes(2, [1], final: false) + ClientFrame.bytes(2, [1]), code: .protocolError),
        .init(description: "5 in 16 bits", frames: ClientFrame.bytes(2, bulk(5), lengthForm: 2), code: .protocolError),
        .init(
            description: "300 in 64 bits", frames: ClientFrame.bytes(2, bulk(300), lengthForm: 8), code: .protocolError),
        .init(
            description: "negative length", frames: [0x82, 0xFF] + Array(repeating: 0xFF, count: 8) + [0, 0, 0, 0],
            code: .protocolError),
        .init(description: "too long", frames: ClientFrame.bytes(2, bulk(limit + 1)), code: .messageTooBig),
        .init(
            description: "claims 8 EiB", frames: [0x82, 0xFF, 0x7F] + Array(repeating: 0xFF, count: 7) + [0, 0, 0, 0],
            code: .messageTooBig),
        .init(
            description: "too long in pieces",
            frames: ClientFrame.bytes(2, bulk(limit), final: false) + ClientFrame.bytes(0, [1]), code: .messageTooBig),
        .init(description: "bad text", frames: ClientFrame.bytes(1, [0x61, 0xFF]), code: .invalidText),
        .init(description: "text ends early", frames: ClientFrame.bytes(1, [0xE2, 0x82]), code: .invalidText),
        .init(
            description: "bad text in an early piece",
            frames: ClientFrame.bytes(1, [0xC0], final: false), code: .invalidText),
        .init(description: "close of one byte", frames: ClientFrame.bytes(8, [3]), code: .protocolError),
        .init(description: "close 999", frames: ClientFrame.bytes(8, [0x03, 0xE7]), code: .protocolError),
        .init(description: "close 1005", frames: ClientFrame.bytes(8, [0x03, 0xED]), code: .protocolError),
        .init(description: "close 5000", frames: ClientFrame.bytes(8, [0x13, 0x88]), code: .protocolError),
        .init(description: "close, bad reason", frames: ClientFrame.bytes(8, [0x03, 0xE8, 0xFF]), code: .invalidText),
    ]

    @Test(arguments: violations)
    func closesOn(wrong: Wrong) {
        var whole = FrameParser(maxMessage: Self.limit)
        #expect(whole.feed(wrong.frames).last == .violation(wrong.code))
        var slow = FrameParser(maxMessage: Self.limit)
        let first = wrong.frames.lazy.map { slow.feed([$0]) }.first { !$0.isEmpty }
        #expect(first == [.violation(wrong.code)])
    }

    @Test func anEmptyCloseHasNoCode() {
        var parser = FrameParser(maxMessage: Self.limit)
        #expect(parser.feed(ClientFrame.bytes(8, [])) == [.close(nil)])
    }

    @Test func bytesOfNoMeaningNeverTrapOrGrow() {
        for seed in 0..<2_000 {
            var random = SplitMix(seed: UInt64(seed))
            var parser = FrameParser(maxMessage: 1_000)
            var failed = false
            for _ in 0..<20 where !failed {
                let noise = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                let chunk = Bool.random(using: &random) ? noise : Self.mutated(&random)
                failed = parser.feed(chunk).contains { if case .violation = $0 { true } else { false } }
                #expect(parser.message.count <= 1_000 && parser.control.count <= 125)
            }
        }
    }

    /// A valid frame with one changed bit reaches deeper code than random bytes.
    private static func mutated(_ random: inout SplitMix) -> [UInt8] {
        let opcode = ([0, 1, 2, 8, 9, 10] as [UInt8]).randomElement(using: &random)!
        var frame = ClientFrame.bytes(
            opcode, bulk(Int.random(in: 0...300, using: &random)), final: Bool.random(using: &random))
        frame[Int.random(in: 0..<frame.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
        return frame
    }
}

/// A random source whose seed names the failing case.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
