public struct LogSettings: Sendable {
    /// trace, debug, info, notice, warning, error or critical.
    public var level: String
    /// text or json.
    public var format: String
    /// auto, on or off: whether lines begin with a priority for journald.
    public var priorities: String

    init(_ values: inout SettingsReader) {
        level = values.choice(
            "LOG_LEVEL", ["trace", "debug", "info", "notice", "warning", "error", "critical"], default: "info")
        format = values.choice("LOG_FORMAT", ["text", "json"], default: "text")
        priorities = values.choice("LOG_PRIORITY", ["auto", "on", "off"], default: "auto")
    }
}
