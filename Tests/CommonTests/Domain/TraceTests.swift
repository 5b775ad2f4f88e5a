import ChatCore
import Testing

@Suite struct TraceTests {
    private static let trace = String(repeating: "ab", count: 16)

    @Test func aTraceParentIsReadAsTheStandardWants() throws {
        let place = try #require(TraceParent("00-\(Self.trace)-00000000000000cd-01"))
        #expect(place.span == 0xcd && place.isSampled && "\(place)" == "00-\(Self.trace)-00000000000000cd-01")
        #expect(TraceParent("00-\(Self.trace)-00000000000000cd-00")?.isSampled == false)
        // A later version: more flags, and more fields.
        #expect(TraceParent("cc-\(Self.trace)-00000000000000cd-ff-what-will-be")?.isSampled == true)
    }

    @Test(arguments: [
        "", "00", "00-\(trace)-00000000000000cd-0", "00-\(trace)-00000000000000cd-01-more",
        "00-\(trace)-0000000000000000-01", "00-00000000000000000000000000000000-00000000000000cd-01",
        "ff-\(trace)-00000000000000cd-01", "00-\(trace.uppercased())-00000000000000cd-01",
        "cc-\(trace)-00000000000000cd-01x", "00_\(trace)_00000000000000cd_01", "00-\(trace)-00000000000000cg-01",
        "00-\(trace)-00000000000000c\u{301}-01",
    ])
    func aMalformedOneIsNone(_ text: String) { #expect(TraceParent(text) == nil) }

    @Test func theSamplerDecidesByTheLast56BitsAndTheParent() {
        func records(_ name: String, _ ratio: Double = 1, _ low: UInt64 = 1, parent: Bool? = nil) -> Bool {
            TraceSampler(name, ratio: ratio).records(UUID128(high: 1, low: low), parent: parent)
        }
        #expect(records("always_on") && records("always_on", parent: false) && records("always_on", 0))
        #expect(!records("always_off") && !records("always_off", parent: true))
        #expect(records("parentbased_always_off", parent: true) && !records("parentbased_always_on", parent: false))
        #expect(!records("parentbased_always_off") && records("parentbased_always_on"))
        #expect(
            !records("traceidratio", 0.5, 0xff7f_ffff_ffff_ffff) && records("traceidratio", 0.5, 0x80_0000_0000_0000))
        #expect(!records("traceidratio", 0, .max) && records("traceidratio", 1, 0))
        #expect(records("parentbased_traceidratio", 0, 0, parent: true))
        // Of our own ids too the share is right.
        let ours = (0..<4000).count { _ in
            TraceSampler("traceidratio", ratio: 0.25).records(.v7(at: 1_700_000_000_000))
        }
        #expect((800...1200).contains(ours))
    }

    @Test func aCommandCarriesAnothersTrace() throws {
        var command = Command(
            id: UUID128(high: 1, low: 2), room: UUID128(high: 3, low: 4), actor: UUID128(high: 5, low: 6), sign: "s",
            acceptedAt: 7, names: [UUID128(high: 8, low: 9): "n"], action: .seen(seq: 1))
        command.trace = TraceParent(trace: UUID128(high: .max, low: 1), span: .max, isSampled: false)
        #expect(try Command.decodeAll(command.joinedAlone) == [command])
        command.digest = UUID128(high: 1, low: 1)
        #expect(try Command.decodeAll(command.joinedAlone) == [command])
        // Programs before this one read 14 fields, the last a digest, and take no null for one.
        command.digest = nil
        let fields = try #require(try MessagePackReader.decode(command.encode()).array)
        #expect(fields.count == 15 && fields[13] == .binary([UInt8](repeating: 0, count: 16)))
        command.trace = nil
        #expect(try MessagePackReader.decode(command.encode()).array?.count == 13)
    }
}
