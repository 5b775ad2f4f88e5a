/// What looks into pictures, films and sounds: programs that were not written to be fed by strangers, so they run in
/// processes of their own with little memory and time.
public protocol MediaTools: AnyObject {
    /// - Parameter file: its path; where it says where it was taken, it is changed, whether it can be shown or not.
    func describe(picture file: String) -> PictureDescription
    /// Milliseconds; nil when it cannot be told.
    func duration(of file: String) -> Int?
}

public struct PictureDescription {
    /// Nil for what no picture is, or is none that can be shown.
    public var media: FileMedia?
    /// The path of a small JPEG; nil: it has too many pixels to be looked at, or cannot be shown.
    public var thumbnail: String?
    /// The picture said where it was taken, and does so no more.
    public var hasLostLocation: Bool

    public init(media: FileMedia? = nil, thumbnail: String? = nil, hasLostLocation: Bool) {
        self.media = media
        self.thumbnail = thumbnail
        self.hasLostLocation = hasLostLocation
    }
}

/// Complete files that were not looked at yet.
public protocol FileJobs: AnyObject {
    /// Of each owner behind `owner`, in the order of their ids, the file that waits longest: so that whoever sends many
    /// files waits for them, and nobody else does.
    func next(after owner: UUID128, limit: Int) throws(StoreError) -> [Message]
    func done(_ message: UUID128) throws(StoreError)
}
