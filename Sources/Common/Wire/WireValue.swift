/// The common tree of MessagePack and JSON, into which untrusted bytes are read.
public indirect enum WireValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case binary([UInt8])
    case array([WireValue])
    case map([MapEntry])

    public struct MapEntry: Sendable, Equatable {
        public var key: String
        public var value: WireValue

        public init(_ key: String, _ value: WireValue) {
            self.key = key
            self.value = value
        }
    }

    /// The value of a map's key; nil when it is absent or this is not a map.
    public subscript(key: String) -> WireValue? {
        guard case .map(let entries) = self else { return nil }
        return entries.first { areSameBytes($0.key, key) }?.value
    }

    public var string: String? {
        guard case .string(let value) = self else { return nil }
        return value
    }

    /// An integer, also one that a JavaScript client sent as a float.
    public var int: Int64? {
        switch self {
        case .int(let value): value
        case .double(let value): Int64(exactly: value)
        default: nil
        }
    }

    public var bool: Bool? {
        guard case .bool(let value) = self else { return nil }
        return value
    }

    public var array: [WireValue]? {
        guard case .array(let value) = self else { return nil }
        return value
    }

    public var isNull: Bool { self == .null }
}

/// The reason why bytes are not a valid value: a sentence for the client.
public struct WireError: Error, Equatable, CustomStringConvertible {
    public let text: String
    /// Offset of the byte at which reading stopped.
    public let offset: Int
    /// Whether the bytes are a value that is larger than this reader takes.
    public let isLimit: Bool

    public init(_ text: String, at offset: Int, isLimit: Bool = false) {
        self.text = text
        self.offset = offset
        self.isLimit = isLimit
    }

    public var description: String { "\(text) (at byte \(offset))" }
}

/// Limits of an untrusted value. Depth bounds the stack; the input's length bounds the rest, because each element takes
/// at least one byte.
public enum WireLimit {
    public static let depth = 16
    /// Keys of one object of JSON.
    public static let keys = 64
}

/// Both encodings of all shapes are written through this protocol, so that they cannot differ.
public protocol WireWriter {
    /// Use ``map(_:_:)``, which ends the map too.
    mutating func beginMap(_ size: MapSize) -> OpenMap
    mutating func endMap(_ map: OpenMap)
    /// Use ``array(_:_:)``.
    mutating func beginArray(_ count: Int)
    mutating func endArray()
    /// The name of the open map's next entry, and its count; use `field`, which writes the value too.
    mutating func key(_ name: StaticString)
    mutating func key(named name: String)
    mutating func null()
    mutating func bool(_ value: Bool)
    mutating func int(_ value: Int64)
    mutating func double(_ value: Double)
    /// Text that is known to be UTF-8.
    mutating func utf8(_ text: UnsafeRawBufferPointer)
    mutating func uuid(_ value: UUID128)
    /// Unix milliseconds, written as RFC 3339 UTC text.
    mutating func timestamp(_ unixMilliseconds: Int64)
    mutating func binary(_ value: [UInt8])
}

/// The number of entries that a map is expected to have. MessagePack's head of a map is longer above 15; a wrong guess
/// costs a copy of the map and changes no byte.
public enum MapSize: Sendable {
    case short, long
}

/// A map that is being written.
public struct OpenMap {
    /// The place of its head.
    @usableFromInline let start: Int
    @usableFromInline let size: MapSize
    /// The entries so far of the map around it.
    @usableFromInline let outer: Int

    @inlinable
    init(start: Int = 0, size: MapSize = .short, outer: Int = 0) {
        (self.start, self.size, self.outer) = (start, size, outer)
    }
}

/// A value with one shape in both encodings.
public protocol WireShape {
    func write<W: WireWriter>(to writer: inout W)
}

extension WireWriter {
    @inlinable
    public mutating func optional<T>(_ value: T?, _ write: (inout Self, T) -> Void) {
        if let value { write(&self, value) } else { null() }
    }

    public mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { utf8(UnsafeRawBufferPointer($0)) }
    }

    public mutating func value(_ value: WireValue) {
        switch value {
        case .null: null()
        case .bool(let value): bool(value)
        case .int(let value): int(value)
        case .double(let value): double(value)
        case .string(let value): string(value)
        case .binary(let value): binary(value)
        case .array(let values):
            array(values) { $0.value($1) }
        case .map(let entries):
            map(entries.count > 15 ? .long : .short) {
                for entry in entries { $0.field(named: entry.key, entry.value) }
            }
        }
    }
}
