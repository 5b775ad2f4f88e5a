/// The limits of a client's request; the protocol fixes them.
public enum RequestLimit {
    /// Bytes of `Content`.
    public static let content = 16 * 1024
    /// Bytes of `Sign` and `Idempotency-Key`.
    public static let sign = 64
    /// Bytes of a file's name: the limit of file systems and S3 consoles.
    public static let fileName = 255
    /// Bytes of a reaction: the longest emoji sequences in use have 35.
    public static let reaction = 64
    /// Different emoji on one message; this bounds the row's size.
    public static let reactions = 50
    public static let roomName = 128
    public static let userName = 128
    public static let roomDescription = 1024
    public static let avatar = 1024
    /// Bytes of a form's `Redirect`, and of tus' `Upload-Metadata`: answers repeat them in a header.
    public static let redirect = 2048
    public static let uploadMetadata = 2048
    /// Members of one room: a frame counts them in two bytes.
    public static let roomMembers = 65_535
    /// Of `MaxUses`.
    public static let invitationUses = 1_000_000
    /// Bytes of a report's `Text`, and of a moderator's `Note`.
    public static let reportText = 1000
    /// Reports of one user that are not closed.
    public static let openReports = 100
    /// Of `SlowModeSeconds`: six hours.
    public static let slowMode = 21_600
    /// Rooms in one `resume`.
    public static let resumeRooms = 1000
}
