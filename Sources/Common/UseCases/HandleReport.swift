/// A moderator's decision about a report.
public struct ReportStep: Sendable, Equatable {
    public var state: ReportState
    /// nil: the note stays.
    public var note: String?
    /// The state that the moderator has seen.
    public var expected: ReportState
    /// The version that the moderator has seen; nil: any with that state.
    public var version: Int?

    public init(state: ReportState, note: String? = nil, expected: ReportState, version: Int? = nil) {
        self.state = state
        self.note = note
        self.expected = expected
        self.version = version
    }
}

public enum HandleReport {
    /// - Returns: the report after the step.
    public static func take(
        _ step: ReportStep, of report: Report, by handler: ReportHandler, at now: Int64
    ) throws(Refusal) -> Report {
        guard report.state == step.expected else {
            throw Refusal(
                .conflict, "the report is \(report.state.name) by now: read it again", field: "ExpectedState")
        }
        guard step.version == nil || step.version == report.version else {
            throw Refusal(.conflict, "the report has changed by now: read it again", field: "Version")
        }
        guard report.state.mayBecome(step.state) else {
            throw Refusal(
                .conflict, "a report that is \(report.state.name) cannot become \(step.state.name)", field: "State")
        }
        var report = report
        report.state = step.state
        report.note = step.note ?? report.note
        (report.handler, report.handledAt, report.updatedAt) = (handler, now, now)
        report.version += 1
        return report
    }
}
