/// A user reports a message or another user, once: a repeat changes the report.
public enum ReportContent {
    /// - Returns: nil when the same report is stored already.
    public static func change(
        _ ground: ReportGround, by reporter: UUID128, reason: ReportReason, text: String, id: UUID128, at now: Int64
    ) throws(Refusal) -> ReportChange? {
        guard ground.subject.user != reporter else { throw Refusal(.conflict, "you cannot report yourself") }
        guard !ground.isSystem else { throw Refusal(.conflict, "a message of the room itself cannot be reported") }
        if let earlier = ground.earlier { return try again(earlier, ground, reason, text, now) }
        guard !ground.isDeleted else { throw Refusal(.gone, "the message was deleted") }
        try refuseTooMany(ground)
        let report = Report(
            id: id, subject: ground.subject, reporter: reporter, reporterExternalID: ground.reporterExternalID,
            reason: reason, text: text, createdAt: now)
        return ReportChange(report: report, copies: true, event: event("report.created", report))
    }

    /// An open report keeps its copy, which may be the only evidence after an edit. A closed one is opened again, with
    /// a new copy, if anything is new: a retry must not open it.
    private static func again(
        _ earlier: Report, _ ground: ReportGround, _ reason: ReportReason, _ text: String, _ now: Int64
    ) throws(Refusal) -> ReportChange? {
        var report = earlier
        let reopens = earlier.state.isClosed
        if reopens, !ground.isDeleted { report.subject = ground.subject }
        report.subject.isAdmin = earlier.subject.isAdmin || ground.subject.isAdmin
        let isSame =
            earlier.reason == reason && areSameBytes(earlier.text, text)
            && areSame(earlier.subject.content, report.subject.content)
            && areSame(earlier.subject.fileName, report.subject.fileName)
        guard !isSame else { return nil }
        if reopens {
            try refuseTooMany(ground)
            report.state = .open
        }
        (report.reason, report.text, report.updatedAt) = (reason, text, now)
        report.version += 1
        return ReportChange(
            report: report, copies: reopens && !ground.isDeleted,
            event: reopens ? event("report.reopened", report) : nil)
    }

    private static func refuseTooMany(_ ground: ReportGround) throws(Refusal) {
        guard ground.openCount < RequestLimit.openReports else {
            throw Refusal(
                .conflict, "\(RequestLimit.openReports) of your reports are open, which is the limit")
        }
    }

    private static func areSame(_ one: String?, _ other: String?) -> Bool {
        guard let one, let other else { return one == nil && other == nil }
        return areSameBytes(one, other)
    }

    /// Its ID is that of the report with its version: a report has no Seq.
    private static func event(_ name: String, _ report: Report) -> HookEvent {
        let key = HookKey(room: report.id, seq: Int64(report.version))
        return HookEvent(name, key, at: report.updatedAt, room: report.subject.room, seq: nil) {
            ReportView(report, for: .host).write(to: &$0)
        }
    }
}
