// Maps count their entries while they are written: a shape names each field once, beside its value. Everything here is
// inlined into the shapes, so that a field costs what its key and its value cost.

extension WireWriter {
    /// A map of the fields that the closure writes.
    @inlinable @inline(__always)
    public mutating func map(_ size: MapSize = .short, _ fields: (inout Self) -> Void) {
        let map = beginMap(size)
        fields(&self)
        endMap(map)
    }

    @inlinable @inline(__always)
    public mutating func array<C: Collection>(_ elements: C, _ write: (inout Self, C.Element) -> Void) {
        beginArray(elements.count)
        for element in elements { write(&self, element) }
        endArray()
    }

    // MARK: Fields of the open map

    @inlinable @inline(__always)
    public mutating func map(_ name: StaticString, _ fields: (inout Self) -> Void) {
        key(name)
        map(.short, fields)
    }

    @inlinable @inline(__always)
    public mutating func array<C: Collection>(
        _ name: StaticString, _ elements: C, _ write: (inout Self, C.Element) -> Void
    ) {
        key(name)
        array(elements, write)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ write: (inout Self) -> Void) {
        key(name)
        write(&self)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: Bool) {
        key(name)
        bool(value)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: Int64) {
        key(name)
        int(value)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: Int) { field(name, Int64(value)) }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: String) {
        key(name)
        string(value)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: UUID128) {
        key(name)
        uuid(value)
    }

    /// - Parameter time: Unix milliseconds.
    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, time: Int64) {
        key(name)
        timestamp(time)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: [UInt8]) {
        key(name)
        binary(value)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: WireValue) {
        key(name)
        self.value(value)
    }

    @inlinable @inline(__always)
    public mutating func field<S: WireShape>(_ name: StaticString, _ value: S) {
        key(name)
        value.write(to: &self)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ values: [UUID128]) {
        array(name, values) { $0.uuid($1) }
    }

    @inlinable @inline(__always)
    public mutating func field<S: WireShape>(_ name: StaticString, _ values: [S]) {
        array(name, values) { $1.write(to: &$0) }
    }

    // MARK: Fields that are null without a value

    @inlinable @inline(__always)
    public mutating func field<T>(_ name: StaticString, _ value: T?, _ write: (inout Self, T) -> Void) {
        key(name)
        optional(value, write)
    }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: Int64?) { field(name, value) { $0.int($1) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: Int?) { field(name, value) { $0.int(Int64($1)) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: String?) { field(name, value) { $0.string($1) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, _ value: UUID128?) { field(name, value) { $0.uuid($1) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, time: Int64?) { field(name, time) { $0.timestamp($1) } }

    @inlinable @inline(__always)
    public mutating func field<S: WireShape>(_ name: StaticString, _ value: S?) {
        field(name, value) { $1.write(to: &$0) }
    }

    // MARK: Fields that are absent without a value

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, ifAny value: Bool?) { if let value { field(name, value) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, ifAny value: Int?) { if let value { field(name, value) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, ifAny value: Int64?) { if let value { field(name, value) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, ifAny value: String?) { if let value { field(name, value) } }

    @inlinable @inline(__always)
    public mutating func field(_ name: StaticString, ifAny value: UUID128?) { if let value { field(name, value) } }

    @inlinable @inline(__always)
    public mutating func field<S: WireShape>(_ name: StaticString, ifAny value: S?) {
        if let value { field(name, value) }
    }

    @inlinable @inline(__always)
    public mutating func field<S: WireShape>(_ name: StaticString, ifAny values: [S]?) {
        if let values { field(name, values) }
    }

    // MARK: Fields whose names are values

    @inlinable
    public mutating func field(named name: String, _ value: String) {
        key(named: name)
        string(value)
    }

    @inlinable
    public mutating func field(named name: String, _ value: Int) {
        key(named: name)
        int(Int64(value))
    }

    @inlinable
    public mutating func field(named name: String, _ value: WireValue) {
        key(named: name)
        self.value(value)
    }
}
