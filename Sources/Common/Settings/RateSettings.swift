/// The rate limits of one user: actions per minute, over all programs, and the same number as a burst. 0: no limit.
public struct RateSettings: Sendable {
    private let limits: [(kind: RateKind, most: Int)]

    init(_ values: inout SettingsReader) {
        let defaults: [(RateKind, Int)] = [
            (.sends, 60_000), (.seen, 60_000), (.changes, 12_000), (.rooms, 6000), (.invitations, 6000),
            (.searches, 1200), (.reads, 12_000), (.uploads, 12_000), (.connections, 6000),
            (.sessions, 120),
        ]
        limits = defaults.map { kind, most in
            (kind, values.number("RATE_\(kind.rawValue.uppercased())", default: most, in: 0...10_000_000))
        }
    }

    public subscript(kind: RateKind) -> Int { limits.first { $0.kind == kind }?.most ?? 0 }
}
