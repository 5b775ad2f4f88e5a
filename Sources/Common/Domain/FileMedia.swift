/// Details of a picture, video or audio file, found by inspecting it.
public struct FileMedia: Sendable, Equatable {
    /// Pixels as displayed, after rotation.
    public var width: Int?
    public var height: Int?
    /// EXIF orientation, 1 to 8: the rotation of the stored picture.
    public var orientation: Int?
    /// A few bytes to show until the picture has loaded (https://blurha.sh).
    public var blurHash: String?
    /// Milliseconds.
    public var duration: Int?

    public init(
        width: Int? = nil, height: Int? = nil, orientation: Int? = nil, blurHash: String? = nil, duration: Int? = nil
    ) {
        self.width = width
        self.height = height
        self.orientation = orientation
        self.blurHash = blurHash
        self.duration = duration
    }
}
