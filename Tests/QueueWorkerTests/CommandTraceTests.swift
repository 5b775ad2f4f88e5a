import Testing

@testable import ChatCore
@testable import queue_worker

@Suite struct CommandTraceTests {
    private final class Outlet: SpanOutlet, @unchecked Sendable {
        var puts: [[Span]] = []
        var spans: [Span] { puts.flatMap { $0 } }
        func put(_ spans: [Span]) { puts.append(spans) }
    }

    private let outlet = Outlet()
    /// Taken at 1 s of the monotonic clock, stored at 2 s, told at 3 s; it is 4 s now, and 1,000 s of Unix.
    private let times = CommandTrace.Times(begun: 1_000_000_000, stored: 2_000_000_000, told: 3_000_000_000)
    private static let second: Int64 = 1_000_000_000

    private func record(_ parts: [ExecutedBatch], sampler: String = "parentbased_always_on") {
        CommandTrace(
            tracer: Tracer(TraceSampler(sampler, ratio: 1), outlet), unixClock: { 1000 * Self.second },
            monotonicClock: { 4 * Self.second }
        ).record(parts, times)
    }

    private func command(
        _ number: UInt64, _ action: Command.Action = .delete(message: UUID128(high: 1, low: 1)),
        origin: CommandOrigin = .reply(to: "a", correlation: "b"), acceptedAt: Int64 = 990_000
    ) -> Command {
        Command(
            id: UUID128(high: 7, low: number << 1), room: UUID128(high: 8, low: 1), actor: UUID128(high: 9, low: 1),
            origin: origin, acceptedAt: acceptedAt, action: action)
    }

    private func part(_ commands: [Command], seqs: [Int64]? = nil, refusal: ErrorCode? = nil) -> ExecutedBatch {
        ExecutedBatch(
            batch: RoomBatch(limits: ConsumerScene.settings.rooms, now: 0),
            outcomes: commands.map {
                CommandOutcome(
                    command: $0, answer: FrameBody(fieldCount: 0, bytes: []), isInFrame: true, refusal: refusal)
            }, seqs: seqs ?? commands.map { _ in 0 }, storedAt: 0)
    }

    private func text(_ name: String, of span: Span) -> String? {
        span.attributes.first { $0.name == name }.flatMap { if case .text(let text) = $0.value { text } else { nil } }
    }

    private func number(_ name: String, of span: Span) -> Int64? {
        span.attributes.first { $0.name == name }.flatMap { if case .number(let it) = $0.value { it } else { nil } }
    }

    @Test func aCommandHasTheWaitThenTheBatchWithItsParts() {
        let one = command(1)
        record([part([one], seqs: [41])])
        let spans = outlet.spans
        #expect(spans.map(\.name) == ["wait in queue", "process delete", "store", "publish"])
        #expect(spans.map { $0.start / Self.second } == [990, 997, 997, 998])
        #expect(spans.map { $0.end / Self.second } == [997, 999, 998, 999])
        // The two parts are the batch's; the batch is the requester's.
        #expect(spans[2].parent == spans[1].id && spans[3].parent == spans[1].id)
        #expect(spans[1].parent == TraceParent(of: one.id).span && spans[1].isParentRemote)
        #expect(spans.allSatisfy { $0.trace == one.id })
        #expect(number("chat.seq", of: spans[1]) == 41)
    }

    @Test func aCommandOfATraceStaysInIt() {
        var one = command(1)
        one.trace = TraceParent(trace: UUID128(high: 5, low: 5), span: 77, isSampled: true)
        record([part([one])])
        #expect(outlet.spans.allSatisfy { $0.trace == UUID128(high: 5, low: 5) })
        #expect(outlet.spans[1].parent == 77)
        #expect(number("chat.seq", of: outlet.spans[1]) == nil)
    }

    /// It has decided before, for all programs.
    @Test func anotherTracesDecisionCounts() {
        var (wanted, unwanted) = (command(1), command(2))
        wanted.trace = TraceParent(trace: UUID128(high: 5, low: 5), span: 77, isSampled: true)
        unwanted.trace = TraceParent(trace: UUID128(high: 6, low: 6), span: 78, isSampled: false)
        record([part([wanted, unwanted])], sampler: "always_off")
        #expect(outlet.spans.count == 4)
        #expect(outlet.spans.allSatisfy { $0.trace == UUID128(high: 5, low: 5) })
    }

    @Test func withoutASampledCommandNothingIsPut() {
        record([part([command(1)])], sampler: "always_off")
        #expect(outlet.puts.isEmpty)
    }

    @Test func probesHaveNoTrace() {
        record([part([Command.probe(990_000), command(1)])])
        #expect(outlet.spans.count == 4)
    }

    @Test func aProgramsOwnCommandHasNoParent() {
        record([part([command(1, origin: .nobody)])])
        #expect(outlet.spans[0].parent == nil && outlet.spans[1].parent == nil)
        #expect(!outlet.spans[1].isParentRemote)
    }

    @Test func onlyOurOwnFaultsFail() {
        record([part([command(1)], refusal: .notFound)])
        record([part([command(2)], refusal: .internalError)])
        #expect(outlet.spans.map(\.hasFailed) == [false, false, false, false, false, true, false, false])
        #expect(text("error.type", of: outlet.spans[1]) == ErrorCode.notFound.rawValue)
    }

    @Test func aBatchIsPutAtOnceWithItsSize() {
        record([part([command(1), command(2)]), part([command(3)])])
        #expect(outlet.puts.count == 1)
        let counts = outlet.spans.compactMap { number("messaging.batch.message_count", of: $0) }
        #expect(counts == [2, 2, 1])
    }

    /// The requester's clock may be ahead, or its number nonsense.
    @Test(arguments: [Int64.min, -1, 0, 2_000_000_000, .max])
    func aWaitEndsWhereTheBatchBegins(acceptedAt: Int64) {
        record([part([command(1, acceptedAt: acceptedAt)])])
        #expect(outlet.spans[0].end == 997 * Self.second)
        #expect((0...997 * Self.second).contains(outlet.spans[0].start))
    }

    /// Ids and numbers of ours; no text of a user.
    @Test func theTextOfAMessageIsNotInItsTrace() {
        record([part([command(1, .send(MessageDraft(content: "secret words"), receiver: nil))])])
        #expect(!"\(outlet.spans)".contains("secret"))
    }
}
