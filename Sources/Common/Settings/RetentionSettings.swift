/// How long messages are kept, by the kind of room, and how long deleted rooms are kept; nil: forever.
public struct RetentionSettings: Sendable {
    public let times: [(type: RoomType, time: Duration?)]
    public let deletedTime: Duration?
    /// How long closed reports are kept.
    public let reportTime: Duration

    init(_ values: inout SettingsReader) {
        times = RoomType.allCases.map { type in
            (type, values.days("RETENTION_\(type.name)_DAYS", default: 0, in: 0...36_500).unlessZero)
        }
        deletedTime = values.days("RETENTION_DELETED_DAYS", default: 0, in: 0...36_500).unlessZero
        reportTime = values.days("REPORT_DAYS", default: 365, in: 1...36_500)
    }

    public var isOn: Bool { deletedTime != nil || times.contains { $0.time != nil } }
}
