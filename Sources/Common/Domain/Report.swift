/// The raw value is the stored number.
public enum ReportReason: Int16, Sendable, NamedCase {
    case spam = 1
    case abuse, violence, sexual, illegal, other

    /// The name on the wire.
    public var name: String { "\(self)" }
}

/// The raw value is the stored number.
public enum ReportState: Int16, Sendable, NamedCase {
    case open = 1
    case reviewing, resolved, dismissed

    /// The name on the wire.
    public var name: String { "\(self)" }

    public var isClosed: Bool { self == .resolved || self == .dismissed }

    /// A moderator's steps: a report is taken, given back, closed, and opened again.
    public func mayBecome(_ next: ReportState) -> Bool { next != self && (!isClosed || next == .open) }
}

/// The message or the user that is reported.
public struct ReportSubject: Sendable, Equatable {
    /// The user, or the message's sender.
    public var user: UUID128
    /// The host's own id of the user.
    public var externalID: String?
    /// nil: a report of a user.
    public var room: UUID128?
    public var message: UUID128?
    /// The message's content at that time, for it may be changed and deleted later; nil: erased.
    public var content: String?
    public var fileName: String?
    /// The message's `ChangeSeq` then.
    public var changeSeq: Int64?
    /// The user was OWNER or ADMIN of the room then.
    public var isAdmin: Bool

    public init(
        user: UUID128, externalID: String? = nil, room: UUID128? = nil, message: UUID128? = nil,
        content: String? = nil, fileName: String? = nil, changeSeq: Int64? = nil, isAdmin: Bool = false
    ) {
        self.user = user
        self.externalID = externalID
        self.room = room
        self.message = message
        self.content = content
        self.fileName = fileName
        self.changeSeq = changeSeq
        self.isAdmin = isAdmin
    }
}

/// The moderator of a report's last step.
public enum ReportHandler: Sendable, Equatable {
    case user(UUID128)
    /// The host application, by the key of this name.
    case host(key: String)
}

/// A user's report, as it is stored. Times are Unix milliseconds.
public struct Report: Sendable, Equatable {
    public var id: UUID128
    public var subject: ReportSubject
    public var reporter: UUID128
    /// The host's own id of the reporter.
    public var reporterExternalID: String?
    public var reason: ReportReason
    public var text: String
    public var state: ReportState
    /// The moderators' own words.
    public var note: String
    public var handler: ReportHandler?
    public var handledAt: Int64?
    /// 1 for a new report; each change counts.
    public var version: Int
    public var createdAt: Int64
    public var updatedAt: Int64

    public init(
        id: UUID128, subject: ReportSubject, reporter: UUID128, reporterExternalID: String? = nil,
        reason: ReportReason, text: String, state: ReportState = .open, note: String = "",
        handler: ReportHandler? = nil, handledAt: Int64? = nil, version: Int = 1, createdAt: Int64,
        updatedAt: Int64? = nil
    ) {
        self.id = id
        self.subject = subject
        self.reporter = reporter
        self.reporterExternalID = reporterExternalID
        self.reason = reason
        self.text = text
        self.state = state
        self.note = note
        self.handler = handler
        self.handledAt = handledAt
        self.version = version
        self.createdAt = createdAt
        self.updatedAt = updatedAt ?? createdAt
    }
}
