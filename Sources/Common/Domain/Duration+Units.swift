extension Duration {
    public var nanoseconds: Int64 { components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000 }

    /// Whole ones, as many as are over.
    public var milliseconds: Int64 { nanoseconds / 1_000_000 }
    public var seconds: Int64 { components.seconds }
    public var days: Int64 { components.seconds / 86_400 }

    public static func days(_ days: Int) -> Duration { .seconds(86_400 * days) }

    /// Nil for a time of zero, where that means that there is no limit.
    public var unlessZero: Duration? { self == .zero ? nil : self }
}
