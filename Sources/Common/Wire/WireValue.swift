/// The common tree of MessagePack and JSON, into which untrusted bytes are read.
public indirect enum WireValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int64)
    case double(Double)
    case string(String)
    case binary([UInt8])
    case array([WireValue])
    case map([Entry])

    public struct Entry: Sendable, Equatable {
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
    public let description: String
    /// Offset of the byte at which reading stopped.
    public let offset: Int

    public init(_ description: String, at offset: Int) {
        self.description = "\(description) (at byte \(offset))"
        self.offset = offset
    }
}

/// Limits of an untrusted value. Depth bounds the stack; the input's length bounds the rest, because each element takes
/// at least one byte.
public enum WireLimit {
    public static let depth = 16
}

/// Both encodings of all shapes are written through this protocol, so that they cannot differ.
public protocol WireWriter {
    mutating func beginMap(_ count: Int)
    mutating func endMap()
    mutating func beginArray(_ count: Int)
    mutating func endArray()
    mutating func key(_ name: StaticString)
    mutating func key(_ name: String)
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
            beginArray(values.count)
            for element in values { self.value(element) }
            endArray()
        case .map(let entries):
            beginMap(entries.count)
            for entry in entries {
                key(entry.key)
                self.value(entry.value)
            }
            endMap()
        }
    }
}
