import ChatCore
import ChatProcess
import Glibc

/// The elements of a list in a JSON file, one after the other: memory does not grow with the file. Only where an element
/// ends is found here; the reader of JSON checks it.
struct JSONElements {
    private let descriptor: Int32
    private let path: String
    private var piece: [UInt8] = []
    private var place = 0
    private var hasBegun = false
    /// Bytes of one element.
    private static let limit = ImportLimit.line

    init(_ descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    /// nil: the list has ended.
    mutating func next() throws -> WireValue? {
        if !hasBegun {
            guard try byteAfterSpace() == UInt8(ascii: "[") else { throw OperatorError("\(path) is not a JSON list") }
            hasBegun = true
        }
        var first = try byteAfterSpace()
        if first == UInt8(ascii: ",") { first = try byteAfterSpace() }
        guard let first, first != UInt8(ascii: "]") else { return nil }
        return try Self.value(try element(from: first), "an element of \(path)")
    }

    /// Other services' objects are deeper and larger than ours.
    static func value(_ bytes: [UInt8], _ name: String) throws(OperatorError) -> WireValue {
        do throws(WireError) { return try JSONReader.decode(bytes, depth: 64, keys: 512) } catch {
            throw OperatorError("\(name) is not JSON: \(error.description)")
        }
    }

    /// Objects alone: other elements are none of these formats'.
    private mutating func element(from first: UInt8) throws -> [UInt8] {
        guard first == UInt8(ascii: "{") else { throw OperatorError("\(path) has an element that is no object") }
        var bytes = [first]
        var (depth, isText, isEscaped) = (1, false, false)
        while depth > 0 {
            guard let byte = try byte() else { throw OperatorError("\(path) is cut off") }
            guard bytes.count < Self.limit else {
                throw OperatorError("\(path) has an element of more than \(Self.limit) bytes")
            }
            bytes.append(byte)
            if isText {
                if isEscaped {
                    isEscaped = false
                } else if byte == UInt8(ascii: "\\") {
                    isEscaped = true
                } else {
                    isText = byte != UInt8(ascii: "\"")
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): isText = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            default: break
            }
        }
        return bytes
    }

    private mutating func byteAfterSpace() throws -> UInt8? {
        while let byte = try byte() {
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
        }
        return nil
    }

    private mutating func byte() throws -> UInt8? {
        if place == piece.count {
            piece = [UInt8](repeating: 0, count: 1 << 16)
            place = 0
            let count = piece.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            guard count >= 0 else { throw OperatorError("cannot read \(path): \(String(cString: strerror(errno)))") }
            piece.removeLast(piece.count - count)
            guard count > 0 else { return nil }
        }
        defer { place += 1 }
        return piece[place]
    }
}
