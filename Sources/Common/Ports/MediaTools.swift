/// Programs that inspect pictures, video and audio. They were not written for untrusted input, so they run in processes
/// of their own with little memory and time.
public protocol MediaTools: AnyObject {
    /// - Parameter file: its path. A file with a location in it is rewritten, whether it can be displayed or not.
    func describe(picture file: String) -> PictureDescription
    /// Milliseconds; nil when unknown.
    func duration(of file: String) -> Int?
}

public struct PictureDescription {
    /// Nil when this is not a picture that can be displayed.
    public var media: FileMedia?
    /// The path of a small JPEG; nil when the picture has too many pixels or cannot be displayed.
    public var thumbnail: String?
    /// The picture contained a location, which was removed.
    public var hasLostLocation: Bool

    public init(media: FileMedia? = nil, thumbnail: String? = nil, hasLostLocation: Bool) {
        self.media = media
        self.thumbnail = thumbnail
        self.hasLostLocation = hasLostLocation
    }
}

/// Complete files that still have to be inspected.
public protocol FileJobs: AnyObject {
    /// The longest-waiting file of each owner after `owner`, in the order of ids: an owner of many files delays only
    /// their own.
    func next(after owner: UUID128, limit: Int) throws(StoreError) -> [Message]
    func done(_ message: UUID128) throws(StoreError)
}
