/// The record of requests that the host application makes with its keys.
public struct AuditSettings: Sendable {
    /// How long entries are kept.
    public var keepsFor: Duration
    /// Also requests that change nothing.
    public var keepsReads: Bool

    init(_ values: inout SettingsReader) {
        keepsFor = values.days("AUDIT_DAYS", default: 365, in: 1...36_500)
        keepsReads = values.choice("AUDIT_READS", ["no", "yes"], default: "no") == "yes"
    }
}
