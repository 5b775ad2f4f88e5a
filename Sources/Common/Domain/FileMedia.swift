/// What is known of a picture, a film or a sound, once it was looked at.
public struct FileMedia: Sendable, Equatable {
    /// Pixels, as it is shown (turned by its orientation).
    public var width: Int?
    public var height: Int?
    /// EXIF: 1 to 8, how the stored picture has to be turned.
    public var orientation: Int?
    /// A few bytes to show until the picture is there (https://blurha.sh).
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

    /// Its numbers by the names under which clients and the database have them.
    var numbers: [(name: String, value: Int)] {
        [("Width", width), ("Height", height), ("Orientation", orientation), ("Duration", duration)].compactMap {
            name, value in value.map { (name, $0) }
        }
    }

    var count: Int { numbers.count + (blurHash == nil ? 0 : 1) }

    /// Within a map that has ``count`` places for it.
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

    /// As ``json`` and the command's wire have it.
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
