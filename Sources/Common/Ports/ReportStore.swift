/// Reports and their queue. A report takes no Seq: it is no part of its room's order.
public protocol ReportStore: AnyObject {
    /// Everything on which a report of the message depends; nil when the user may not see the message.
    func ground(ofMessage message: UUID128, for reporter: UUID128) throws(StoreError) -> ReportGround?
    /// The same for a report of a user; nil when the two share no room.
    func ground(ofUser user: UUID128, for reporter: UUID128) throws(StoreError) -> ReportGround?
    /// Stores a reporter's own change, and its event in the same transaction.
    ///
    /// - Returns: false when the ground has changed since it was read, and nothing was stored: another change of the report,
    ///   of the message that ``ReportChange/copies`` names, or too many open reports.
    func put(_ change: ReportChange) throws(StoreError) -> Bool
    /// Stores a moderator's step. Old closed reports are removed with each of these two.
    ///
    /// - Returns: false when the report has changed since the version before this one.
    func settle(_ report: Report) throws(StoreError) -> Bool
    /// The reports of a room's messages, oldest first, except those of `user`; nil when `user` is neither OWNER nor ADMIN.
    func reports(in room: UUID128, for user: UUID128, _ page: ReportPage) throws(StoreError) -> [ReportView]?
    func report(_ id: UUID128, in room: UUID128, for user: UUID128) throws(StoreError) -> ReportView?
    /// All reports, for the host application.
    func reports(_ page: ReportPage) throws(StoreError) -> [ReportView]
    func report(_ id: UUID128) throws(StoreError) -> ReportView?
}

public struct ReportGround: Sendable, Equatable {
    public var subject: ReportSubject
    public var reporterExternalID: String?
    /// The message was deleted: it has no content any more.
    public var isDeleted: Bool
    /// A message of the room itself.
    public var isSystem: Bool
    /// The reporter's report of the same subject.
    public var earlier: Report?
    /// The reporter's reports that are not closed, counted up to ``RequestLimit/openReports``.
    public var openCount: Int

    public init(
        subject: ReportSubject, reporterExternalID: String? = nil, isDeleted: Bool = false, isSystem: Bool = false,
        earlier: Report? = nil, openCount: Int = 0
    ) {
        self.subject = subject
        self.reporterExternalID = reporterExternalID
        self.isDeleted = isDeleted
        self.isSystem = isSystem
        self.earlier = earlier
        self.openCount = openCount
    }
}

/// A change that a reporter makes.
public struct ReportChange: Sendable, Equatable {
    public var report: Report
    /// It has the message's present content, which must not have changed meanwhile.
    public var copies: Bool
    /// nil: the host application is not told.
    public var event: HookEvent?

    public init(report: Report, copies: Bool, event: HookEvent?) {
        self.report = report
        self.copies = copies
        self.event = event
    }

    /// It adds an open report to those of its reporter.
    public var opens: Bool { event != nil }
}

public struct ReportPage: Sendable, Equatable {
    public var state: ReportState
    /// The last report of the previous page.
    public var after: UUID128?
    public var limit: Int

    public init(state: ReportState, after: UUID128? = nil, limit: Int) {
        self.state = state
        self.after = after
        self.limit = limit
    }
}

/// A report as one kind of reader sees it.
public struct ReportView: WireShape, Sendable, Equatable {
    public enum Reader: Sendable, Equatable {
        case reporter
        case host
        /// - Parameter hidesReporter: the reported user manages the room, or did so at the time of the report.
        case room(hidesReporter: Bool)
    }

    public var report: Report
    public var reader: Reader

    public init(_ report: Report, for reader: Reader) {
        self.report = report
        self.reader = reader
    }

    public func write<W: WireWriter>(to writer: inout W) {
        let subject = report.subject
        writer.map {
            $0.field("ID", report.id)
            $0.field("RoomID", subject.room) { $0.uuid($1) }
            $0.field("MessageID", subject.message) { $0.uuid($1) }
            $0.field("ReportedID", subject.user)
            $0.field("ReportedExternalID", subject.externalID)
            $0.field("Reason", report.reason.name)
            $0.field("Text", report.text)
            $0.field("State", report.state.name)
            $0.field("CreatedAt", time: report.createdAt)
            $0.field("UpdatedAt", time: report.updatedAt)
            if reader != .reporter { writeRest(to: &$0) }
        }
    }

    /// The fields that only moderators see.
    private func writeRest<W: WireWriter>(to writer: inout W) {
        let isHidden = reader == .room(hidesReporter: true)
        writer.field("ReporterID", isHidden ? nil : report.reporter) { $0.uuid($1) }
        writer.field("ReporterExternalID", isHidden ? nil : report.reporterExternalID)
        writer.field("Content", report.subject.content)
        writer.field("FileName", report.subject.fileName)
        writer.field("ChangeSeq", report.subject.changeSeq)
        writer.field("Version", report.version)
        writer.field("Note", report.note)
        writer.field("HandledAt", time: report.handledAt)
        switch report.handler {
        case .user(let user)?: writer.field("HandledBy", user)
        default: writer.field("HandledBy", nil as String?)
        }
        guard reader == .host else { return }
        if case .host(let key)? = report.handler {
            writer.field("HandledKey", key)
        } else {
            writer.field("HandledKey", nil as String?)
        }
    }
}
