/// The only reader and writer, for frames, commands, the database and REST.
extension FileMedia: WireShape {
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
