/// Details of a picture, video or audio file, found by inspecting it.
public struct FileMedia: WireShape, Sendable, Equatable {
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

    /// The names are also the database's.
    func writeFields<W: WireWriter>(to writer: inout W) {
        writer.field("Width", ifAny: width)
        writer.field("Height", ifAny: height)
        writer.field("Orientation", ifAny: orientation)
        writer.field("Duration", ifAny: duration)
        writer.field("BlurHash", ifAny: blurHash)
    }

    /// Reads the format of ``json`` and of commands.
    public init(_ value: WireValue) {
        func number(_ name: String) -> Int? { value[name]?.int.map { Int($0) } }
        self.init(
            width: number("Width"), height: number("Height"), orientation: number("Orientation"),
            blurHash: value["BlurHash"]?.string, duration: number("Duration"))
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.map { writeFields(to: &$0) }
    }

    public var json: String {
        var writer = JSONWriter()
        write(to: &writer)
        return String(decoding: writer.take(), as: UTF8.self)
    }
}
