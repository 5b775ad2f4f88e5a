/// Decides which traces are recorded, by `OTEL_TRACES_SAMPLER`. All programs decide alike: the answer depends only on
/// the trace's id and its parent.
public struct TraceSampler: Sendable, Equatable {
    /// The names of OpenTelemetry.
    public static let names = [
        "always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off",
        "parentbased_traceidratio",
    ]

    /// Traces whose last 56 bits are below this are not recorded. W3C asks these bits to be random, and a UUIDv7's are.
    private let threshold: UInt64
    private let followsParent: Bool

    /// - Parameters:
    ///   - name: one of ``names``.
    ///   - ratio: from 0 to 1; for the samplers that have one.
    public init(_ name: String, ratio: Double) {
        let words = name.utf8
        followsParent = words.starts(with: "parentbased_".utf8)
        let share = name.contains("always_off") ? 0 : name.contains("traceidratio") ? min(max(ratio, 0), 1) : 1
        threshold = UInt64((1 - share) * Double(1 << 56))
    }

    /// - Parameter parent: whether the parent is recorded; nil: there is none.
    public func records(_ trace: UUID128, parent: Bool? = nil) -> Bool {
        if followsParent, let parent { return parent }
        return trace.low & (1 << 56 - 1) >= threshold
    }
}
