/// What looks into pictures, films and sounds: programs that were not written to be fed by strangers, so they run in
/// processes of their own with little memory and time.
public protocol MediaTools: AnyObject {
    /// - Parameter file: its path; it is changed where it says where it was taken.
    /// - Returns: nil for what no picture is.
    func describe(picture file: String) -> PictureDescription?
    /// Milliseconds; nil when it cannot be told.
    func duration(of file: String) -> Int?
}

public struct PictureDescription {
    public var media: FileMedia
    /// The path of a small JPEG.
    public var thumbnail: String
    /// The picture said where it was taken, and does so no more.
    public var hasLostLocation: Bool

    public init(media: FileMedia, thumbnail: String, hasLostLocation: Bool) {
        self.media = media
        self.thumbnail = thumbnail
        self.hasLostLocation = hasLostLocation
    }
}

/// Complete files that were not looked at yet.
public protocol FileJobs: AnyObject {
    func next(limit: Int) throws(StoreError) -> [Message]
    func done(_ message: UUID128) throws(StoreError)
}
