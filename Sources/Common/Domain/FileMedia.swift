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

    /// The numbers under the names that clients and the database use.
    var numbers: [(name: String, value: Int)] {
        [("Width", width), ("Height", height), ("Orientation", orientation), ("Duration", duration)].compactMap {
            name, value in value.map { (name, $0) }
        }
    }

    var count: Int { numbers.count + (blurHash == nil ? 0 : 1) }

    /// Writes into a map that counts ``count`` fields for this.
    func writeFields<W: WireWriter>(to writer: inout W) {
        for (name, value) in numbers {
            writer.key(name)
            writer.int(Int64(value))
        }
        if let blurHash {
            writer.key("BlurHash")
            writer.string(blurHash)
        }
    }

    /// Reads the format of ``json`` and of commands.
    public init(_ value: WireValue) {
        func number(_ name: String) -> Int? { value[name]?.int.map { Int($0) } }
        self.init(
            width: number("Width"), height: number("Height"), orientation: number("Orientation"),
            blurHash: value["BlurHash"]?.string, duration: number("Duration"))
    }

    public func write<W: WireWriter>(to writer: inout W) {
        writer.beginMap(count)
        writeFields(to: &writer)
        writer.endMap()
    }

    public var json: String {
        var writer = JSONWriter()
        write(to: &writer)
        return String(decoding: writer.take(), as: UTF8.self)
    }
}
